"""The host shim notices what a device would get wrong in silence: addresses, barriers, undefined operations."""

from __future__ import annotations

import numpy as np
import pytest
from host_shim.launcher import AddressError, BarrierError, HostModule, OperationError

ACCESSES = """
extern "C" __global__ void access(unsigned char* data, const int* table, int at, int what) {
    DYNAMIC_SHARED(memory);
    if (threadIdx.x != 5) return;
    if (what == 0) data[0] = memory[at];
    if (what == 1) memory[at] = 1;
    if (what == 2) data[at] = 1;
    if (what == 3) data[0] = data[at];
    if (what == 4) data[0] = table[at];
    if (what == 5) const_cast<int*>(table)[at] = 1;
    if (what == 6) *reinterpret_cast<unsigned int*>(memory + at) = 1;
    if (what == 7) *reinterpret_cast<uint4*>(data + at) = uint4{1, 2, 3, 4};
    if (what == 8) data[0] = static_cast<unsigned char>(reinterpret_cast<const uint4*>(memory + at)->w);
    if (what == 9) shared_atomic_add(reinterpret_cast<unsigned int*>(memory + at), 1);
    if (what == 10) shared_atomic_add(reinterpret_cast<unsigned int*>(data + at), 1);
    if (what == 11) global_atomic_add(reinterpret_cast<unsigned int*>(memory + at), 1);
}
"""


@pytest.mark.parametrize(
    ("what", "fine", "wrong", "message"),
    [
        (0, 95, 96, r"read of 1 bytes at offset 96 of 96 bytes of shared memory"),
        (1, 0, -1, r"write of 1 bytes at offset -1 of 96 bytes of shared memory"),
        (2, 63, 64, r"write of 1 bytes at offset 64 of the 64 bytes of array"),
        (3, 0, -70000, r"read of 1 bytes outside shared memory and all arrays"),
        (4, 3, 4, r"read of 4 bytes at offset 16 of the 16 bytes of array"),
        (5, None, 0, r"write to an array that is given as constant"),
        (6, 4, 94, r"not a multiple of 4|not aligned"),
        (7, 16, 20, r"not aligned"),
        (8, 80, 84, r"not aligned"),
        (9, 92, 96, r"a shared atomic on memory that is not the block's shared memory"),
        (10, None, 0, r"a shared atomic on memory"),
        (11, None, 0, r"a global atomic on shared memory"),
    ],
)
def test_an_access_outside_or_unaligned_is_an_error(what: int, fine: int | None, wrong: int, message: str) -> None:
    module = HostModule(ACCESSES, functions=["access"])
    data = np.zeros(80, dtype=np.uint8)
    data = data[-data.ctypes.data % 16 :][:64]
    arguments = (data, np.arange(4, dtype=np.int32))
    if fine is not None:
        module.launch("access", 1, 32, 96, *arguments, np.int32(fine), np.int32(what))
    with pytest.raises(AddressError, match=rf"thread \(5, 0, 0\) of block \(0, 0, 0\): .*({message})"):
        module.launch("access", 1, 32, 96, *arguments, np.int32(wrong), np.int32(what))


MEETINGS = """
extern "C" __global__ void meet(int what, unsigned int* out) {
    const unsigned int t = threadIdx.x;
    if (what == 0 && t < 40) block_barrier();
    if (what == 1) { if (t < 40) block_barrier(); else
        block_barrier(); }
    if (what == 2 && t == 40) return;
    if (what == 3 && t < 40) { warp_barrier(); return; }
    if (what == 4) { if (t % 2) out[t] = ballot(true); else
        out[t] = ballot(false); }
    if (what == 5 && t < 32) named_barrier(3, 64);
    if (what == 6) named_barrier(t < 32 ? 1 : 2, t < 32 ? 32 : 64);
    if (what == 7) named_barrier(0, 64);
    if (what == 8) named_barrier(1, 33);
    if (what == 9) out[t] = shuffle(t, 31);
    if (what == 10) cluster_barrier();
    block_barrier();
}
"""


@pytest.mark.parametrize("order", ["forward", "reverse"])
@pytest.mark.parametrize(
    ("what", "threads", "message"),
    [
        (0, 64, r"wait (for others that never come:|at the one at line)"),
        (1, 64, r"reaches the block_barrier at line \d+ while others wait at the one at line \d+"),
        (2, 64, r"63 of block \(0, 0, 0\) in block_barrier at line 17; 1 have ended"),
        (3, 64, r"never come: 8 of block \(0, 0, 0\) in warp_barrier|calls block_barrier|warp_barrier"),
        (4, 64, r"calls ballot at line \d+ while other lanes of its warp wait in ballot at line \d+"),
        (5, 64, r"32 of block \(0, 0, 0\) in named_barrier"),
        (6, 64, r"32 of block \(0, 0, 0\) in named_barrier"),
        (7, 64, r"expected id 1 to 15 and whole warps"),
        (8, 64, r"expected id 1 to 15 and whole warps"),
        (9, 40, r"reads the value of lane 31, which the last warp of the block does not have"),
    ],
)
def test_a_barrier_that_not_all_reach_is_an_error(what: int, threads: int, message: str, order: str) -> None:
    module = HostModule(MEETINGS, functions=["meet"])
    with pytest.raises(BarrierError, match=message):
        module.launch("meet", 1, threads, 0, np.int32(what), np.zeros(64, dtype=np.uint32), order=order)


def test_a_barrier_that_all_reach_is_none() -> None:
    module = HostModule(MEETINGS, functions=["meet"])
    for what in (10, 11):
        module.launch("meet", 2, 64, 0, np.int32(what), np.zeros(64, dtype=np.uint32), cluster=2)


UNDEFINED = """
extern "C" __global__ void undefined(int* out, float value, int number, int what) {
    int local[4] = {1, 2, 3, 4};
    if (what == 0) out[0] = 1 << number;
    if (what == 1) out[0] = local[number];
    if (what == 2) out[0] = static_cast<int>(value);
    if (what == 3) out[0] = 2147483647 + number;
    if (what == 4) out[0] = 7 / number;
}
"""


@pytest.mark.parametrize(
    ("what", "number", "value", "message"),
    [(0, 32, 0, "shift"), (1, 4, 0, "out_of_bounds"), (2, 0, np.nan, "cast"), (2, 0, 3e9, "cast"), (4, 0, 0, "divrem")],
)
def test_undefined_operations_are_errors(what: int, number: int, value: float, message: str) -> None:
    module = HostModule(UNDEFINED, functions=["undefined"])
    with pytest.raises(OperationError, match=message):
        module.launch("undefined", 1, 1, 0, np.zeros(1, np.int32), np.float32(value), np.int32(number), np.int32(what))


def test_local_arrays_too_large_for_a_stack() -> None:
    module = HostModule(
        """
        extern "C" __global__ void large(const int* at, int* out) {
            int local[20000];
            for (int i = 0; i < 20000; ++i) local[i] = at[threadIdx.x];
            out[threadIdx.x] = local[at[threadIdx.x]];
        }
        """,
        functions=["large"],
    )
    at = np.arange(40, dtype=np.int32)
    with pytest.raises(OperationError, match="local arrays too large for a thread's stack of 65536 bytes"):
        module.launch("large", 1, 40, 0, at, at.copy())


def test_integers_wrap() -> None:
    out = np.zeros(1, dtype=np.int32)
    HostModule(UNDEFINED, functions=["undefined"]).launch(
        "undefined", 1, 1, 0, out, np.float32(0), np.int32(1), np.int32(3)
    )
    assert out[0] == -(2**31)
