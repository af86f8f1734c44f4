"""The host shim runs CUDA C++ as a device would, and notices what a device would get wrong in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from host_shim.launcher import (
    ORDERS,
    AddressError,
    BarrierError,
    HostModule,
    RaceError,
)

REVERSE = """
extern "C" __global__ void reverse(const float* source, float* result, int n) {
    DYNAMIC_SHARED(memory);
    float* values = reinterpret_cast<float*>(memory);
    const unsigned int at = threadIdx.x + blockDim.x * threadIdx.y, start = (blockIdx.x + gridDim.x * blockIdx.y) * n;
    values[at] = source[start + at];
    if (BARRIER) block_barrier();
    result[start + at] = values[n - 1 - at];
}
"""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("grid", "block"), [(1, 1), (3, 33), ((2, 3), 1000), (2, (16, 5)), (7, 256)])
def test_threads_exchange_through_shared_memory(grid: Any, block: Any, order: str) -> None:
    module = HostModule(REVERSE, {"BARRIER": 1}, ["reverse"])
    size = int(np.prod(block))
    source = np.random.default_rng(0).standard_normal((int(np.prod(grid)), size)).astype(np.float32)
    result = np.zeros_like(source)
    module.launch("reverse", grid, block, 4 * size, source, result, np.int32(size), order=order)
    np.testing.assert_array_equal(result, source[:, ::-1])


@pytest.mark.parametrize("order", ORDERS)
def test_a_missing_barrier_is_a_race_in_every_order(order: str) -> None:
    module = HostModule(REVERSE, {"BARRIER": 0}, ["reverse"])
    source = np.arange(128, dtype=np.float32)
    with pytest.raises(RaceError, match=r"read of byte \d+ of shared memory, and write by|write .* and read by"):
        module.launch("reverse", 1, 128, 512, source, np.zeros_like(source), np.int32(128), order=order)


def test_a_missing_barrier_gives_wrong_values_in_some_order() -> None:
    """Also without the detector: garbage, or another value than in another order."""
    module = HostModule(REVERSE, {"BARRIER": 0}, ["reverse"], checked=False)
    source = np.arange(128, dtype=np.float32)
    right = []
    for order in ORDERS:
        result = np.zeros_like(source)
        module.launch("reverse", 1, 128, 512, source, result, np.int32(128), order=order)
        right.append(np.array_equal(result, source[::-1]))
    assert not any(right)


def test_shuffled_orders_differ_by_seed_and_repeat() -> None:
    module = HostModule(
        """
        extern "C" __global__ void turns(unsigned int* next, unsigned int* turn) {
            turn[threadIdx.x] = global_atomic_add(next, 1);
        }
        """,
        functions=["turns"],
    )

    def run(order: str, seed: int = 0) -> list[int]:
        turn = np.zeros(40, dtype=np.uint32)
        module.launch("turns", 1, 40, 0, np.zeros(1, dtype=np.uint32), turn, order=order, seed=seed)
        return turn.tolist()

    assert run("forward") == list(range(40))
    assert run("reverse") == list(range(39, -1, -1))
    assert sorted(run("shuffled", 1)) == list(range(40))
    assert run("shuffled", 1) == run("shuffled", 1) != run("shuffled", 2)


CLUSTER = """
extern "C" __global__ void cluster(const unsigned int* source, unsigned int* result, int what) {
    DYNAMIC_SHARED(memory);
    unsigned int* words = reinterpret_cast<unsigned int*>(memory);
    const unsigned int t = threadIdx.x, place = blockIdx.x * blockDim.x + t, size = cluster_size();
    words[t] = source[place];
    if (what == 1) block_barrier(); else cluster_barrier();
    const unsigned int next = (cluster_rank() + 1) % size;
    result[place] = cluster_load(words + blockDim.x - 1 - t, next);
    if (what == 2) return;
    if (what == 3) cluster_load(words, size);
    if (what == 4) cluster_load(words + blockDim.x, next);
    if (what == 5) cluster_store(words + t, next, 1u);
    cluster_barrier();
}
"""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("size", "threads"), [(1, 32), (2, 40), (8, 64)])
def test_blocks_of_a_cluster_read_each_others_memory(size: int, threads: int, order: str) -> None:
    module = HostModule(CLUSTER, functions=["cluster"])
    source = np.random.default_rng(1).integers(0, 2**32, (3, size, threads), dtype=np.uint32)
    result = np.zeros_like(source)
    module.launch("cluster", 3 * size, threads, 4 * threads, source, result, np.int32(0), cluster=size, order=order)
    np.testing.assert_array_equal(result, np.roll(source, -1, axis=1)[:, :, ::-1])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        (1, RaceError, "by thread .* of another block"),
        (2, BarrierError, "ends without a cluster barrier after its last access to another block's memory"),
        (3, AddressError, "block 4 of a cluster of 4 blocks"),
        (4, AddressError, "offset 128 of 128 bytes of shared memory"),
        (5, RaceError, "a race: "),
    ],
)
def test_errors_of_clusters(what: int, error: type[Exception], message: str, order: str) -> None:
    module = HostModule(CLUSTER, functions=["cluster"])
    source = np.zeros((4, 32), dtype=np.uint32)
    with pytest.raises(error, match=message):
        module.launch("cluster", 4, 32, 128, source, source.copy(), np.int32(what), cluster=4, order=order)


def test_arguments_and_launches_that_do_not_fit() -> None:
    module = HostModule(REVERSE, {"BARRIER": 1}, ["reverse"])
    source, result = np.zeros(64, dtype=np.float32), np.zeros(64, dtype=np.float32)
    with pytest.raises(TypeError, match="expected 3 arguments, got 2"):
        module.launch("reverse", 1, 64, 256, source, result)
    with pytest.raises(TypeError, match="argument 2: expected 4 bytes, got int64"):
        module.launch("reverse", 1, 64, 256, source, result, np.int64(64))
    with pytest.raises(TypeError, match="argument 0: expected a NumPy array"):
        module.launch("reverse", 1, 64, 256, np.float32(1), result, np.int32(64))
    with pytest.raises(TypeError, match="argument 1: expected a C-contiguous array"):
        module.launch("reverse", 1, 32, 256, source, result[::2], np.int32(32))
    result.flags.writeable = False
    with pytest.raises(TypeError, match="argument 1: expected a writeable array"):
        module.launch("reverse", 1, 64, 256, source, result, np.int32(64))
    for grid, block, shared, cluster in ((1, 1025, 0, 1), (0, 1, 0, 1), (3, 1, 0, 2), (1, 1, 300_000, 1)):
        with pytest.raises(ValueError, match="expected"):
            module.launch("reverse", grid, block, shared, source, source, np.int32(1), cluster=cluster)
    with pytest.raises(RuntimeError, match="the host compiler refuses the source"):
        HostModule('extern "C" __global__ void wrong() { __shared__ int value; }', functions=["wrong"])


def test_template_instances_and_several_files(tmp_path: Any) -> None:
    (tmp_path / "scale.cuh").write_text(
        "template <typename T> __device__ T scaled(T value) { return FACTOR * value; }\n"
    )
    kernel = """#include "scale.cuh"
    template <typename T, int STEP>
    __global__ void scale(T* values) { values[STEP * threadIdx.x] = scaled(values[threadIdx.x]); }
    """
    (tmp_path / "scale.cu").write_text(kernel)
    module = HostModule([tmp_path / "scale.cu"], {"FACTOR": 3}, ["scale<float, 1>", "scale<int, 1>"])
    for dtype in (np.float32, np.int32):
        values = np.arange(70, dtype=dtype)
        module.launch(f"scale<{'float' if dtype == np.float32 else 'int'}, 1>", 1, 70, 0, values)
        np.testing.assert_array_equal(values, 3 * np.arange(70))


def test_arrays_reached_through_pointers_in_memory() -> None:
    module = HostModule(
        'extern "C" __global__ void fill(float* const* images, const int* sizes) {'
        " for (int i = threadIdx.x; i < sizes[blockIdx.x]; i += blockDim.x) images[blockIdx.x][i] = 1 + blockIdx.x; }",
        functions=["fill"],
    )
    images = [np.zeros(size, dtype=np.float32) for size in (5, 77)]
    pointers = np.array([image.ctypes.data for image in images], dtype=np.uint64)
    sizes = np.array([5, 77], dtype=np.int32)
    module.launch("fill", 2, 32, 0, pointers, sizes, reachable=images)
    assert [set(image.tolist()) for image in images] == [{1.0}, {2.0}]
    with pytest.raises(AddressError):
        module.launch("fill", 2, 32, 0, pointers, sizes, reachable=images[:1])


def test_one_array_as_input_and_output() -> None:
    text = 'extern "C" __global__ void twice(const int* in, int* out) { out[threadIdx.x] = 2 * in[threadIdx.x]; }'
    module = HostModule(text, functions=["twice"])
    for before in (np.arange(64, dtype=np.int32), np.arange(64, dtype=np.int32)[::-1].copy()):
        values = before.copy()
        module.launch("twice", 1, 64, 0, values, values)
        np.testing.assert_array_equal(values, 2 * before)
    # The input may also be a part of the output, before it or behind.
    values = np.arange(128, dtype=np.int32)
    module.launch("twice", 1, 64, 0, values[64:], values)
    np.testing.assert_array_equal(values[:64], 2 * np.arange(64, 128))
    with pytest.raises(RaceError):
        module.launch("twice", 1, 64, 0, values[1:65], values)


def test_fibres_without_assembly() -> None:
    module = HostModule(CLUSTER, functions=["cluster"], portable=True)
    source = np.arange(256, dtype=np.uint32).reshape(4, 64)
    result = np.zeros_like(source)
    module.launch("cluster", 4, 64, 256, source, result, np.int32(0), cluster=2)
    np.testing.assert_array_equal(result, source[[1, 0, 3, 2], ::-1])
    with pytest.raises(BarrierError, match="ends without a cluster barrier"):
        module.launch("cluster", 4, 64, 256, source, result, np.int32(2), cluster=2)
