"""How the kernel benchmarks measure and report: interleaved rounds, medians, a markdown table with ratios.

A :class:`Contest` is one row of a table: what is compared, and every contestant's call. In a round each contestant has
one turn, of as many calls as fill a fortieth of a second; so a slow moment of the machine hits all of them. Before a
turn there is a pause in which the threads of the one before go to sleep: they would hold a core for a while otherwise.
"""

from __future__ import annotations

import ctypes
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.trainers.machine import limited_threads

OURS = "wavestream"
COPY = "copy"

_TURN_SECONDS = 0.025
_PAUSE_SECONDS = 0.02
_PACKAGES = ("wavestream", "numpy", "numba", "torch", "nvidia-dali-cuda130", "PyWavelets", "pytorch-wavelets", "ptwt",
             "pillow", "imagecodecs")  # fmt: skip

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

Run = Callable[[], Any]


@dataclass(frozen=True)
class Contest:
    """One row of a table.

    Attributes:
        cells: what is compared, in the table's first columns.
        images: done by one call.
        threads: of every contestant.
        contestants: the calls by name: :data:`OURS`, the peers, and perhaps :data:`COPY`, the floor that memory sets.
    """

    cells: tuple[str, ...]
    images: int
    threads: int
    contestants: dict[str, Run]

    @property
    def name(self) -> str:
        """The row in one word."""
        return "-".join((*self.cells, f"{self.threads}t"))


@dataclass(frozen=True)
class Ratios:
    """Images per second of a contest's contestants, and what follows from them."""

    contest: Contest
    rates: dict[str, float]

    @property
    def peers(self) -> dict[str, float]:
        """The rates of the others."""
        return {name: rate for name, rate in self.rates.items() if name not in (OURS, COPY)}

    @property
    def to_fastest_peer(self) -> float:
        """Our rate in units of the fastest peer's."""
        return self.rates[OURS] / max(self.peers.values())

    @property
    def row(self) -> str:
        """The row of the markdown table."""
        cells = [*self.contest.cells, str(self.contest.threads)]
        cells.append("; ".join(f"{name} {rate:,.0f}" for name, rate in self.peers.items()))
        cells += [f"{self.rates[OURS]:,.0f}", f"{self.to_fastest_peer:.1f}"]
        cells.append(f"{self.rates[OURS] / self.rates[COPY]:.0%}" if COPY in self.rates else "")
        return f"| {' | '.join(cells)} |"


def retain_memory() -> None:
    """Tell glibc's malloc to keep freed memory, in one arena for all threads; elsewhere do nothing.

    Otherwise large arrays come from fresh pages every time, and page faults are measured. Call it before threads start.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="benchmark")


def shared(work: Callable[..., Any], threads: int, *sequences: Iterable[Any]) -> list[Any]:
    """``map(work, *sequences)`` as a list, by ``threads`` threads; by the caller alone where it is one."""
    return list((map if threads == 1 else _pool(threads).map)(work, *sequences))


def copying(source: NDArray[Any], target: NDArray[Any], threads: int) -> Run:
    """The contestant :data:`COPY`: ``source`` into ``target``, each thread a part."""
    parts = np.array_split(source, threads), np.array_split(target, threads)

    def copy() -> NDArray[Any]:
        shared(np.copyto, threads, parts[1], parts[0])
        return target

    return copy


def measure(contest: Contest, rounds: int) -> Ratios:
    """The median over interleaved rounds of each contestant's rate, after a first turn that is not counted."""
    with limited_threads(contest.threads):
        calls = {name: _calls_in_a_turn(run) for name, run in contest.contestants.items()}
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, run in contest.contestants.items():
                time.sleep(_PAUSE_SECONDS)
                seconds[name].append(_turn(run, calls[name]))
    return Ratios(contest, {name: contest.images / statistics.median(found) for name, found in seconds.items()})


def _turn(run: Run, calls: int) -> float:
    """Seconds per call."""
    begin = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - begin) / calls


def _calls_in_a_turn(run: Run) -> int:
    first = _turn(run, 1)
    # The first call compiles, or touches its memory for the first time.
    return max(1, round(_TURN_SECONDS / (_turn(run, 1) if first < 1 else first)))


def report(header: tuple[str, ...], contests: Iterable[Contest], rounds: int) -> Iterator[str]:
    """The markdown table line by line as it is measured, then the least and the median ratio to the fastest peer."""
    header = (*header, "threads", "peers: images/s", "wavestream: images/s", "times the fastest peer", "of a copy")
    yield f"| {' | '.join(header)} |"
    yield "|---" * len(header) + "|"
    ratios = []
    for contest in contests:
        ratios.append(measure(contest, rounds))
        yield ratios[-1].row
    if ratios:
        least = min(ratios, key=lambda found: found.to_fastest_peer)
        median = statistics.median(found.to_fastest_peer for found in ratios)
        lowest = f"at least {least.to_fastest_peer:.1f} ({least.contest.name})"
        yield f"\nTimes the fastest peer: {lowest}, median {median:.1f}."


def circumstances(setting: str) -> str:
    """Hardware, versions, command and commit, for the record."""
    versions = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    openmp = ", ".join(f"{name}={os.environ.get(name, 'unset')}" for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"))
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} CPUs, {platform.system()}; Python "
        f"{platform.python_version()}, {versions}; {openmp}; commit {_commit()}; {setting}; {' '.join(sys.argv)}"
    )


def _processor() -> str:
    """The processor's family and model; Linux says more than the platform module."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = (line.partition(":") for line in info.read_text().splitlines())
        facts = {name.strip(): value.strip() for name, _, value in lines}
        if "model name" in facts:
            return f"{facts['model name']} (family {facts.get('cpu family')}, model {facts.get('model')})"
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).resolve().parent), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
