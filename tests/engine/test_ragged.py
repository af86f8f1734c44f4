"""Batches of images in one stretch of memory."""

from __future__ import annotations

import numpy as np

from wavestream.engine.ragged import shaped


def test_equal_sizes_are_one_array() -> None:
    pixels = np.arange(50)
    batch = shaped(pixels, np.array([[3, 4]] * 4))
    assert isinstance(batch, np.ndarray)
    np.testing.assert_array_equal(batch, np.arange(48).reshape(4, 3, 4))
    assert np.shares_memory(batch, pixels)


def test_different_sizes_are_a_list_of_arrays_apart() -> None:
    pixels = np.zeros(40, np.uint8)
    sizes = np.array([[3, 4], [1, 1], [5, 2], [4, 3]])
    batch = shaped(pixels, sizes)
    assert isinstance(batch, list)
    assert [image.shape for image in batch] == [(3, 4), (1, 1), (5, 2), (4, 3)]
    for number, image in enumerate(batch, 1):
        assert image.flags.c_contiguous
        image += number
    assert np.bincount(pixels).tolist() == [5, 12, 1, 10, 12]
