"""Scratch memory: aligned, kept while it is large enough, one per thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from wavestream.kernels import inject
from wavestream.kernels.cpu.workspace import Workspace, allocate, workspace_for


def test_arrays_start_on_cache_lines() -> None:
    for workspace in (allocate(33, 47, "db2", 2), allocate(1, 1, "cdf53", 1)):
        flat = (workspace.packed, workspace.maxima, workspace.half, workspace.lines, workspace.candidates)
        assert all(array.ctypes.data % 64 == 0 for array in flat)
        assert workspace.lines.strides[0] % 64 == 0


def test_memory_is_kept_while_it_is_large_enough() -> None:
    large = workspace_for(300, 200, "haar", 5)
    assert workspace_for(200, 100, "db8", 3) is large
    assert workspace_for(300, 200, "cdf53", 5) is not large
    assert workspace_for(300, 200, "haar", 5) is large
    assert workspace_for(301, 200, "haar", 5) is not large


def test_each_thread_has_its_own() -> None:
    mine = workspace_for(64, 64, "haar", 3)
    theirs: list[Workspace] = []
    thread = threading.Thread(target=lambda: theirs.append(workspace_for(64, 64, "haar", 3)))
    thread.start()
    thread.join()
    assert not np.shares_memory(mine.packed, theirs[0].packed)


def test_what_a_larger_image_left_behind_does_not_show(picture: Callable[..., np.ndarray]) -> None:
    small = picture(30, 44, "int16")
    expected = [inject(small.astype(dtype), 0.1, wavelet) for wavelet, dtype in (("haar", "f4"), ("cdf53", "i2"))]
    inject(np.full((150, 161), 4095, np.float32), 0.9, "haar")
    inject(picture(150, 161, "int16"), 0.9, "cdf53")
    found = [inject(small.astype(dtype), 0.1, wavelet) for wavelet, dtype in (("haar", "f4"), ("cdf53", "i2"))]
    for result, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(result, right)
