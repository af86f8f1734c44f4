"""The reference for volumes: PyWavelets' ``wavedecn`` in float64, and the 5/3 lifting in plain exact integers.

One volume at a time, written to be read, not to be fast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.reference import lift_1d, unlift_1d
from wavestream.kernels.volume_layout import (
    VolumeLayout,
    kept_count_of_volume,
    volume_default_levels,
    volume_layout_of,
)
from wavestream.kernels.wavelets import INTEGER_WAVELET

# Axes in the order of the forward lifting: through the slices, down the columns, along the rows; backward reversed.
_AXES = (0, 1, 2)


def _lift_along(volume: NDArray[np.int64], axis: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    low, high = lift_1d(np.moveaxis(volume, axis, 0))
    return np.moveaxis(low, 0, axis), np.moveaxis(high, 0, axis)


def _unlift_along(low: NDArray[np.int64], high: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
    return np.moveaxis(unlift_1d(np.moveaxis(low, axis, 0), np.moveaxis(high, axis, 0)), 0, axis)


def _forward_integer(volume: NDArray[Any], layout: VolumeLayout) -> NDArray[np.int64]:
    packed = np.empty(layout.size, dtype=np.int64)
    lowest = volume.astype(np.int64)
    for level in range(1, layout.levels + 1):
        parts = {"": lowest}
        for axis in _AXES:
            # Names grow to the left: the last axis is named first.
            halves = {name: _lift_along(part, axis) for name, part in parts.items()}
            parts = {letter + name: half["LH".index(letter)] for name, half in halves.items() for letter in "LH"}
        for band in layout.bands_of(level):
            packed[band.offset : band.offset + band.size] = parts[band.orientation].ravel()
        lowest = parts["LLL"]
    packed[: lowest.size] = lowest.ravel()
    return packed


def _inverse_integer(packed: NDArray[Any], layout: VolumeLayout) -> NDArray[np.int64]:
    lowest = _unpack(packed, layout)[0].astype(np.int64)
    for level in range(layout.levels, 0, -1):
        parts = {band.orientation: values.astype(np.int64) for band, values in _bands(packed, layout, level)}
        parts["LLL"] = lowest
        for axis in reversed(_AXES):
            parts = {
                name[1:]: _unlift_along(parts["L" + name[1:]], parts["H" + name[1:]], axis)
                for name in parts
                if name[0] == "L"
            }
        lowest = parts[""]
    return lowest


def _bands(packed: NDArray[Any], layout: VolumeLayout, level: int) -> list[tuple[Any, NDArray[Any]]]:
    views = _unpack(packed, layout)
    first = 1 + 7 * (layout.levels - level)
    return list(zip(layout.bands_of(level), views[first : first + 7], strict=True))


def _unpack(packed: NDArray[Any], layout: VolumeLayout) -> list[NDArray[Any]]:
    """The subbands of packed coefficients, in order, as 3-D views."""
    return [packed[band.offset : band.offset + band.size].reshape(band.shape) for band in layout.subbands]


def _forward_float(volume: NDArray[Any], layout: VolumeLayout) -> NDArray[np.floating[Any]]:
    import pywt

    lowest, *details = pywt.wavedecn(volume, layout.wavelet, mode="periodization", level=layout.levels)
    parts = [lowest.ravel()]
    for level, detail in zip(range(layout.levels, 0, -1), details, strict=True):
        parts += [detail[band.pywavelets_key].ravel() for band in layout.bands_of(level)]
    return np.concatenate(parts)


def _inverse_float(packed: NDArray[Any], layout: VolumeLayout) -> NDArray[np.floating[Any]]:
    import pywt

    coefficients: list[Any] = [_unpack(packed, layout)[0]]
    coefficients += [
        {band.pywavelets_key: values for band, values in _bands(packed, layout, level)}
        for level in range(layout.levels, 0, -1)
    ]
    slices, rows, cols = layout.shape
    return pywt.waverecn(coefficients, layout.wavelet, mode="periodization")[:slices, :rows, :cols]


def forward_volume_reference(volume: NDArray[Any], wavelet: str, levels: int) -> NDArray[Any]:
    """Packed coefficients of one volume: float64 (a float32 volume: in float32 throughout), int64 for ``cdf53``.

    Args:
        volume: (slices, rows, cols).
        wavelet, levels: allowed for the size.
    """
    layout = volume_layout_of(*volume.shape, wavelet, levels)
    return _forward_integer(volume, layout) if wavelet == INTEGER_WAVELET else _forward_float(volume, layout)


def inverse_volume_reference(
    packed: NDArray[Any], shape: tuple[int, int, int], wavelet: str, levels: int
) -> NDArray[Any]:
    """The volume of packed coefficients, (slices, rows, cols), neither rounded nor clipped."""
    layout = volume_layout_of(*shape, wavelet, levels)
    return _inverse_integer(packed, layout) if wavelet == INTEGER_WAVELET else _inverse_float(packed, layout)


def volume_magnitudes(packed: NDArray[Any], layout: VolumeLayout) -> NDArray[Any]:
    """What the selection compares: ``|c|``, for ``cdf53`` ``float32(|c|) * norm`` in one float32 multiply."""
    if layout.wavelet != INTEGER_WAVELET:
        return np.abs(packed)
    weights = np.repeat(layout.weights, [band.size for band in layout.subbands])
    return np.abs(packed).astype(np.float32) * weights


def inject_volume_reference(
    volume: NDArray[Any],
    keep: float,
    wavelet: str = "bior4.4",
    levels: int | None = None,
    value_range: tuple[int, int] | None = None,
) -> NDArray[Any]:
    """The artifact of one volume, computed in float64 (exact integers for ``cdf53``).

    Args:
        volume: (slices, rows, cols).
        keep: fraction of coefficients to keep, in (0, 1].
        wavelet: its name.
        levels: number of levels; None for the default of the size.
        value_range: lowest and highest value of an integer volume; None for the range of its dtype.

    Returns:
        (slices, rows, cols): of the dtype of an integer volume, rounded half to even and clipped; float64 for a float
        volume.
    """
    if keep == 1:
        return volume.copy()
    slices, rows, cols = shape = volume.shape
    depth = volume_default_levels(slices, rows, cols, wavelet) if levels is None else levels
    layout = volume_layout_of(slices, rows, cols, wavelet, depth)
    voxels = volume if wavelet == INTEGER_WAVELET else volume.astype(np.float64)
    packed = forward_volume_reference(voxels, wavelet, layout.levels)
    magnitudes = volume_magnitudes(packed, layout)
    count = kept_count_of_volume(keep, slices, rows, cols)
    threshold = np.partition(magnitudes, len(magnitudes) - count)[len(magnitudes) - count]
    result = inverse_volume_reference(np.where(magnitudes >= threshold, packed, 0), shape, wavelet, layout.levels)
    if volume.dtype.kind == "f":
        return result
    low, high = value_range if value_range is not None else (np.iinfo(volume.dtype).min, np.iinfo(volume.dtype).max)
    return np.clip(np.rint(result), low, high).astype(volume.dtype)
