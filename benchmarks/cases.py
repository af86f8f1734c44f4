"""What the kernel benchmarks work on, and the command line and the pytest parameters that they share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.benchmarks.rounds import Contest, circumstances, report, retain_memory
from wavestream.kernels.wavelets import INTEGER_WAVELET
from wavestream.trainers.machine import limited_threads

WAVELETS = ("haar", "db4", "bior4.4", "cdf53")
THREADS = (1, 2)

Contests = Callable[["Case", int], Iterator[Contest]]


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        rows, cols: of the images, in pixels.
        wavelet: its name.
        keep: fraction of coefficients kept.
        levels: of the transform.
        batch: images per call.
    """

    rows: int
    cols: int
    wavelet: str
    keep: float = 0.01
    levels: int = 4
    batch: int = 32

    @property
    def size(self) -> str:
        """Rows and columns, as in ``223x511``."""
        return f"{self.rows}x{self.cols}"

    def images(self) -> NDArray[Any]:
        """(batch, rows, cols) images, uint16 for ``cdf53``, else float32, values 0 to 4095; not to be changed.

        They are 12-bit radiographs as far as their spectrum goes: smooth shapes, edges, and noise. Floats are not
        rounded to integers: many coefficients would be equal, and rounding would select among them.
        """
        return _radiographs(
            self.batch, self.rows, self.cols, "uint16" if self.wavelet == INTEGER_WAVELET else "float32"
        )


@lru_cache(maxsize=2)
def _radiographs(batch: int, rows: int, cols: int, dtype: str) -> NDArray[Any]:
    random = np.random.default_rng(rows)
    y, x = np.mgrid[0:rows, 0:cols] / max(rows, cols)
    images = np.empty((batch, rows, cols), dtype)
    for image, (top, left) in zip(images, random.random((batch, 2)), strict=True):
        shown = 1500 + 900 * np.sin(7 * x + 9 * top) * np.cos(5 * y + 9 * left)
        shown += 700 * (np.hypot(y - top, x - left) < 0.2)
        shown += 150 * np.sin(60 * (x + top) * (y + top)) + 12 * random.standard_normal((rows, cols))
        shown = shown.clip(0, 4095)
        image[...] = np.rint(shown) if images.dtype.kind == "u" else shown
    return images


def parse_size(text: str) -> tuple[int, int]:
    """``"224"`` or ``"223x511"`` as (rows, cols)."""
    rows, _, cols = text.partition("x")
    return int(rows), int(cols or rows)


def run(
    description: str,
    header: tuple[str, ...],
    contests: Contests,
    arguments: list[str] | None,
    wavelets: Iterable[str] = WAVELETS,
    keeps: Iterable[float] | None = (0.01,),
) -> None:
    """The command line of a benchmark: measure ``contests`` of every case and number of threads, and print the table.

    Args:
        description: of the program.
        header: of the columns that tell the contests apart.
        contests: of a case and a number of threads.
        arguments: of the command line; None: those of the process.
        wavelets, keeps: what is measured where the command line does not say; without keeps it cannot say.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--sizes", nargs="+", type=parse_size, default=[(224, 224), (512, 512), (1024, 1024)],
                        metavar="ROWS[xCOLS]", help="of the images, in pixels")  # fmt: skip
    parser.add_argument("--wavelets", nargs="+", default=list(wavelets))
    if keeps is not None:
        parser.add_argument("--keeps", type=float, nargs="+", default=list(keeps))
    parser.add_argument("--threads", type=int, nargs="+", default=list(THREADS), help="of every contestant")
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32, help="images per call")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contestant")
    options = parser.parse_args(arguments)
    cases = [
        Case(rows, cols, wavelet, keep, options.levels, options.batch)
        for rows, cols in options.sizes
        for wavelet in options.wavelets
        for keep in (options.keeps if keeps is not None else [0.01])
    ]
    setting = f"batches of {options.batch}, {options.levels} levels, medians of {options.rounds} interleaved rounds"
    print(circumstances(setting), end="\n\n", flush=True)
    every = (contest for case in cases for threads in options.threads for contest in contests(case, threads))
    for line in report(header, every, options.rounds):
        print(line, flush=True)


def parametrise(metafunc: Any, contests: Contests, cases: Iterable[Case]) -> None:
    """Give a test ``(contests, case, threads, row, name)`` every contestant of every contest, to be run alone."""
    found, names = [], []
    for case in cases:
        tiny = replace(case, rows=32, cols=32, levels=1, batch=1)
        for threads in THREADS:
            for row, contest in enumerate(contests(tiny, threads)):
                for name in contest.contestants:
                    found.append((contests, case, threads, row, name))
                    names.append(f"{case.size}-{'-'.join(contest.cells[1:])}-{threads}t-{name}")
    metafunc.parametrize(("contests", "case", "threads", "row", "name"), found, ids=names)


def time_with_pytest(benchmark: Any, contests: Contests, case: Case, threads: int, row: int, name: str) -> None:
    """Time one contestant under pytest-benchmark, in a group with the others of its contest."""
    retain_memory()
    contest = list(contests(case, threads))[row]
    benchmark.group = contest.name
    with limited_threads(threads):
        assert benchmark(contest.contestants[name]) is not None
    benchmark.extra_info["images/s"] = contest.images / benchmark.stats.stats.median
