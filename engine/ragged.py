"""Batches of images of different sizes, one after the other in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shaped(pixels: Any, sizes: NDArray[np.int64]) -> Any:
    """Room for a batch of images in one array of pixels, one after the other.

    Args:
        pixels: (n,) NumPy or CUDA array, n at least the sum of rows * cols.
        sizes: (batch, 2) rows and cols of each image.

    Returns:
        one array (batch, rows, cols) where all sizes are equal, else a list of (rows, cols) arrays, as views.
    """
    ends = sizes.prod(axis=1).cumsum().tolist()
    if (sizes == sizes[0]).all():
        return pixels[: ends[-1]].reshape(len(sizes), *sizes[0].tolist())
    starts = [0, *ends[:-1]]
    return [pixels[start:end].reshape(size) for start, end, size in zip(starts, ends, sizes.tolist(), strict=True)]
