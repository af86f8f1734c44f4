"""The reference that every backend agrees with: PyWavelets in float64, and the 5/3 lifting in plain exact integers.

One image at a time, written to be read, not to be fast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.layout import Layout, layout_of
from wavestream.kernels.select import kept_count
from wavestream.kernels.wavelets import INTEGER_WAVELET, default_levels


def lift_1d(signal: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """5/3 analysis along axis 0: (low, high). ITU-T T.800, equations F-9 and F-10."""
    length = len(signal)
    if length == 1:
        return signal.copy(), signal[:0]
    # Whole-sample symmetric extension by two samples on each side: ... x2 x1 | x0 x1 ... x(n-1) | x(n-2) x(n-3) ...
    extended = np.pad(signal, [(2, 2)] + [(0, 0)] * (signal.ndim - 1), mode="reflect")
    even, odd = extended[0::2], extended[1::2]
    count = min(len(even) - 1, len(odd))
    high = odd[:count] - (even[:count] + even[1 : count + 1]) // 2
    # high[0] now belongs to sample -1, even[1] to sample 0.
    low_count = (length + 1) // 2
    low = even[1 : 1 + low_count] + (high[:low_count] + high[1 : 1 + low_count] + 2) // 4
    return low, high[1 : 1 + length // 2]


def unlift_1d(low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.int64]:
    """5/3 synthesis along axis 0. ITU-T T.800, equations F-5 and F-6."""
    length = len(low) + len(high)
    if length == 1:
        return low.copy()
    signal = np.empty((length, *low.shape[1:]), dtype=np.int64)
    before = np.concatenate([high[:1], high])[: len(low)]
    after = np.concatenate([high, high[-1:]])[: len(low)]
    signal[0::2] = low - (before + after + 2) // 4
    even = signal[0::2]
    following = np.concatenate([even[1:], even[-1:]])[: len(high)]
    signal[1::2] = high + (even[: len(high)] + following) // 2
    return signal


def _forward_integer(image: NDArray[Any], layout: Layout) -> NDArray[np.int64]:
    packed = np.empty(layout.size, dtype=np.int64)
    ll = image.astype(np.int64)
    for level in range(1, layout.levels + 1):
        low, high = lift_1d(ll)
        (ll, hl), (lh, hh) = (tuple(part.T for part in lift_1d(half.T)) for half in (low, high))
        for subband, values in zip(layout.subbands[1 + 3 * (layout.levels - level) :], (hl, lh, hh), strict=False):
            packed[subband.offset : subband.offset + subband.size] = values.ravel()
    packed[: ll.size] = ll.ravel()
    return packed


def _inverse_integer(packed: NDArray[Any], layout: Layout) -> NDArray[np.int64]:
    bands = _unpack(packed.astype(np.int64), layout)
    ll = bands[0]
    for index in range(1, len(bands), 3):
        hl, lh, hh = bands[index : index + 3]
        low, high = unlift_1d(ll.T, hl.T).T, unlift_1d(lh.T, hh.T).T
        ll = unlift_1d(low, high)
    return ll


def _unpack(packed: NDArray[Any], layout: Layout) -> list[NDArray[Any]]:
    """The subbands of packed coefficients, in order, as 2-D views."""
    return [packed[s.offset : s.offset + s.size].reshape(s.rows, s.cols) for s in layout.subbands]


def _forward_float(image: NDArray[Any], layout: Layout) -> NDArray[np.floating[Any]]:
    import pywt

    coefficients = pywt.wavedec2(image, layout.wavelet, mode="periodization", level=layout.levels)
    parts = [coefficients[0].ravel()]
    for horizontal, vertical, diagonal in coefficients[1:]:
        parts += [vertical.ravel(), horizontal.ravel(), diagonal.ravel()]
    return np.concatenate(parts)


def _inverse_float(packed: NDArray[Any], layout: Layout) -> NDArray[np.floating[Any]]:
    import pywt

    bands = _unpack(packed, layout)
    coefficients: list[Any] = [bands[0]]
    coefficients += [(bands[i + 1], bands[i], bands[i + 2]) for i in range(1, len(bands), 3)]
    return pywt.waverec2(coefficients, layout.wavelet, mode="periodization")[: layout.rows, : layout.cols]


def forward_reference(image: NDArray[Any], wavelet: str, levels: int) -> NDArray[Any]:
    """Packed coefficients of one image: float64 (a float32 image: in float32 throughout), int64 for ``cdf53``.

    Args:
        image: (rows, cols).
        wavelet, levels: allowed for the size.
    """
    layout = layout_of(*image.shape, wavelet, levels)
    return _forward_integer(image, layout) if wavelet == INTEGER_WAVELET else _forward_float(image, layout)


def inverse_reference(packed: NDArray[Any], shape: tuple[int, int], wavelet: str, levels: int) -> NDArray[Any]:
    """The image of packed coefficients, (rows, cols), neither rounded nor clipped."""
    layout = layout_of(*shape, wavelet, levels)
    return _inverse_integer(packed, layout) if wavelet == INTEGER_WAVELET else _inverse_float(packed, layout)


def weighted_magnitudes(packed: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """What the selection compares: ``|c|``, for ``cdf53`` ``float32(|c|) * norm`` in one float32 multiply."""
    if layout.wavelet != INTEGER_WAVELET:
        return np.abs(packed)
    weights = np.repeat(layout.weights, [subband.size for subband in layout.subbands])
    return np.abs(packed).astype(np.float32) * weights


def kth_magnitude_reference(packed: NDArray[Any], keep: float, layout: Layout) -> Any:
    """The K-th largest weighted magnitude, K of ``keep`` and the image's size in pixels."""
    magnitudes = weighted_magnitudes(packed, layout)
    count = kept_count(keep, layout.rows, layout.cols)
    return np.partition(magnitudes, len(magnitudes) - count)[len(magnitudes) - count]


def inject_reference(
    image: NDArray[Any],
    keep: float,
    wavelet: str = "bior4.4",
    levels: int | None = None,
    value_range: tuple[int, int] | None = None,
) -> NDArray[Any]:
    """The artifact of one image, computed in float64 (exact integers for ``cdf53``).

    Args:
        image: (rows, cols).
        keep: fraction of coefficients to keep, in (0, 1].
        wavelet: its name.
        levels: number of levels; None for the default of the size.
        value_range: lowest and highest pixel value of an integer image; None for the range of its dtype.

    Returns:
        (rows, cols): of the dtype of an integer image, rounded half to even and clipped; float64 for a float image.
    """
    if keep == 1:
        return image.copy()
    rows, cols = image.shape
    layout = layout_of(rows, cols, wavelet, default_levels(rows, cols, wavelet) if levels is None else levels)
    pixels = image if wavelet == INTEGER_WAVELET else image.astype(np.float64)
    packed = forward_reference(pixels, wavelet, layout.levels)
    kept = weighted_magnitudes(packed, layout) >= kth_magnitude_reference(packed, keep, layout)
    result = inverse_reference(np.where(kept, packed, 0), image.shape, wavelet, layout.levels)
    if image.dtype.kind == "f":
        return result
    low, high = value_range if value_range is not None else (np.iinfo(image.dtype).min, np.iinfo(image.dtype).max)
    return np.clip(np.rint(result), low, high).astype(image.dtype)
