"""Sections 1 and 2 of docs/format.md: subbands, their norms, the inverse transform, tiles.

Arrays are (rows, cols); those of subbands LH are transposed ("scan orientation"), as the document has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt

import numpy as np

MAGNITUDES = 1 << 22


def norm(orientation: str, level: int) -> np.float32:
    def low0(level: int) -> float:
        return (2 * 4**level + 1) / (3 * 2**level)

    def low1(level: int) -> float:
        return (4**level - 1) / (6 * 2**level)

    if orientation == "LL":
        return np.float32(low0(level))
    high = 23 / 32 * low0(level - 1) - 5 / 8 * low1(level - 1)
    return np.float32(high if orientation == "HH" else sqrt(low0(level) * high))


def lowest_magnitude(threshold: np.float32, weight: np.float32) -> int:
    """lo: the smallest m >= 1 with float32(m) * weight >= threshold, 2^22 if none is; 0 for threshold 0."""
    if threshold == 0:
        return 0
    below, reaching = 0, MAGNITUDES
    while reaching - below > 1:
        middle = (below + reaching) // 2
        if np.float32(middle) * weight >= threshold:
            reaching = middle
        else:
            below = middle
    return reaching


def unlift(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """5/3 synthesis along axis 0, T.800 F.3.8.2.1: first the even samples, then from them the odd ones."""
    count = len(low) + len(high)
    if count == 1:
        return low.copy()
    signal = np.empty((count, *low.shape[1:]), np.int64)
    signal[0::2], signal[1::2] = low, high

    def mirrored(place: int) -> int:
        place = abs(place)
        return place if place < count else 2 * (count - 1) - place

    for place in range(0, count, 2):
        signal[place] -= (signal[mirrored(place - 1)] + signal[mirrored(place + 1)] + 2) >> 2
    for place in range(1, count, 2):
        signal[place] += (signal[mirrored(place - 1)] + signal[mirrored(place + 1)]) >> 1
    return signal


def kept(fraction: float, rows: int, cols: int) -> int:
    return max(1, round(fraction * rows * cols))


@dataclass
class Subband:
    """The coefficients of one subband that are known so far, in scan orientation."""

    orientation: str
    level: int
    rows: int
    cols: int
    values: np.ndarray = field(init=False)
    known: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.cols, self.rows) if self.orientation == "LH" else (self.rows, self.cols)
        self.values = np.zeros(shape, np.int64)
        self.known = np.zeros(shape, bool)

    @property
    def natural(self) -> np.ndarray:
        return self.values.T if self.orientation == "LH" else self.values

    @property
    def weight(self) -> np.float32:
        return norm(self.orientation, self.level)

    def part(self, tile: tuple[int, int], tile_shape: tuple[int, int]) -> tuple[slice, slice]:
        """Where a tile's part lies, in scan orientation."""
        rows, cols = (
            slice(min(index * side >> self.level, size), min((index + 1) * side >> self.level, size))
            for index, side, size in zip(tile, tile_shape, (self.rows, self.cols), strict=True)
        )
        return (cols, rows) if self.orientation == "LH" else (rows, cols)


def subbands_of(rows: int, cols: int, levels: int) -> list[Subband]:
    """LL, then HL, LH, HH of each level from coarse to fine."""
    bands: list[Subband] = []
    for level in range(1, levels + 1):
        low_rows, high_rows, low_cols, high_cols = (rows + 1) // 2, rows // 2, (cols + 1) // 2, cols // 2
        bands = [
            Subband("HL", level, low_rows, high_cols),
            Subband("LH", level, high_rows, low_cols),
            Subband("HH", level, high_rows, high_cols),
            *bands,
        ]
        rows, cols = low_rows, low_cols
    return [Subband("LL", levels, rows, cols), *bands]


def drop_below(bands: list[Subband], count: int) -> None:
    """Set to 0 what does not reach the ``count``-th largest weighted magnitude."""
    weighted = [np.abs(band.values).astype(np.float32) * band.weight for band in bands]
    largest = np.sort(np.concatenate([part.ravel() for part in weighted]))[::-1]
    for band, sizes in zip(bands, weighted, strict=True):
        band.values[sizes < largest[count - 1]] = 0


def inverse(bands: list[Subband], reduction: int) -> np.ndarray:
    image = bands[0].natural
    for index in range(1, len(bands), 3):
        hl, lh, hh = (band.natural for band in bands[index : index + 3])
        if bands[index].level > reduction:
            image = unlift(unlift(image.T, hl.T).T, unlift(lh.T, hh.T).T)
    return image
