"""Images per second of ``forward`` and ``inverse`` against their peers: python -m wavestream.benchmarks.bench_dwt

Prints a markdown table with ratios. The peers and their settings are in :mod:`wavestream.benchmarks.dwt_peers`, how
they are measured in :mod:`wavestream.benchmarks.rounds`. Ours and the copy write to memory that they have written to
before. ``cdf53`` works on uint16, the others on float32; the copy is one of the images.

``pytest benchmarks/bench_dwt.py`` runs the same contestants under pytest-benchmark.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from wavestream.benchmarks.cases import WAVELETS, Case, parametrise, run, time_with_pytest
from wavestream.benchmarks.dwt_peers import float_images, peers_of
from wavestream.benchmarks.rounds import COPY, OURS, Contest, Run, copying, retain_memory, shared
from wavestream.kernels import forward, inverse


def contests(case: Case, threads: int) -> Iterator[Contest]:
    """The transform, then its inverse, of the same images."""
    images = case.images()
    options: dict[str, Any] = {"wavelet": case.wavelet, "levels": case.levels, "threads": threads}
    packed = forward(images, **options)
    restored = inverse(packed, images.shape[1:], **options)
    copy = copying(images, np.zeros_like(images), threads)
    there: dict[str, Run] = {}
    back: dict[str, Run] = {}
    for name, peer in peers_of(case.wavelet, case.levels).items():
        parts = peer.parts(float_images(images))
        workers = 1 if peer.own_threads else threads
        there[name] = partial(shared, peer.forward, workers, parts)
        back[name] = partial(shared, peer.inverse, workers, [peer.forward(part) for part in parts])
    there |= {OURS: partial(forward, images, out=np.empty_like(packed), **options), COPY: copy}
    back |= {OURS: partial(inverse, packed, images.shape[1:], out=restored, **options), COPY: copy}
    for direction, contestants in (("forward", there), ("inverse", back)):
        yield Contest((case.size, case.wavelet, direction), case.batch, threads, contestants)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    header = ("size", "wavelet", "direction")
    run("forward() and inverse() against their peers, in images per second", header, contests, arguments, keeps=None)


def pytest_generate_tests(metafunc: Any) -> None:
    """The contestants that pytest runs."""
    parametrise(metafunc, contests, [Case(size, size, wavelet) for size in (224, 512) for wavelet in WAVELETS])


def test_speed(benchmark: Any, contests: Any, case: Case, threads: int, row: int, name: str) -> None:
    """One contestant under pytest-benchmark."""
    time_with_pytest(benchmark, contests, case, threads, row, name)


if __name__ == "__main__":
    retain_memory()
    main()
