"""A word to the user while kernels are compiled: seconds in which nothing else seems to happen."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Compiled code that is only loaded from its cache takes less.
_QUIET_SECONDS = 1.0
_MESSAGE = "compiling the %s kernels: some seconds, the first time on this machine"

logger = logging.getLogger("wavestream")
_ready: set[str] = set()
_announcing: set[str] = set()
_lock = threading.Lock()


@contextmanager
def announced(kernels: str) -> Iterator[None]:
    """Warn, once for each kind of ``kernels``, if the block has not ended after a second: they are being compiled."""
    with _lock:
        # Of several threads that wait for one compilation, one speaks.
        silent = kernels in _ready or kernels in _announcing
        if not silent:
            _announcing.add(kernels)
    if silent:
        yield
        return
    warning = threading.Timer(_QUIET_SECONDS, logger.warning, [_MESSAGE, kernels])
    warning.daemon = True
    warning.start()
    try:
        yield
    finally:
        warning.cancel()
        _announcing.discard(kernels)
    _ready.add(kernels)
