"""The host shim finds races, whatever the order of the threads, and only races."""

from __future__ import annotations

import numpy as np
import pytest
from host_shim.launcher import ORDERS, HostModule, RaceError

RACES = """
extern "C" __global__ void race(unsigned int* out, int what) {
    DYNAMIC_SHARED(memory);
    unsigned int* words = reinterpret_cast<unsigned int*>(memory);
    const unsigned int t = threadIdx.x, warp = t / 32, lane = t % 32;
    words[t] = t;
    if (what == 0) { warp_barrier(); out[t] = words[t ^ 1]; }
    if (what == 1) { warp_barrier(); out[t] = words[t ^ 32]; }
    if (what == 2) { shuffle(t, 0); out[t] = words[t ^ 1]; }
    if (what == 3) { named_barrier(1 + warp / 2, 64); out[t] = words[t ^ 32]; }
    if (what == 4) { named_barrier(1 + warp / 2, 64); out[t] = words[t ^ 64]; }
    if (what == 5) { block_barrier(); out[t] = words[127 - t]; words[t] = 0; }
    if (what == 6) { block_barrier(); out[t] = words[127 - t]; block_barrier(); words[t] = 0; }
    if (what == 7) { block_barrier(); words[0] = t; }
    if (what == 8) { block_barrier(); shared_atomic_add(words, t); }
    if (what == 9) { block_barrier(); shared_atomic_add(words, t); out[t] = words[0]; }
    if (what == 10) { block_barrier(); shared_atomic_add(words, t); block_barrier(); out[t] = words[0]; }
    if (what == 11) { block_barrier(); memory[t] = 1; }
    if (what == 12) { block_barrier(); if (t == 1) words[0] = 1; if (t == 2) out[2] = memory[3]; }
    if (what == 13) out[t] = blockIdx.x;
    if (what == 14) { global_atomic_add(out, 1); }
    if (what == 15) { if (blockIdx.x == 0) out[t] = 1; else out[t + 128] = out[127 - t]; }
    if (what == 16) { named_barrier(1, 128); out[t] = words[127 - t]; warp_barrier(); words[lane + 32 * warp] = 3; }
    if (what == 17) { block_barrier(); if (t == 1) words[0] = 5; if (t == 2) shared_atomic_add(words, 1); }
    if (what == 18) { block_barrier(); if (t == 1 || t == 2) out[t] = words[0]; if (t == 2) words[0] = 1; }
    if (what == 19) { block_barrier(); if (t == 1 || t == 40) out[t] = words[0]; if (t == 40) words[0] = 1; }
}
"""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("what", "blocks", "racing"),
    [
        (0, 1, False),
        (1, 1, True),
        (2, 1, True),
        (3, 1, False),
        (4, 1, True),
        (5, 1, True),
        (6, 1, False),
        (7, 1, True),
        (8, 1, False),
        (9, 1, True),
        (10, 1, False),
        (11, 1, False),
        (12, 1, True),
        (13, 2, True),
        (14, 3, False),
        (15, 2, True),
        (16, 1, True),
        (17, 1, True),
        (18, 1, True),
        (19, 1, True),
    ],
)
def test_races_are_found_and_only_races(what: int, blocks: int, racing: bool, order: str) -> None:
    module = HostModule(RACES, functions=["race"])
    out = np.zeros(256, dtype=np.uint32)
    if racing:
        with pytest.raises(RaceError, match=r"with no barrier between them \(.*:\d+\)"):
            module.launch("race", blocks, 128, 512, out, np.int32(what), order=order)
    else:
        module.launch("race", blocks, 128, 512, out, np.int32(what), order=order)
    module.launch("race", blocks, 128, 512, out, np.int32(what), order=order, check_races=False)
