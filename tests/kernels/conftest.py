"""Images and the measure of error that the kernels' suites share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from wavestream.kernels.volume_layout import kept_count_of_volume, volume_default_levels
from wavestream.kernels.volume_reference import forward_volume_reference, inverse_volume_reference

EPSILON = float(np.finfo(np.float32).eps)


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """``picture(rows, cols, dtype="float32", seed=0)``: smooth shapes, an edge and noise; 12 bits, 8 for uint8."""

    def draw(rows: int, cols: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng([rows, cols, seed])
        y, x = np.mgrid[0:rows, 0:cols] / max(rows, cols)
        image = np.sin(9 * x + seed) + np.cos(14 * y * x) + 1.5 * ((x - 0.4) ** 2 + (y - 0.3) ** 2 < 0.04)
        image = (image + 2) / 5.5 * 0.9 + 0.1 * rng.random((rows, cols))
        if np.dtype(dtype).kind == "f":
            return (image * 4 - 2).astype(dtype)
        scale = 255 if dtype == "uint8" else 4095
        return np.clip(np.rint(image * scale), 0, scale).astype(dtype)

    return draw


@pytest.fixture(scope="session")
def complaint() -> Callable[[np.ndarray, np.ndarray, np.ndarray], str]:
    """``(found, plain, exact)``: how ``found`` errs more than twice as much as ``plain`` float32 arithmetic; "" if not.

    The root mean square error is held to that on its own; the largest error, which is luck in small images, has a floor
    of two float32 roundings of the largest value.
    """

    def compare(found: np.ndarray, plain: np.ndarray, exact: np.ndarray) -> str:
        error, plain_error = np.abs(found - exact), np.abs(plain - exact)
        rounding = EPSILON * float(np.abs(exact).max())
        mean, plain_mean = (float(np.sqrt(np.mean(np.square(values)))) for values in (error, plain_error))
        if not mean <= 2 * plain_mean + rounding / 4:
            return f"root mean square error {mean:.3g}, plain float32 {plain_mean:.3g}"
        if not error.max() <= 2 * plain_error.max() + 2 * rounding:
            return f"largest error {error.max():.3g}, plain float32 {plain_error.max():.3g}, rounding {rounding:.3g}"
        return ""

    return compare


@pytest.fixture(scope="session")
def volume_artifact() -> Callable[[np.ndarray, float, str], tuple[np.ndarray, np.ndarray]]:
    """``(volume, keep, wavelet)``: its artifact in float64, and as float32 PyWavelets computes it.

    The selection is that of float64; a volume of which float32 cannot tell what reaches the threshold is refused.
    """

    def compute(volume: np.ndarray, keep: float, wavelet: str) -> tuple[np.ndarray, np.ndarray]:
        shape = volume.shape
        levels = volume_default_levels(*shape, wavelet)
        exact = forward_volume_reference(volume.astype(np.float64), wavelet, levels)
        plain = forward_volume_reference(volume.astype(np.float32), wavelet, levels)
        threshold = np.sort(np.abs(exact))[-kept_count_of_volume(keep, *shape)]
        kept = np.abs(exact) >= threshold
        # Errors grow with the coefficient: only those of coefficients like the threshold matter to it.
        doubt = 2 * np.abs(plain - exact)[np.abs(exact) <= 2 * threshold].max()
        assert threshold - np.abs(exact[~kept]).max() > doubt, (
            "this volume cannot tell a right selection from a wrong one"
        )
        results = [inverse_volume_reference(half * kept, shape, wavelet, levels) for half in (exact, plain)]
        return results[0], results[1]

    return compute
