"""The K-th largest weighted magnitude of one volume, exactly, by all threads.

A sample of the magnitudes says between which two values the K-th largest almost surely lies. One pass, shared among the
threads, over the groups whose maxima reach the lower one, counts those above and collects those in between, a few
thousandths of all; the one sought is found among them.
The counts prove the bracket right; if it is wrong, the pass is repeated on the side where the K-th lies.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.compiler import entry
from wavestream.kernels.cpu.memory import advance, pointer_to
from wavestream.kernels.cpu.pool import run_ranges
from wavestream.kernels.cpu.select import collect
from wavestream.kernels.cpu.volume_plan import PIECE, VolumePlan
from wavestream.kernels.cpu.volume_workspace import Buffers, room_for_candidates
from wavestream.kernels.layout import OFFSET

_SIGN_OFF = np.uint32(0x7FFFFFFF)
_SAMPLE = 1 << 14


@entry
def _collect_pieces(packed, pieces, weights, maxima, groups, low, high, candidates, into, begin, end, counts):
    """Pieces ``begin`` to ``end``: their candidates, less ``low``, follow each other from ``candidates[into]`` on.

    ``counts`` receives how many there are, how many magnitudes are above, and whether all are finite.
    """
    counts[0], counts[1], counts[2] = collect(
        pointer_to(packed), 0, pieces[begin:end], weights[begin:end], pointer_to(maxima), groups[begin:end],
        low, high, advance(pointer_to(candidates), into),
    )  # fmt: skip


def kth_of_volume(
    buffers: Buffers, plan: VolumePlan, size: int, wanted: int, weighed: bool, threads: int
) -> tuple[np.float32, bool]:
    """The ``wanted``-th largest weighted magnitude of the packed coefficients, and whether all of them are finite.

    Args:
        buffers: of the volume, with the maxima of its coefficients; ``spare`` is overwritten.
        plan: of the volume.
        size: its coefficients.
        wanted: from 1 on.
        weighed: the magnitudes carry weights: integer coefficients, of ``cdf53``; else float32 ones.
        threads: of the pool.
    """
    candidates = buffers.spare.view(np.uint32)
    low, high = _bracket(buffers.packed[:size], plan, wanted, weighed)
    while True:
        pieces, above, finite = _collect_all(buffers, candidates, plan, weighed, low, high, threads)
        found = _gathered(candidates, pieces)
        if above < wanted <= above + len(found):
            place = len(found) - (wanted - above)
            found.partition(place)
            kth = low + int(found[place])
            break
        if wanted > above and low == 1:
            kth = 0
            break
        low, high = (high + 1, int(_SIGN_OFF)) if wanted <= above else (1, low - 1)
    return np.uint32(kth).view(np.float32), finite


def _bracket(packed: NDArray[np.int32], plan: VolumePlan, wanted: int, weighed: bool) -> tuple[int, int]:
    """Two values, (low, high), between which the K-th largest magnitude lies, judged from a sample.

    ``low`` is never 0: zeros, often many, need no search.
    """
    # An odd step, lest it keep to the same few columns of a subband.
    places = np.arange(0, len(packed), max(1, len(packed) // _SAMPLE) | 1)
    if weighed:
        piece = np.searchsorted(plan.pieces[:, OFFSET], places, side="right") - 1
        sample = (np.abs(packed[places]).astype(np.float32) * plan.weights[piece]).view(np.uint32)
    else:
        sample = packed[places].view(np.uint32) & _SIGN_OFF
    sample.sort()
    rank = wanted * len(sample) / len(packed)
    margin = 4 * sqrt(rank) + 2
    below, over = int(rank + margin) + 1, int(rank - margin)
    low = max(1, int(sample[-below])) if below <= len(sample) else 1
    return low, int(sample[-over]) if over >= 1 and int(sample[-over]) >= low else int(_SIGN_OFF)


def _collect_all(
    buffers: Buffers,
    candidates: NDArray[np.uint32],
    plan: VolumePlan,
    weighed: bool,
    low: int,
    high: int,
    threads: int,
) -> tuple[list[tuple[int, int]], int, bool]:
    """All candidates: (where they begin, how many) of each range, magnitudes above, and whether all are finite."""
    packed = buffers.packed if weighed else buffers.packed.view(np.float32)
    collected: list[tuple[int, int]] = []
    above: list[int] = []
    finite: list[bool] = []

    def task(begin: int, end: int) -> None:
        counts = np.zeros(3, dtype=np.int64)
        into = int(plan.pieces[begin, OFFSET]) + room_for_candidates(begin)
        _collect_pieces(
            packed, plan.pieces, plan.weights, buffers.maxima, plan.first_groups, np.uint32(low), np.uint32(high),
            candidates, into, begin, end, counts,
        )  # fmt: skip
        collected.append((into, int(counts[0])))
        above.append(int(counts[1]))
        finite.append(bool(counts[2]))

    run_ranges(task, len(plan.pieces), PIECE, threads)
    return collected, sum(above), all(finite)


def _gathered(candidates: NDArray[np.uint32], pieces: list[tuple[int, int]]) -> NDArray[np.uint32]:
    """The candidates of all ranges moved together: a view of the beginning of ``candidates``."""
    filled = 0
    for start, count in sorted(pieces):
        # To the left, or where it is: NumPy copies overlapping memory as if it did not overlap.
        candidates[filled : filled + count] = candidates[start : start + count]
        filled += count
    return candidates[:filled]
