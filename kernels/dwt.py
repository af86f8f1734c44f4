"""The multi-level 2-D wavelet transform of a batch of images and its inverse, on the array's own device.

Coefficients are packed as :mod:`wavestream.kernels.layout` describes. The backends implement::

    forward_cpu / forward_cuda(images, coefficients, wavelet, levels, ...)
    inverse_cpu / inverse_cuda(coefficients, images, wavelet, levels, ...)

with C-contiguous arrays of the dtypes below, which this module has checked or made; both return None.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wavestream.kernels.arrays import (
    add_batch_axis,
    backend_of,
    dtype_of,
    empty_like_kind,
    plain,
    require_apart,
    require_output,
    require_shape,
)
from wavestream.kernels.layout import Layout, layout_of
from wavestream.kernels.validation import check_levels, check_pixel_dtype, host_contiguous
from wavestream.kernels.wavelets import INTEGER_WAVELET, check_wavelet


def coefficient_dtype(wavelet: str) -> np.dtype[Any]:
    """The dtype of a wavelet's coefficients: int32 for ``cdf53``, float32 for the others."""
    return np.dtype(np.int32 if wavelet == INTEGER_WAVELET else np.float32)


def checked_layout(shape: tuple[int, int], wavelet: str, levels: int | None) -> Layout:
    """The layout for images of ``shape``, after checking wavelet and levels; None means the default depth."""
    rows, cols = (int(side) for side in shape)
    return layout_of(rows, cols, check_wavelet(wavelet), check_levels(rows, cols, wavelet, levels))


def forward(
    images: Any, wavelet: str = "bior4.4", levels: int | None = None, *, out: Any = None, threads: int | None = None
) -> Any:
    """Transform images to packed coefficients.

    Args:
        images: (batch, rows, cols) or (rows, cols); uint8, uint16, int16, int32, float16 or float32; integers only
            for ``cdf53``. A NumPy array that is not C-contiguous is copied first. Integers beyond 2**24 in magnitude
            are not supported.
        wavelet: one of :data:`wavestream.kernels.wavelets.WAVELETS`.
        levels: number of levels; None for ``min(5, max_levels)``.
        out: (batch, size) array for the result, C-contiguous; may not be ``images``.
        threads: CPU threads; None for all of this process.

    Returns:
        (batch, size) coefficients, or (size,) for one image; float32, int32 for ``cdf53``; in the image's units.

    Raises:
        TypeError: wrong dtype, or host and device arrays mixed.
        ValueError: wrong shape, too many levels for the size, unknown wavelet.
    """
    backend = backend_of(images=images, out=out)
    if len(images.shape) not in (2, 3):
        raise ValueError(f"images: expected (batch, rows, cols) or (rows, cols), got shape {tuple(images.shape)}")
    check_pixel_dtype(dtype_of(images), check_wavelet(wavelet))
    single = len(images.shape) == 2
    images = host_contiguous("images", images)
    batch = add_batch_axis(images) if single else images
    layout = checked_layout(batch.shape[1:], wavelet, levels)
    shape = (layout.size,) if single else (batch.shape[0], layout.size)
    if out is None:
        out = empty_like_kind(images, shape, coefficient_dtype(wavelet))
    require_output(out, shape, coefficient_dtype(wavelet))
    require_apart("images", images, out)
    coefficients = plain(out).reshape((batch.shape[0], layout.size))
    if backend == "cuda":
        from wavestream.kernels.cuda.dwt import forward_cuda

        forward_cuda(batch, coefficients, wavelet, layout.levels)
    else:
        from wavestream.kernels.cpu.dwt import forward_cpu

        forward_cpu(batch, coefficients, wavelet, layout.levels, threads)
    return out


def inverse(
    coefficients: Any,
    shape: tuple[int, int],
    wavelet: str = "bior4.4",
    levels: int | None = None,
    *,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Transform packed coefficients back to images.

    Args:
        coefficients: (batch, size) or (size,), float32, int32 for ``cdf53``; as :func:`forward` returns them.
        shape: (rows, cols) of the images, in pixels.
        wavelet, levels: as given to :func:`forward`.
        out: (batch, rows, cols) array for the result, C-contiguous; may not be ``coefficients``.
        threads: CPU threads; None for all of this process.

    Returns:
        (batch, rows, cols) images, or (rows, cols); float32, int32 for ``cdf53``; neither rounded nor clipped.

    Raises:
        TypeError: wrong dtype, or host and device arrays mixed.
        ValueError: wrong shape, too many levels for the size, unknown wavelet.
    """
    backend = backend_of(coefficients=coefficients, out=out)
    layout = checked_layout(shape, wavelet, levels)
    single = len(coefficients.shape) == 1
    batch_size = 1 if single else int(coefficients.shape[0])
    dtype = coefficient_dtype(wavelet)
    require_shape("coefficients", coefficients, (layout.size,) if single else (batch_size, layout.size), dtype)
    coefficients = host_contiguous("coefficients", coefficients)
    image_shape = (layout.rows, layout.cols) if single else (batch_size, layout.rows, layout.cols)
    if out is None:
        out = empty_like_kind(coefficients, image_shape, dtype)
    require_output(out, image_shape, dtype)
    require_apart("coefficients", coefficients, out)
    packed, images = coefficients.reshape((batch_size, layout.size)), add_batch_axis(out) if single else out
    if backend == "cuda":
        from wavestream.kernels.cuda.dwt import inverse_cuda

        inverse_cuda(packed, images, wavelet, layout.levels)
    else:
        from wavestream.kernels.cpu.dwt import inverse_cpu

        inverse_cpu(packed, plain(images), wavelet, layout.levels, threads)
    return out
