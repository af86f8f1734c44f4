"""Artifact injection of images of different sizes, each an array of its own; one batched call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wavestream.kernels.arrays import backend_of, dtype_of, empty_like_kind, plain, require_output
from wavestream.kernels.validation import (
    check_keep,
    check_levels_per_image,
    check_pixel_dtype,
    check_threads,
    check_value_range,
    host_contiguous,
    name_samples,
)
from wavestream.kernels.wavelets import check_wavelet


def inject_ragged(
    images: Sequence[Any],
    keep: ArrayLike,
    wavelet: str = "bior4.4",
    levels: int | None = None,
    *,
    value_range: ArrayLike | None = None,
    out: Sequence[Any] | None = None,
    threads: int | None = None,
) -> list[Any]:
    """:func:`wavestream.kernels.artifacts.inject` for images of different sizes that lie in no common canvas.

    On a CUDA device the batch takes as many launches as one image, reads and writes the images where they are, and
    works in the stream of the first, which all of them have to share.

    Args:
        images: (rows, cols) each, of one dtype, all on the host or all on one device; otherwise as for ``inject``.
        keep: fraction of coefficients to keep, in (0, 1]; one for all images or (batch,).
        wavelet, levels, threads: as for ``inject``.
        value_range: lowest and highest pixel value, one pair or (batch, 2), integer images only.
        out: one C-contiguous array for each image, of its shape and dtype (for integer images also float32 or float16),
            apart from all the other arrays; it may be the image itself.

    Returns:
        ``out`` as a list, or a list of new arrays of the same library, device, shape and dtype as the images.

    Raises:
        TypeError: wrong dtype or array type, several dtypes, or host and device arrays mixed.
        ValueError: no images, or anything that ``inject`` raises it for; also images on several devices or in several
            streams.
    """
    images = list(images)
    if not images:
        raise ValueError("images: expected at least one image, got none")
    check_wavelet(wavelet)
    backend = _backend_of_all("images", images)
    dtype = dtype_of(images[0])
    check_pixel_dtype(dtype, wavelet)
    for index, image in enumerate(images):
        _check_image(index, image, dtype)
    check_threads(threads)
    keeps = check_keep(keep, len(images))
    sizes = np.array([tuple(image.shape) for image in images], dtype=np.int32)
    depths = check_levels_per_image(sizes, wavelet, levels, by_sample=True)
    limits = check_value_range(value_range, len(images), dtype)
    results = None if out is None else _checked_out(images, list(out), backend)
    sources = [host_contiguous(f"images (sample {index})", image) for index, image in enumerate(images)]
    if results is None:
        results = [empty_like_kind(image, tuple(image.shape), dtype) for image in sources]
    if backend == "cuda":
        from wavestream.kernels.cuda.ragged import inject_ragged_cuda

        inject_ragged_cuda(sources, keeps, wavelet, depths, sizes, limits, results)
    else:
        from wavestream.kernels.cpu.ragged import inject_ragged_cpu

        targets = [plain(result) for result in results]
        inject_ragged_cpu(sources, keeps, wavelet, depths, sizes, limits, targets, threads)
    return results


def _backend_of_all(name: str, arrays: list[Any]) -> str:
    return backend_of(**{f"{name} (sample {index})": array for index, array in enumerate(arrays)})


def _check_image(index: int, image: Any, dtype: np.dtype[Any]) -> None:
    if len(image.shape) != 2 or 0 in image.shape:
        raise ValueError(
            f"images: expected (rows, cols) of at least 1x1 pixels each, got shape {tuple(image.shape)} at "
            f"{name_samples(index)}"
        )
    if dtype_of(image) != dtype:
        raise TypeError(
            f"images: expected one dtype, {dtype} like the first, got {dtype_of(image)} at sample {index}; convert it"
        )


def _checked_out(images: list[Any], out: list[Any], backend: str) -> list[Any]:
    """``out``, after checking that each array can take its image's result and overlaps no other array."""
    if len(out) != len(images):
        raise ValueError(f"out: expected {len(images)} arrays, one for each image, got {len(out)}")
    if _backend_of_all("out", out) != backend:
        raise TypeError("out: expected arrays where the images are, on the host or on the device; move them there")
    dtype, source = dtype_of(out[0]), dtype_of(images[0])
    if dtype != source and not (source.kind != "f" and dtype in (np.float16, np.float32)):
        floats = ", or float32 or float16" if source.kind != "f" else ""
        raise TypeError(f"out: expected dtype {source}{floats}, got {dtype}")
    for index, (image, result) in enumerate(zip(images, out, strict=True)):
        try:
            require_output(result, tuple(image.shape), dtype)
        except (TypeError, ValueError) as error:
            raise type(error)(f"sample {index}: {error}") from None
    if backend == "cpu":
        _check_apart(images, out)
    return out


def _check_apart(images: list[np.ndarray], out: list[np.ndarray]) -> None:
    """Raise ValueError where a result overlaps another result, or an image that it is not itself."""
    bounds = np.array([np.lib.array_utils.byte_bounds(array) for array in (*out, *images)])
    low, high = bounds[:, 0], bounds[:, 1]
    overlap = (low[: len(out), np.newaxis] < high) & (low < high[: len(out), np.newaxis])
    for index, (image, result) in enumerate(zip(images, out, strict=True)):
        overlap[index, index] = False
        if image.ctypes.data == result.ctypes.data and image.strides == result.strides:
            overlap[index, len(out) + index] = False
    for index, other in np.argwhere(overlap)[:1].tolist():
        raise ValueError(
            f"out: expected arrays apart from one another and from the images, got that of sample {index} overlapping "
            f"{'out' if other < len(out) else 'images'} of sample {other % len(out)}; pass other arrays"
        )
