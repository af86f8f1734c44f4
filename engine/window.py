"""Modality rescale, VOI window and inversion of each image, folded into a few numbers that the pipeline applies.

DICOM PS3.3 C.11.1.1.2 (rescale), C.11.2.1.2 (LINEAR), C.11.2.1.3 (LINEAR_EXACT, SIGMOID), C.7.6.3.1.2 (MONOCHROME1);
the output is in [0, 1], 0 shown black.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.engine.errors import StoreError
from wavestream.engine.schema import VOI_FUNCTIONS

_LINEAR, _SIGMOID = VOI_FUNCTIONS.index("LINEAR"), VOI_FUNCTIONS.index("SIGMOID")


@dataclass(frozen=True)
class Windows:
    """Every image's window: ``z = (clip(stored, low, high) - offset) * gain + bias``; the output is z or its logistic.

    Linear windows clip where the output is 0 and 1, so z lies in [0, 1] up to rounding. Subtracting the integer offset
    first is exact, which keeps narrow windows far from 0 precise in float32.

    Attributes:
        low, high: (N,) float64, in stored units, within the values that the image may take.
        offset: (N,) int64, in stored units, between those.
        gain, bias: (N,) float64.
        sigmoid: (N,) bool: the output is ``1 / (1 + exp(-z))``.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    offset: NDArray[np.int64]
    gain: NDArray[np.float64]
    bias: NDArray[np.float64]
    sigmoid: NDArray[np.bool_]

    @property
    def whole(self) -> bool:
        """Whether every image is clipped at integers, which can be done in the stored dtype."""
        return bool(np.all(self.low == np.rint(self.low)) and np.all(self.high == np.rint(self.high)))


def fold_windows(table: Mapping[str, NDArray[Any]], override: tuple[float, float] | None = None) -> Windows:
    """Fold rescale, window and inversion of every image of a store.

    Args:
        table: columns slope, intercept, window_center, window_width, voi_function, inverted, value_low, value_high.
        override: (centre, width) in modality units to use for all images with the LINEAR function.

    A window without width (a LINEAR width of 1, a constant image's full range) is a step: 0 up to its centre, 1 above.

    Raises:
        StoreError: a slope, intercept or window that is not finite; names the image.
    """
    slope, intercept = table["slope"], table["intercept"]
    center, width, function = table["window_center"], table["window_width"], table["voi_function"]
    if override is not None:
        center, width = np.full_like(center, override[0]), np.full_like(width, override[1])
        function = np.full_like(function, _LINEAR)
    broken = ~np.isfinite(np.stack([slope, intercept, center, width])).all(0)
    if broken.any():
        index = np.flatnonzero(broken)[0]
        raise StoreError(f"image {index}: its slope, intercept or window is not finite; ingest again")

    lowest, highest = table["value_low"].astype(np.float64), table["value_high"].astype(np.float64)
    scale, shift, sigmoid = _lines(slope, intercept, center, width, function)
    divisor = np.where(scale == 0, 1.0, scale)
    at_zero, at_one = -shift / divisor, (1.0 - shift) / divisor
    starts, ends = np.minimum(at_zero, at_one), np.maximum(at_zero, at_one)
    # Where every value of the image lies on one side of its window, or the slope is 0, the output is constant.
    outside = (ends <= lowest) | (starts >= highest)
    nearest = np.clip(np.where(starts >= highest, starts, ends) * scale + shift, 0.0, 1.0)
    constant = ~sigmoid & (outside | (scale == 0))
    shift = np.where(constant, np.where(scale == 0, np.clip(shift, 0.0, 1.0), np.rint(nearest)), shift)
    scale = np.where(constant, 0.0, scale)
    free = constant | sigmoid
    low = np.where(free, lowest, np.maximum(_snapped(starts), lowest))
    high = np.where(free, highest, np.minimum(_snapped(ends), highest))
    # No difference from it may leave the stored dtype: an unsigned one cannot go below it, a signed one reaches half.
    offset = np.floor(np.where(lowest < 0, (low + high + 1) / 2, low))
    offset = np.where(sigmoid, np.clip(np.rint(at_zero), low, high), offset)
    bias = shift + scale * offset
    # 1 - z of a linear window is again linear; 1 - logistic(z) is logistic(-z).
    inverted = table["inverted"] != 0
    gain = np.where(inverted, -scale, scale)
    bias = np.where(inverted, np.where(sigmoid, -bias, 1.0 - bias), bias)
    return Windows(low, high, offset.astype(np.int64), gain, bias, sigmoid)


def _snapped(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values that are integers but for float64's rounding, as those integers."""
    return np.where(np.abs(values - np.rint(values)) < 1e-7, np.rint(values), values)


def _lines(
    slope: NDArray[np.float64],
    intercept: NDArray[np.float64],
    center: NDArray[np.float64],
    width: NDArray[np.float64],
    function: NDArray[np.uint8],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Each window as a line in the stored value: its scale and shift, and whether the logistic follows."""
    linear = function == _LINEAR
    center = center - np.where(linear, 0.5, 0.0)
    span = width - np.where(linear, 1.0, 0.0)
    step = span <= 0
    sigmoid = (function == _SIGMOID) & ~step
    span = np.where(step, 1.0, span)
    scale = np.where(sigmoid, 4.0, 1.0) * slope / span
    shift = np.where(sigmoid, 4.0, 1.0) * (intercept - center) / span + np.where(sigmoid, 0.0, 0.5)
    # Stored values are integers, so a step is the line that rises from 0 to 1 between two of them.
    edge = (center - intercept) / np.where(slope == 0, 1.0, slope)
    last_zero = np.where(slope > 0, np.floor(edge), np.ceil(edge))
    step_shift = np.where(slope == 0, intercept > center, -last_zero * np.sign(slope))
    return np.where(step, np.sign(slope), scale), np.where(step, step_shift, shift), sigmoid
