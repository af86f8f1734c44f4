"""Random numbers that depend only on (seed, epoch, sample index, use): the same for any threads, processes or batches.

Counter-based, so nothing is carried from one draw to the next: SplitMix64 (Steele, Lea, Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014) seeded by a hash of (seed, epoch, stream) and read at position ``index``.
Only 64-bit integer arithmetic is used, so every platform gets the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# One number per use, so that the flip of a sample says nothing about its rotation. Never renumber: old runs repeat.
STREAM_SHUFFLE = 1
STREAM_INJECT = 2
STREAM_KEEP = 3
STREAM_ROTATE = 4
STREAM_FLIP = 5

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_MASK = (1 << 64) - 1


def bits(seed: int, epoch: int, indices: ArrayLike, stream: int) -> NDArray[np.uint64]:
    """64 random bits for each index.

    Args:
        seed, epoch, stream: integers; their low 64 bits count.
        indices: (batch,) integers >= 0.

    Returns:
        (batch,) uint64: element i is a function of ``(seed, epoch, indices[i], stream)`` alone.
    """
    key = np.zeros(1, np.uint64)
    for part in (seed, epoch, stream):
        key = _mix((key ^ np.uint64(int(part) & _MASK)) + _GOLDEN)
    counter = np.asarray(indices).astype(np.uint64) + np.uint64(1)
    return _mix(key + counter * _GOLDEN)


def uniform(seed: int, epoch: int, indices: ArrayLike, stream: int) -> NDArray[np.float64]:
    """A uniform number in [0, 1) for each index: the high 53 of its :func:`bits`.

    Args: as for :func:`bits`. Returns: (batch,) float64.
    """
    return (bits(seed, epoch, indices, stream) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """A random order of ``range(count)``, a function of (seed, epoch, count): (count,) int64."""
    keys = bits(seed, epoch, np.arange(count), STREAM_SHUFFLE)
    return np.argsort(keys, kind="stable").astype(np.int64)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function, elementwise; unsigned array arithmetic wraps silently, as it must."""
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))
