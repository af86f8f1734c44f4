"""Wavelet compression artifacts of volumes: the separable 3-D transform, one threshold per volume; one batched call."""

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
    check_pixel_dtype,
    check_threads,
    check_value_range,
    host_contiguous,
    smallest_side,
)
from wavestream.kernels.volume_layout import Shape3, volume_default_levels, volume_max_levels
from wavestream.kernels.wavelets import INTEGER_WAVELET, check_wavelet


def inject_volumes(
    volumes: Any,
    keep: ArrayLike,
    wavelet: str = "bior4.4",
    levels: int | None = None,
    *,
    value_range: ArrayLike | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Make the compression artifact of volumes: keep the ``keep`` largest coefficients of each, drop the rest.

    As :func:`wavestream.kernels.artifacts.inject`, with the transform taken through the slices, too, and one threshold
    for the whole volume: ``K = max(1, round(keep * slices * rows * cols))``. ``cdf53`` lifts through the slices, then
    down the columns, then along the rows; a side of one sample stays as it is.

    Args:
        volumes: (batch, slices, rows, cols) or (slices, rows, cols); uint8, uint16, int16, int32, float16 or float32,
            integers only for ``cdf53``; int32 voxels within +-2**24. NumPy array (copied first if it is not
            C-contiguous), or a C-contiguous CUDA array.
        keep: fraction of coefficients to keep, in (0, 1]; one for all volumes or (batch,). Where it is 1 the volume is
            copied bit for bit.
        wavelet: one of :data:`wavestream.kernels.wavelets.WAVELETS`.
        levels: number of levels; None for ``min(5, volume_max_levels)``. A float wavelet needs all three sides.
        value_range: lowest and highest voxel value, one pair or (batch, 2), integer volumes only; None for the range
            of the dtype.
        out: C-contiguous array like ``volumes`` for the result; may be ``volumes`` itself. For integer volumes it may
            be float32 or float16: it then receives the values of the integer result.
        threads: CPU threads, also within one volume; None for all of this process. The result does not depend on it.

    Returns:
        ``out``, or a new array of the same library, device, shape and dtype as ``volumes``.

    Raises:
        TypeError: wrong dtype or array type, or host and device arrays mixed.
        ValueError: an argument out of its range; a volume too small for the wavelet or the levels; NaN or infinite
            voxels, or int32 voxels beyond 2**24 (the volumes are named by index and copied through in ``out``
            unchanged, the others are done). The host does not read CUDA arrays: there such a volume becomes NaN in
            every voxel, and int32 voxels beyond 2**24 are rounded.
    """
    backend = backend_of(volumes=volumes, out=out)
    check_wavelet(wavelet)
    if len(volumes.shape) not in (3, 4):
        raise ValueError(
            f"volumes: expected (batch, slices, rows, cols) or (slices, rows, cols), got shape {tuple(volumes.shape)}"
        )
    if 0 in volumes.shape:
        raise ValueError(
            f"volumes: expected at least one volume of at least 1x1x1 voxels, got shape {tuple(volumes.shape)}"
        )
    dtype = dtype_of(volumes)
    check_pixel_dtype(dtype, wavelet)
    check_threads(threads)
    single = len(volumes.shape) == 3
    batch = 1 if single else int(volumes.shape[0])
    slices, rows, cols = (int(side) for side in volumes.shape[-3:])
    keeps = check_keep(keep, batch)
    depth = check_volume_levels((slices, rows, cols), wavelet, levels)
    limits = check_value_range(value_range, batch, dtype)
    if out is None:
        volumes = host_contiguous("volumes", volumes)
        out = empty_like_kind(volumes, tuple(volumes.shape), dtype)
    else:
        _check_out(volumes, dtype, out)
        volumes = host_contiguous("volumes", volumes)
    source, target = (add_batch_axis(volumes), add_batch_axis(out)) if single else (volumes, out)
    if backend == "cuda":
        from wavestream.kernels.cuda.volumes import inject_volumes_cuda

        inject_volumes_cuda(source, keeps, wavelet, depth, limits, target)
    else:
        from wavestream.kernels.cpu.volumes import inject_volumes_cpu

        inject_volumes_cpu(source, keeps, wavelet, depth, limits, plain(target), threads)
    return out


def check_volume_levels(shape: Shape3, wavelet: str, levels: int | None) -> int:
    """The number of levels for a volume of (slices, rows, cols): ``levels``, or the default where it is None."""
    size = "x".join(str(side) for side in shape)
    deepest = volume_max_levels(*shape, wavelet)
    if deepest == 0:
        raise ValueError(
            f"a volume of {size} voxels is too small for {wavelet}: expected at least {smallest_side(wavelet)} voxels "
            f"on each side; use a shorter wavelet (haar) or {INTEGER_WAVELET}"
        )
    if levels is None:
        return volume_default_levels(*shape, wavelet)
    if isinstance(levels, bool) or not isinstance(levels, int | np.integer):
        raise TypeError(f"levels: expected an integer or None, got {levels!r}")
    if not 1 <= levels <= deepest:
        raise ValueError(f"levels: expected 1 to {deepest} for a volume of {size} voxels with {wavelet}, got {levels}")
    return int(levels)


def _check_out(volumes: Any, dtype: np.dtype[Any], out: Any) -> None:
    """Raise unless ``out`` can take the result: like ``volumes``, and either the same memory or apart from it."""
    stored = dtype_of(out)
    as_float = dtype.kind != "f" and stored in (np.float16, np.float32)
    require_output(out, tuple(volumes.shape), stored if as_float else dtype)
    require_apart("volumes", volumes, out, or_same=stored == dtype)
