"""Images per second of ``inject`` against its peers: python -m wavestream.benchmarks.bench_artifacts

Prints a markdown table with ratios. The contestants and their settings are in
:mod:`wavestream.benchmarks.artifact_peers`, how they are measured in :mod:`wavestream.benchmarks.rounds`. Ours and the
copy write to memory that they have written to before. ``cdf53`` works on uint16, the others on float32.

For "never slower": ``--sizes 224 223x511 --keeps 0.01 0.1 0.5``. ``pytest benchmarks/bench_artifacts.py`` runs the
same contestants under pytest-benchmark.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from wavestream.benchmarks.artifact_peers import peers_of
from wavestream.benchmarks.cases import WAVELETS, Case, parametrise, run, time_with_pytest
from wavestream.benchmarks.rounds import COPY, OURS, Contest, Run, copying, retain_memory
from wavestream.kernels import inject


def contests(case: Case, threads: int) -> Iterator[Contest]:
    """Ours, the peers, and a copy."""
    images = case.images()
    out = np.zeros_like(images)
    ours: Run = partial(inject, images, case.keep, case.wavelet, case.levels, out=out, threads=threads)
    contestants = {**peers_of(case, threads), OURS: ours, COPY: copying(images, np.zeros_like(images), threads)}
    yield Contest((case.size, case.wavelet, f"{case.keep:g}"), case.batch, threads, contestants)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    run("inject() against its peers, in images per second", ("size", "wavelet", "keep"), contests, arguments)


def pytest_generate_tests(metafunc: Any) -> None:
    """The contestants that pytest runs."""
    parametrise(metafunc, contests, [Case(size, size, wavelet) for size in (224, 512) for wavelet in WAVELETS])


def test_speed(benchmark: Any, contests: Any, case: Case, threads: int, row: int, name: str) -> None:
    """One contestant under pytest-benchmark."""
    time_with_pytest(benchmark, contests, case, threads, row, name)


if __name__ == "__main__":
    retain_memory()
    main()
