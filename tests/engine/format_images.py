"""Images for the tests of the layered codec, and what is expected of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from format_coefficients import drop_below, inverse, kept
from format_encoder import transform

from wavestream.kernels import inject

Maker = Callable[..., np.ndarray]


def whole_range(dtype: str) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return max(int(limits.min), -65536), min(int(limits.max), 65535)


def noise(rows: int, cols: int, dtype: str = "uint8", seed: int = 5) -> np.ndarray:
    low, high = whole_range(dtype)
    return np.random.default_rng(seed).integers(low, high, (rows, cols), endpoint=True).astype(dtype)


def smooth(rows: int, cols: int, dtype: str = "uint8", seed: int = 5) -> np.ndarray:
    """Waves with a little noise, of the whole range: what the codec is for."""
    low, high = whole_range(dtype)
    row, col = np.mgrid[0:rows, 0:cols]
    wave = np.sin(row / 23) + np.cos(col / 17) + np.random.default_rng(seed).normal(0, 0.01, (rows, cols))
    return np.clip(low + (wave + 2) / 4 * (high - low), low, high).astype(dtype)


def checkerboard(rows: int, cols: int, dtype: str = "uint8") -> np.ndarray:
    low, high = whole_range(dtype)
    return np.where(np.indices((rows, cols)).sum(0) % 2 == 0, low, high).astype(dtype)


def gradient(rows: int, cols: int, dtype: str = "uint8") -> np.ndarray:
    low, high = whole_range(dtype)
    return np.linspace(low, high, rows * cols).astype(dtype).reshape(rows, cols)


def constant(rows: int, cols: int, dtype: str = "uint8") -> np.ndarray:
    return np.full((rows, cols), whole_range(dtype)[1], dtype)


MAKERS: tuple[Maker, ...] = (noise, smooth, checkerboard, gradient, constant)


def injected(
    image: np.ndarray, keep: float, levels: int | None = None, value_range: tuple[int, int] | None = None
) -> np.ndarray:
    """What the artifact kernels make of the whole image (of int8, which they do not take, by way of int16)."""
    if keep == 1:
        return image
    limits = whole_range(str(image.dtype)) if value_range is None else value_range
    pixels = image.astype(np.int16) if image.dtype == np.int8 else image
    return inject(pixels[None], keep, "cdf53", levels, value_range=limits)[0].astype(image.dtype)


def same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def cut_out(stream: bytes, ranges: list[tuple[int, int]]) -> bytes:
    """The bytes of the ranges at their places, garbage between them, and nothing behind them."""
    sparse = bytearray(b"\xa5" * ranges[-1][1])
    for start, stop in ranges:
        sparse[start:stop] = stream[start:stop]
    return bytes(sparse)


def reduced(image: np.ndarray, levels: int, keep: float, reduction: int) -> np.ndarray:
    """The kept coefficients by the model's transform, inverted but for the last ``reduction`` levels."""
    bands = transform(image, levels)
    drop_below(bands, kept(keep, *image.shape))
    return np.clip(inverse(bands, reduction), *whole_range(str(image.dtype))).astype(image.dtype)
