"""The same artifact made by others: what :mod:`wavestream.benchmarks.bench_artifacts` measures against.

Settings, the fastest of each that we know, all with the selection rule of ``inject`` (the K-th largest magnitude of an
image's coefficients, K = round(keep * rows * cols), ties stay), ``periodization`` boundaries and float32 arithmetic:

- PyWavelets: ``wavedec2``, ``coeffs_to_array``, ``numpy.partition``, mask, ``waverec2``; image by image in one thread,
  or shared by two (it releases the GIL in its transforms). It has no ``cdf53``.
- pytorch_wavelets: ``DWTForward`` and ``DWTInverse`` on the whole batch as one tensor, ``torch.topk`` per image, on the
  CPU with torch's own threads. Even sizes only. It has no ``cdf53``.
- Plain NumPy integers (:mod:`wavestream.kernels.reference`): the only peer for ``cdf53`` that keeps its definition.
- Copy: ``numpy.copyto``, the floor that memory sets.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pywt
import torch
from numpy.typing import NDArray

from wavestream.kernels.reference import inject_reference
from wavestream.kernels.select import kept_count

Images = NDArray[Any]


def pywavelets_one(image: Images, keep: float, wavelet: str, levels: int) -> Images:
    """One (rows, cols) float32 image through PyWavelets."""
    coefficients = pywt.wavedec2(image, wavelet, mode="periodization", level=levels)
    array, slices = pywt.coeffs_to_array(coefficients)
    magnitudes = np.abs(array)
    count = kept_count(keep, *image.shape)
    threshold = np.partition(magnitudes, magnitudes.size - count, axis=None)[magnitudes.size - count]
    array[magnitudes < threshold] = 0
    kept = pywt.array_to_coeffs(array, slices, output_format="wavedec2")
    restored: Images = pywt.waverec2(kept, wavelet, mode="periodization")
    return restored[: image.shape[0], : image.shape[1]]


def pywavelets(
    images: Images, out: Images, keep: float, wavelet: str, levels: int, pool: ThreadPoolExecutor | None = None
) -> Images:
    """A (batch, rows, cols) float32 batch through PyWavelets, by the threads of ``pool`` if there is one."""

    def one(index: int) -> None:
        out[index] = pywavelets_one(images[index], keep, wavelet, levels)

    list((map if pool is None else pool.map)(one, range(len(images))))
    return out


def pytorch_wavelets(wavelet: str, levels: int) -> Callable[[Images, Images, float], Images] | None:
    """A function (images, out, keep) through pytorch_wavelets, or None where that is not installed."""
    try:
        from pytorch_wavelets import DWTForward, DWTInverse
    except ImportError:
        return None
    forward = DWTForward(J=levels, wave=wavelet, mode="periodization")
    inverse = DWTInverse(wave=wavelet, mode="periodization")

    def run(images: Images, out: Images, keep: float) -> Images:
        with torch.inference_mode():
            low, high = forward(torch.from_numpy(images)[:, None])
            parts = [low, *high]
            magnitudes = torch.cat([part.flatten(1) for part in parts], 1).abs_()
            count = kept_count(keep, *images.shape[1:])
            threshold = magnitudes.topk(count, sorted=False).values.amin(1)
            for part in parts:
                bound = threshold.reshape(-1, *[1] * (part.ndim - 1))
                part.masked_fill_(part.abs() < bound, 0)
            out[...] = inverse((low, high))[:, 0].numpy()
        return out

    return run


def reference(images: Images, out: Images, keep: float, wavelet: str, levels: int) -> Images:
    """The reference of ``cdf53``, image by image."""
    for image, result in zip(images, out, strict=True):
        result[...] = inject_reference(image, keep, wavelet, levels)
    return out


def peers_of(
    images: Images, keep: float, wavelet: str, levels: int, pool: ThreadPoolExecutor
) -> dict[str, Callable[[], Images]]:
    """The peers that can do this, by name; each call makes the whole batch anew into memory of its own."""

    def mine() -> Images:
        return np.zeros_like(images)

    if wavelet == "cdf53":
        return {"NumPy reference": partial(reference, images, mine(), keep, wavelet, levels)}
    peers: dict[str, Callable[[], Images]] = {
        "PyWavelets, 1 thread": partial(pywavelets, images, mine(), keep, wavelet, levels),
        "PyWavelets, 2 threads": partial(pywavelets, images, mine(), keep, wavelet, levels, pool),
    }
    in_torch = pytorch_wavelets(wavelet, levels)
    if in_torch is not None:
        peers["pytorch_wavelets"] = partial(in_torch, images, mine(), keep)
    return peers
