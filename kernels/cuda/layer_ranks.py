"""How the threads of a block number the ones among them that need something: a word of the stream, a place in a list.

Words of a stream are taken in the order of the symbols, so every phase of a group of symbols needs such numbers. A
block of one warp gets them from a ballot and a population count; any other, and the simulator, which has no warps,
from shared memory and two barriers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import cuda, int64, uint32

from wavestream.kernels.cuda.launch import is_simulated

WARP = 32
_ALL = 0xFFFFFFFF


@cache
def ranks_of(threads: int) -> Any:
    """The device function (flag, marks) -> (threads before this one whose flag is set, threads whose flag is set).

    Every thread of the block has to call it. It orders no accesses to memory but its own. ``marks`` is shared memory
    for an int32 of each thread, which Numba lets only the kernel itself allocate.

    Args:
        threads: of the block.
    """
    return _warp_ranks if threads == WARP and not is_simulated() else _block_ranks(threads)


@cuda.jit(device=True)
def _warp_ranks(flag, marks):
    flagged = uint32(cuda.ballot_sync(_ALL, flag))
    before = uint32(flagged & uint32((uint32(1) << cuda.threadIdx.x) - 1))
    return int64(cuda.popc(before)), int64(cuda.popc(flagged))


def _block_ranks(threads: int) -> Any:
    @cuda.jit(device=True)
    def ranks(flag, marks):
        thread = cuda.threadIdx.x
        marks[thread] = 1 if flag else 0
        cuda.syncthreads()
        before, total = 0, 0
        for other in range(threads):
            if other == thread:
                before = total
            total += marks[other]
        # Nobody may write the marks of the next call while others read these.
        cuda.syncthreads()
        return int64(before), int64(total)

    return ranks
