"""One process at a time in one folder: one ingest into a store, one training run or study in its folder."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wavestream.engine.errors import InputError


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file ``path``, or raise :class:`InputError` where another process holds it.

    The operating system lets go of the lock when its process ends in whatever way, so none is ever stale. The file
    stays, and says who held it last.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(200).strip() or "unknown"
            raise InputError(f"{what} is in use by another run ({holder}): wait for it, or stop it") from None
        if not path.exists() or os.fstat(file.fileno()).st_ino != path.stat().st_ino:
            raise InputError(f"{what} was just given up by another run: try again")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
