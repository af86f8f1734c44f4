"""Volumes per second of ``inject_volumes`` against PyWavelets: python -m wavestream.benchmarks.bench_volumes

Prints a markdown table with ratios, measured as :mod:`wavestream.benchmarks.rounds` says. The peer is PyWavelets:
``wavedecn``, ``numpy.partition``, a mask and ``waverecn``, ``periodization``, float32; a batch of as many volumes as
there are threads is shared by them, one volume each. No library has ``cdf53``: ``bior2.2`` stands in for it.
pytorch_wavelets has no 3-D transform; ptwt has one, but not this boundary. ``cdf53`` works on uint16, the others on
float32.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pywt
from numpy.typing import NDArray

from wavestream.benchmarks.rounds import COPY, OURS, Contest, Run, circumstances, copying, report, retain_memory, shared
from wavestream.kernels import inject_volumes
from wavestream.kernels.wavelets import INTEGER_WAVELET

KEEP = 0.01
STAND_IN = "bior2.2"


def volumes_of(batch: int, shape: tuple[int, int, int], wavelet: str) -> NDArray[Any]:
    """(batch, slices, rows, cols) volumes like a 12-bit CT: smooth shapes, edges, noise; uint16 for ``cdf53``, else
    float32."""
    random = np.random.default_rng(shape)
    z, y, x = np.meshgrid(*(np.linspace(0, 1, side) for side in shape), indexing="ij")
    shown = 1500 + 900 * np.sin(7 * x + 3 * z) * np.cos(5 * y) + 700 * (np.hypot(y - 0.5, x - 0.5) < 0.2)
    volumes = np.clip(shown + 12 * random.standard_normal((batch, *shape)), 0, 4095)
    return np.rint(volumes).astype(np.uint16) if wavelet == INTEGER_WAVELET else volumes.astype(np.float32)


def pywavelets_one(volume: NDArray[Any], wavelet: str, levels: int) -> NDArray[Any]:
    """One float32 volume through PyWavelets."""
    coefficients = pywt.wavedecn(volume, wavelet, mode="periodization", level=levels)
    array, slices = pywt.coeffs_to_array(coefficients)
    magnitudes = np.abs(array)
    count = max(1, round(KEEP * volume.size))
    threshold = np.partition(magnitudes, magnitudes.size - count, axis=None)[magnitudes.size - count]
    array[magnitudes < threshold] = 0
    kept = pywt.array_to_coeffs(array, slices, output_format="wavedecn")
    restored: NDArray[Any] = pywt.waverecn(kept, wavelet, mode="periodization")
    return restored[tuple(slice(side) for side in volume.shape)]


def contests(shape: tuple[int, int, int], wavelet: str, levels: int, threads: int) -> Iterator[Contest]:
    """Ours, PyWavelets, and a copy."""
    volumes = volumes_of(threads, shape, wavelet)
    floats, out = volumes.astype(np.float32, copy=False), np.zeros_like(volumes)
    ours: Run = partial(inject_volumes, volumes, KEEP, wavelet, levels, out=out, threads=threads)
    stand_in = STAND_IN if wavelet == INTEGER_WAVELET else wavelet
    one = partial(pywavelets_one, wavelet=stand_in, levels=levels)
    name = "PyWavelets" if stand_in == wavelet else f"PyWavelets {stand_in}"
    peer: Run = partial(shared, one, threads, floats)
    contestants = {name: peer, OURS: ours, COPY: copying(volumes, np.zeros_like(volumes), threads)}
    yield Contest(("x".join(map(str, shape)), wavelet, f"{KEEP:g}"), threads, threads, contestants)


def parse_shape(text: str) -> tuple[int, int, int]:
    """``"96x256x256"`` as (slices, rows, cols)."""
    slices, rows, cols = (int(side) for side in text.split("x"))
    return slices, rows, cols


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="inject_volumes() against PyWavelets, in volumes per second")
    parser.add_argument("--shapes", nargs="+", type=parse_shape, default=[(64, 128, 128), (96, 256, 256)],
                        metavar="SLICESxROWSxCOLS")  # fmt: skip
    parser.add_argument("--wavelets", nargs="+", default=["haar", "bior4.4", "cdf53"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of every contestant")
    parser.add_argument("--levels", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant")
    options = parser.parse_args(arguments)
    print(
        circumstances(f"{options.levels} levels, medians of {options.rounds} interleaved rounds"),
        end="\n\n",
        flush=True,
    )
    every = (
        contest
        for shape in options.shapes
        for wavelet in options.wavelets
        for threads in options.threads
        for contest in contests(shape, wavelet, options.levels, threads)
    )
    for line in report(("volume", "wavelet", "keep"), every, options.rounds):
        print(line.replace("images/s", "volumes/s"), flush=True)


if __name__ == "__main__":
    retain_memory()
    main()
