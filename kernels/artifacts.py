"""Wavelet compression artifacts: transform, keep the largest coefficients, transform back; one batched call."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wavestream.kernels.arrays import (
    add_batch_axis,
    backend_of,
    dtype_of,
    empty_like_kind,
    plain,
    require_apart,
    require_output,
)
from wavestream.kernels.validation import (
    check_keep,
    check_levels_per_image,
    check_pixel_dtype,
    check_sizes,
    check_threads,
    check_value_range,
    host_contiguous,
)
from wavestream.kernels.wavelets import check_wavelet


def inject(
    images: Any,
    keep: ArrayLike,
    wavelet: str = "bior4.4",
    levels: int | None = None,
    *,
    sizes: ArrayLike | None = None,
    value_range: ArrayLike | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Make the compression artifact: keep the ``keep`` largest wavelet coefficients of each image, drop the rest.

    Per image: ``threshold`` is the K-th largest weighted magnitude (:mod:`wavestream.kernels.select`),
    ``K = max(1, round(keep * rows * cols))``; coefficients at or above it stay, ties included, the others become 0.
    Where ``keep`` is 1 the image is copied bit for bit. Integer images are computed in float32 (in int32 for
    ``cdf53``), rounded half to even and clipped to their value range; float images are not clipped.

    Args:
        images: (batch, rows, cols) or (rows, cols); uint8, uint16, int16, int32, float16 or float32, integers only for
            ``cdf53``; int32 pixels within +-2**24. NumPy array (copied first if it is not C-contiguous), or a
            C-contiguous CUDA array.
        keep: fraction of coefficients to keep, in (0, 1]; one for all images or (batch,).
        wavelet: one of :data:`wavestream.kernels.wavelets.WAVELETS`.
        levels: number of levels for all images; None for ``min(5, max_levels)`` of each image's own size.
        sizes: (batch, 2) rows and columns of each image, which lies in the top-left corner of its canvas; the rest of
            the canvas is copied through. None: every image fills its canvas.
        value_range: lowest and highest pixel value, one pair or (batch, 2), integer images only; None for the range
            of the dtype.
        out: C-contiguous array like ``images`` for the result; may be ``images`` itself. For integer images it may be
            float32 or float16: it receives the same integers, converted (float16 holds those up to 2048 exactly, and
            none beyond 65504).
        threads: CPU threads; None for all of this process. The result does not depend on it.

    Returns:
        ``out``, or a new array of the same library, device, shape and dtype as ``images``.

    Raises:
        TypeError: wrong dtype or array type, or host and device arrays mixed.
        ValueError: an argument out of its range; an image too small for the wavelet or the levels; NaN or infinite
            pixels, or int32 pixels beyond 2**24 (named by index; their images are copied through in ``out`` unchanged,
            the others are done). The host does not read CUDA arrays: there such an image becomes NaN in every pixel,
            and int32 pixels beyond 2**24 are rounded.
    """
    if isinstance(images, list | tuple):
        raise TypeError(
            f"images: expected one array, got a {type(images).__name__} of {len(images)}; stack them, or call "
            "inject_ragged for images of different sizes"
        )
    backend = backend_of(images=images, out=out)
    check_wavelet(wavelet)
    if len(images.shape) not in (2, 3):
        raise ValueError(f"images: expected (batch, rows, cols) or (rows, cols), got shape {tuple(images.shape)}")
    if 0 in images.shape:
        raise ValueError(f"images: expected at least one image of at least 1x1 pixels, got shape {tuple(images.shape)}")
    dtype = dtype_of(images)
    check_pixel_dtype(dtype, wavelet)
    check_threads(threads)
    single = len(images.shape) == 2
    batch, rows, cols = (1, *images.shape) if single else images.shape
    keeps = check_keep(keep, batch)
    image_sizes = check_sizes(sizes, batch, rows, cols)
    depths = check_levels_per_image(image_sizes, wavelet, levels, by_sample=sizes is not None)
    limits = check_value_range(value_range, batch, dtype)
    if out is None:
        images = host_contiguous("images", images)
        out = empty_like_kind(images, tuple(images.shape), dtype)
    else:
        _check_out(images, out)
        images = host_contiguous("images", images)
    source, target = (add_batch_axis(images), add_batch_axis(out)) if single else (images, out)
    if backend == "cuda":
        from wavestream.kernels.cuda.inject import inject_cuda

        inject_cuda(source, keeps, wavelet, depths, image_sizes, limits, target)
    else:
        from wavestream.kernels.cpu.inject import inject_cpu

        inject_cpu(source, keeps, wavelet, depths, image_sizes, limits, plain(target), threads)
    return out


def _check_out(images: Any, out: Any) -> None:
    """Raise unless ``out`` can take the result: like ``images`` (or float), and the same memory or apart from it."""
    dtype, wanted = dtype_of(out), dtype_of(images)
    floats = wanted.kind != "f" and dtype in (np.float32, np.float16)
    require_output(out, tuple(images.shape), dtype if floats else wanted)
    require_apart("images", images, out, or_same=True)
