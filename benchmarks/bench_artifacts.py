"""Images per second of ``inject`` against its peers: python -m wavestream.benchmarks.bench_artifacts

Prints a markdown table with ratios. The contestants and their settings are in
:mod:`wavestream.benchmarks.artifact_peers`; ours runs with one and with two threads. Rounds are interleaved, so that a
slow moment of the machine hits every contestant, and medians are reported. Every contestant writes to memory of its
own that it has written to before, and malloc is told to keep what is freed: otherwise page faults are measured.

The images are 12-bit radiographs as far as their spectrum goes: smooth shapes, edges, and noise. ``cdf53`` works on
uint16, the others on float32.

``pytest benchmarks/bench_artifacts.py`` runs the same contestants under pytest-benchmark.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wavestream.benchmarks.artifact_peers import peers_of
from wavestream.kernels import inject

THREADS = 2
OURS = "wavestream, 2 threads"
COPY = "copy"

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        size: side of the images in pixels.
        wavelet: its name.
        keep: fraction of coefficients kept.
        levels: of the transform.
        batch: images per call.
    """

    size: int
    wavelet: str
    keep: float = 0.01
    levels: int = 4
    batch: int = 32

    def images(self) -> NDArray[Any]:
        """(batch, size, size) images, uint16 for ``cdf53``, else float32, values 0 to 4095."""
        random = np.random.default_rng(self.size)
        y, x = np.mgrid[0 : self.size, 0 : self.size] / self.size
        shape = (self.batch, self.size, self.size)
        centres = random.random((2, self.batch, 1, 1))
        images = 1500 + 900 * np.sin(7 * x + 9 * centres[0]) * np.cos(5 * y + 9 * centres[1])
        images += 700 * (np.hypot(y - centres[0], x - centres[1]) < 0.2)
        images += 150 * np.sin(60 * (x + centres[0]) * (y + centres[1])) + 12 * random.standard_normal(shape)
        images = np.clip(np.rint(images), 0, 4095)
        return images.astype(np.uint16 if self.wavelet == "cdf53" else np.float32)


def retain_memory() -> None:
    """Tell glibc's malloc to keep freed memory; elsewhere do nothing."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def contestants(case: Case, pool: ThreadPoolExecutor) -> dict[str, Callable[[], NDArray[Any]]]:
    """Who runs, by name: the peers, a copy, and ours with one and two threads."""
    images = case.images()

    def ours(threads: int) -> Callable[[], NDArray[Any]]:
        out = np.zeros_like(images)
        return partial(inject, images, case.keep, case.wavelet, case.levels, out=out, threads=threads)

    copy = np.zeros_like(images)

    def copy_images() -> NDArray[Any]:
        np.copyto(copy, images)
        return copy

    return {
        **peers_of(images, case.keep, case.wavelet, case.levels, pool),
        "wavestream, 1 thread": ours(1),
        OURS: ours(THREADS),
        COPY: copy_images,
    }


def measure(case: Case, rounds: int) -> dict[str, float]:
    """Images per second of each contestant: the median of interleaved rounds, after one that is not timed."""
    with ThreadPoolExecutor(THREADS) as pool:
        running = contestants(case, pool)
        seconds: dict[str, list[float]] = {name: [] for name in running}
        for repeat in range(rounds + 1):
            for name, run in running.items():
                begin = time.perf_counter()
                run()
                if repeat:
                    seconds[name].append(time.perf_counter() - begin)
    return {name: case.batch / statistics.median(values) for name, values in seconds.items()}


def table(cases: list[Case], rounds: int) -> str:
    """A markdown table: one row per case; rates in images per second, ratios to the fastest peer and to a copy."""
    lines = [
        "| size | wavelet | keep | peers: images/s | wavestream 1 / 2 threads | times the fastest peer | of a copy |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        rates = measure(case, rounds)
        peers = {name: rate for name, rate in rates.items() if not name.startswith("wavestream") and name != COPY}
        listed = "; ".join(f"{name} {rate:,.0f}" for name, rate in peers.items())
        lines.append(
            f"| {case.size} | {case.wavelet} | {case.keep:g} | {listed} "
            f"| {rates['wavestream, 1 thread']:,.0f} / {rates[OURS]:,.0f} "
            f"| {rates[OURS] / max(peers.values()):.1f} | {rates[OURS] / rates[COPY]:.0%} |"
        )
    if any(case.wavelet == "cdf53" for case in cases):
        lines.append("\nNo library has the selection rule over `cdf53`: its peer is our own reference in NumPy.")
    return "\n".join(lines)


def circumstances(cases: list[Case], rounds: int) -> str:
    """Hardware, versions, command and commit, for the record."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "PyWavelets", "torch"))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    setting = f"batches of {cases[0].batch}, {cases[0].levels} levels, medians of {rounds} interleaved rounds"
    return (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs; Python {platform.python_version()}, "
        f"{packages}; commit {commit.stdout.strip() or 'unknown'}; {setting}; {' '.join(sys.argv)}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="inject() against its peers, in images per second")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 512], help="sides of the images in pixels")
    parser.add_argument("--large", action="store_true", help="1024 pixels, too")
    parser.add_argument("--wavelets", nargs="+", default=["haar", "db4", "bior4.4", "cdf53"])
    parser.add_argument("--keeps", type=float, nargs="+", default=[0.01])
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32, help="images per call")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds of each contestant")
    options = parser.parse_args(arguments)
    sizes = [*options.sizes, 1024] if options.large else options.sizes
    cases = [
        Case(size, wavelet, keep, options.levels, options.batch)
        for size in sizes
        for wavelet in options.wavelets
        for keep in options.keeps
    ]
    torch.set_num_threads(THREADS)
    print(circumstances(cases, options.rounds), end="\n\n")
    print(table(cases, options.rounds))


def pytest_generate_tests(metafunc: Any) -> None:
    """The cases that pytest runs."""
    cases = [Case(size, wavelet) for size in (224, 512) for wavelet in ("haar", "db4", "bior4.4", "cdf53")]
    metafunc.parametrize("case", cases, ids=[f"{case.size}-{case.wavelet}" for case in cases])


def test_throughput(benchmark: Any, case: Case) -> None:
    """Ours with two threads, under pytest-benchmark; the rates of the other contestants stand in ``extra_info``."""
    retain_memory()
    with ThreadPoolExecutor(THREADS) as pool:
        run = contestants(case, pool)[OURS]
        result = benchmark(run)
    benchmark.extra_info.update(measure(case, rounds=3))
    assert result.shape == (case.batch, case.size, case.size)


if __name__ == "__main__":
    retain_memory()
    main()
