"""Kernels that work through pointers stay inside their arrays: these lie against pages that nobody may touch."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wavestream.kernels import inject, inject_volumes, max_levels

_PROT_NONE = 0
SIZES = [(1, 1), (1, 17), (23, 1), (16, 16), (31, 47), (40, 96)]


def guarded(values: np.ndarray, at_end: bool) -> np.ndarray:
    """A copy that ends (or begins) where a page begins (or ends) that may neither be read nor written."""
    page = mmap.PAGESIZE
    size = -(-max(values.nbytes, 1) // page) * page
    room = mmap.mmap(-1, size + 2 * page)
    memory = np.frombuffer(room, np.uint8)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for place in (0, size + page):
        if protect(ctypes.c_void_p(memory.ctypes.data + place), page, _PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect failed")
    start = page + (size - values.nbytes if at_end else 0)
    copy = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def check(wavelet: str) -> None:
    """Inject between guard pages; the process dies if a kernel leaves its arrays."""
    rng = np.random.default_rng(5)
    for rows, cols in SIZES:
        levels = min(3, max_levels(rows, cols, wavelet))
        dtypes = ["uint8", "int16", "uint16"] + ([] if wavelet == "cdf53" else ["float32"])
        for dtype in dtypes if levels else []:
            images = rng.integers(0, 200, (2, rows, cols)).astype(dtype)
            for at_end in (True, False):
                source, out = guarded(images, at_end), guarded(images, at_end)
                inject(source, [0.3, 0.01], wavelet, levels, out=out)
                np.testing.assert_array_equal(out, inject(images, [0.3, 0.01], wavelet, levels))
                inject(source, 0.5, wavelet, levels, out=source)
    volume = rng.integers(0, 200, (9, 10, 33)).astype("int16")
    if wavelet in ("haar", "cdf53"):
        for at_end in (True, False):
            out = inject_volumes(guarded(volume, at_end), 0.2, wavelet, 1, out=guarded(volume, at_end))
            np.testing.assert_array_equal(out, inject_volumes(volume, 0.2, wavelet, 1))


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages by Linux's mprotect")
@pytest.mark.parametrize("wavelet", ["haar", "db2", "cdf53"])
def test_kernels_stay_inside_their_arrays(wavelet: str) -> None:
    run = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), wavelet], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"status {run.returncode} (-11: it left an array): {run.stderr[-2000:]}"


if __name__ == "__main__":
    check(sys.argv[1])
