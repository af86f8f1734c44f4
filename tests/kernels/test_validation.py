"""Every wrong argument of inject() is answered with what was expected, what was found, and where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wavestream.kernels import inject

FLOATS = np.zeros((3, 32, 40), np.float32)
BYTES = np.zeros((3, 32, 40), np.uint8)

WRONG: list[tuple[type[Exception], str, np.ndarray, dict[str, Any]]] = [
    (TypeError, r"images: expected one of uint8.*float32 in native byte order, got float64", FLOATS.astype(float), {}),
    (TypeError, r"got int64; convert with astype", FLOATS.astype(int), {}),
    (TypeError, r"got bool", FLOATS.astype(bool), {}),
    (TypeError, r"got >u2", BYTES.astype(">u2"), {}),
    (TypeError, r"cdf53 is an integer wavelet and expects .*, got float32", FLOATS, {"wavelet": "cdf53"}),
    (ValueError, r"unknown wavelet 'sym5': expected one of haar, .*cdf53", FLOATS, {"wavelet": "sym5"}),
    (ValueError, r"expected \(batch, rows, cols\) or \(rows, cols\), got shape \(1, 3, 32, 40\)", FLOATS[None], {}),
    (ValueError, r"got shape \(40,\)", FLOATS[0, 0], {}),
    (ValueError, r"expected at least one image .* got shape \(0, 32, 40\)", FLOATS[:0], {}),
    (ValueError, r"at least 1x1 pixels, got shape \(3, 0, 40\)", FLOATS[:, :0], {}),
    (ValueError, r"keep: expected a fraction in \(0, 1\], got 0\.0 at samples 0, 1, 2", FLOATS, {"keep": 0}),
    (ValueError, r"got -0\.5 at sample 1;", FLOATS, {"keep": [0.5, -0.5, 1]}),
    (ValueError, r"got nan at sample 2;", FLOATS, {"keep": [0.5, 0.5, np.nan]}),
    (ValueError, r"got 1\.5 at samples 1, 2;", FLOATS, {"keep": [0.5, 1.5, 2]}),
    (ValueError, r"keep: expected one number or shape \(3,\), got shape \(2,\)", FLOATS, {"keep": [0.5, 0.5]}),
    (ValueError, r"got shape \(3, 1\)", FLOATS, {"keep": np.full((3, 1), 0.5)}),
    (TypeError, r"keep: expected a number or 3 numbers in \(0, 1\], got 'much'", FLOATS, {"keep": "much"}),
    (ValueError, r"levels: expected 1 to 5 for an image of 32x40 pixels with haar, got 6", FLOATS, {"levels": 6}),
    (ValueError, r"levels: expected 1 to 5 .* got 0", FLOATS, {"levels": 0}),
    (TypeError, r"levels: expected an integer or None, got 2\.5", FLOATS, {"levels": 2.5}),
    (TypeError, r"levels: expected an integer or None, got True", FLOATS, {"levels": True}),
    (
        ValueError,
        r"an image of 32x29 pixels is too small for db8: expected at least 30 pixels on each side",
        FLOATS[:, :, :29],
        {"wavelet": "db8"},
    ),
    (
        ValueError,
        r"sample 1: an image of 1x40 pixels is too small for haar",
        FLOATS,
        {"sizes": [(32, 40), (1, 40), (32, 40)]},
    ),
    (
        ValueError,
        r"samples 0, 2: levels: expected 1 to 2 for an image of 5x5 pixels",
        FLOATS,
        {"sizes": [(5, 5), (32, 40), (5, 5)], "levels": 3},
    ),
    (
        ValueError,
        r"sizes: expected 1x1 to 32x40 .* got 33x40 at sample 2",
        FLOATS,
        {"sizes": [(32, 40)] * 2 + [(33, 40)]},
    ),
    (ValueError, r"got 32x0 at samples 0, 1, 2", FLOATS, {"sizes": [(32, 0)] * 3}),
    (ValueError, r"sizes: expected shape \(3, 2\).* got \(2,\)", FLOATS, {"sizes": (32, 40)}),
    (TypeError, r"sizes: expected integers, got dtype float64", FLOATS, {"sizes": np.full((3, 2), 20.0)}),
    (
        ValueError,
        r"value_range: only integer images are clipped, got images of float32",
        FLOATS,
        {"value_range": (0, 1)},
    ),
    (
        ValueError,
        r"expected 0 <= lowest <= highest <= 255 for uint8, got \(0, 256\) at",
        BYTES,
        {"value_range": (0, 256)},
    ),
    (ValueError, r"got \(9, 8\) at sample 1", BYTES, {"value_range": [(0, 9), (9, 8), (0, 9)]}),
    (ValueError, r"value_range: expected \(lowest, highest\) or shape \(3, 2\)", BYTES, {"value_range": (0, 1, 2)}),
    (TypeError, r"value_range: expected integers, got dtype float64", BYTES, {"value_range": (0.0, 1.0)}),
    (ValueError, r"threads: expected at least 1, .* got 0", FLOATS, {"threads": 0}),
    (TypeError, r"threads: expected an integer or None, got 1\.5", FLOATS, {"threads": 1.5}),
    (
        ValueError,
        r"out: expected shape \(3, 32, 40\), got \(3, 32, 41\)",
        FLOATS,
        {"out": np.zeros((3, 32, 41), np.float32)},
    ),
    (TypeError, r"out: expected dtype float32, got uint8", FLOATS, {"out": BYTES}),
    (ValueError, r"out: expected a C-contiguous array", FLOATS, {"out": np.zeros((3, 32, 80), np.float32)[:, :, ::2]}),
    (TypeError, r"images: expected one array, got a list of 1", [[0.0]], {}),  # type: ignore[list-item]
    (TypeError, r"images: expected a NumPy array or a CUDA array .* got builtins.str", "images", {}),  # type: ignore[arg-type]
    (TypeError, r"out: expected a NumPy array .* got builtins.str", FLOATS, {"out": "there"}),
]


@pytest.mark.parametrize(("error", "message", "images", "arguments"), WRONG, ids=[case[1][:50] for case in WRONG])
def test_wrong_argument_is_named(
    error: type[Exception], message: str, images: np.ndarray, arguments: dict[str, Any]
) -> None:
    with pytest.raises(error, match=message):
        inject(images, **{"keep": 0.5, "wavelet": "haar", **arguments})


def test_out_must_be_apart_from_images_or_be_them() -> None:
    memory = np.zeros(3 * 32 * 40 + 1, np.float32)
    images, shifted = memory[:-1].reshape(3, 32, 40), memory[1:].reshape(3, 32, 40)
    with pytest.raises(ValueError, match="out: expected an array apart from images, got one that overlaps it"):
        inject(images, 0.5, "haar", out=shifted)
    fixed = FLOATS.copy()
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="out: expected a writable array"):
        inject(FLOATS, 0.5, "haar", out=fixed)


def test_long_lists_of_samples_are_shortened() -> None:
    with pytest.raises(ValueError, match=r"at samples 0, 1, 2, 3, 4, 5, 6, 7 and 92 more"):
        inject(np.zeros((100, 4, 4), np.float32), np.zeros(100), "haar")
