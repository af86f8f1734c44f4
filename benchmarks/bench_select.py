"""Images per second of ``kth_magnitude`` and ``hard_threshold``: python -m wavestream.benchmarks.bench_select

Prints a markdown table with ratios. The work is on the coefficients of the images; the peers and their settings are in
:mod:`wavestream.benchmarks.select_peers`, how they are measured in :mod:`wavestream.benchmarks.rounds`. The copy is
one of the coefficients.

``pytest benchmarks/bench_select.py`` runs the same contestants under pytest-benchmark.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from wavestream.benchmarks.cases import Case, parametrise, run, time_with_pytest
from wavestream.benchmarks.rounds import COPY, OURS, Contest, Run, copying, retain_memory
from wavestream.benchmarks.select_peers import selections, thresholdings
from wavestream.kernels import forward, hard_threshold, kth_magnitude, layout_of
from wavestream.kernels.select import kept_count

# One of each kind: float32 magnitudes, and weighted int32 ones.
WAVELETS = ("bior4.4", "cdf53")
KEEPS = (0.001, 0.01, 0.1, 0.5)


def contests(case: Case, threads: int) -> Iterator[Contest]:
    """The selection, then the thresholding, of the same coefficients."""
    images = case.images()
    layout = layout_of(case.rows, case.cols, case.wavelet, case.levels)
    coefficients = forward(images, case.wavelet, case.levels)
    transform: dict[str, Any] = {"wavelet": case.wavelet, "levels": case.levels, "threads": threads}
    transform["shape"] = images.shape[1:]
    bounds = kth_magnitude(coefficients, case.keep, **transform)
    out = np.zeros_like(coefficients)
    copy = copying(coefficients, out, threads)
    ours = partial(kth_magnitude, coefficients, case.keep, out=np.zeros_like(bounds), **transform)
    select = selections(coefficients, kept_count(case.keep, case.rows, case.cols), layout, threads)
    cut = partial(hard_threshold, coefficients, bounds, out=out, **transform)
    cuts = thresholdings(coefficients, bounds, layout, threads)
    operations: dict[str, dict[str, Run]] = {
        "K-th magnitude": {**select, OURS: ours, COPY: copy},
        "threshold": {**cuts, OURS: cut, COPY: copy},
    }
    for what, contestants in operations.items():
        yield Contest((case.size, case.wavelet, f"{case.keep:g}", what), case.batch, threads, contestants)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    header = ("size", "wavelet", "keep", "operation")
    run("Selection and thresholding against their peers, in images per second", header, contests, arguments,
        WAVELETS, KEEPS)  # fmt: skip


def pytest_generate_tests(metafunc: Any) -> None:
    """The contestants that pytest runs."""
    parametrise(metafunc, contests, [Case(512, 512, wavelet, keep) for wavelet in WAVELETS for keep in KEEPS])


def test_speed(benchmark: Any, contests: Any, case: Case, threads: int, row: int, name: str) -> None:
    """One contestant under pytest-benchmark."""
    time_with_pytest(benchmark, contests, case, threads, row, name)


if __name__ == "__main__":
    retain_memory()
    main()
