"""One worker process: how it is started, what it may not do, and its loop."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from wavestream.engine.dicom_file import quiet_pydicom
from wavestream.engine.rejection import rejecting

READY = "ready"
"""What a worker says once it can take tasks; after that it answers each ``(function, arguments)`` with a result."""


def start_worker(memory: int) -> tuple[ForkServerProcess, Connection]:
    """Start a process that may allocate ``memory`` bytes; returns it and our end of the pipe to it.

    It is forked from a server that has decoders and encoder ready, and nothing of the user's program. Forking the
    user's process instead would copy its threads' locks in whatever state they are.
    """
    multiprocessing.set_forkserver_preload(["wavestream.engine.decoding", "wavestream.engine.encoder_preload"])
    ours, theirs = multiprocessing.Pipe()
    process = ForkServerProcess(target=_serve, args=(theirs, memory), daemon=True)
    with _main_module_hidden():
        process.start()
    theirs.close()  # so that the pipe ends when the process does
    return process, ours


def _serve(pipe: Connection, memory: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent decides
    _confine(memory)
    pipe.send(READY)
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:  # the parent is gone
            return
        pipe.send(rejecting(function, *arguments))


def _confine(memory: int) -> None:
    """Bound the memory of this process, and send what decoders print, which may quote the file, to nowhere."""
    quiet_pydicom()
    with open("/proc/self/statm", encoding="ascii") as file:
        idle = int(file.read().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = idle + memory if hard == resource.RLIM_INFINITY else min(idle + memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the file
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


_hiding = threading.Lock()


@contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Keep multiprocessing from importing the user's script into the new process.

    It would run there again where it has no ``if __name__ == "__main__"``. A main module that says it is a package's
    ``__main__`` is left alone.
    """
    main: Any = sys.modules["__main__"]
    with _hiding:
        spec = getattr(main, "__spec__", None)
        main.__spec__ = ModuleSpec("wavestream.__main__", None)
        try:
            yield
        finally:
            main.__spec__ = spec
