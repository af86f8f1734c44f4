"""Selection and thresholding by NumPy, torch and PyWavelets: what :mod:`wavestream.benchmarks.bench_select` measures.

Each takes (batch, size) coefficients, of which ``cdf53``'s are multiplied by a weight each (float32, made beforehand),
and finds the K-th largest magnitude of every image, or sets what is below it to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pywt
import torch
from numpy.typing import NDArray

from wavestream.benchmarks.rounds import shared
from wavestream.kernels.layout import Layout
from wavestream.kernels.wavelets import INTEGER_WAVELET

Array = NDArray[Any]


def weights_of(layout: Layout) -> Array | None:
    """(size,) float32, the weight of each coefficient; None where all are 1."""
    if layout.wavelet != INTEGER_WAVELET:
        return None
    return np.repeat(layout.weights, [subband.size for subband in layout.subbands])


def _magnitudes(coefficients: Array, weights: Array | None) -> Array:
    magnitudes = np.abs(coefficients)
    return magnitudes if weights is None else np.multiply(magnitudes, weights, dtype=np.float32)


def _magnitudes_in_torch(coefficients: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    return coefficients.abs() if weights is None else coefficients.abs() * weights


def selections(coefficients: Array, count: int, layout: Layout, threads: int) -> dict[str, Callable[[], Array]]:
    """The K-th largest weighted magnitude of each image, (batch,), by those who can find it."""
    weights, last = weights_of(layout), layout.size - count

    def partition(image: Array) -> Any:
        return np.partition(_magnitudes(image, weights), last)[last]

    def in_torch(find: Callable[[torch.Tensor], torch.Tensor]) -> Array:
        with torch.inference_mode():
            factors = None if weights is None else torch.from_numpy(weights)
            found: Array = find(_magnitudes_in_torch(torch.from_numpy(coefficients), factors)).numpy()
        return found

    return {
        "numpy.partition": lambda: np.asarray(shared(partition, threads, coefficients)),
        "torch.topk": partial(in_torch, lambda found: found.topk(count, sorted=False).values.amin(1)),
        "torch.kthvalue": partial(in_torch, lambda found: found.kthvalue(last + 1).values),
    }


def thresholdings(coefficients: Array, bounds: Array, layout: Layout, threads: int) -> dict[str, Callable[[], Array]]:
    """The coefficients at or above each image's bound, the others 0, by those who can do it; into memory of ours."""
    weights = weights_of(layout)
    out = np.zeros_like(coefficients)

    def multiply(image: Array, bound: np.float32, result: Array) -> None:
        np.multiply(image, _magnitudes(image, weights) >= bound, out=result)

    def in_numpy() -> Array:
        shared(multiply, threads, coefficients, bounds, out)
        return out

    def in_torch() -> Array:
        with torch.inference_mode():
            values = torch.from_numpy(coefficients)
            factors = None if weights is None else torch.from_numpy(weights)
            kept = _magnitudes_in_torch(values, factors) >= torch.from_numpy(bounds)[:, None]
            torch.mul(values, kept, out=torch.from_numpy(out))
        return out

    found: dict[str, Callable[[], Array]] = {"NumPy": in_numpy, "torch": in_torch}
    if weights is None:
        found["PyWavelets"] = lambda: np.asarray(
            shared(partial(pywt.threshold, mode="hard"), threads, coefficients, bounds)
        )
    return found
