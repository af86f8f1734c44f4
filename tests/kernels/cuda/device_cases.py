"""One small kernel per function of ``device.cuh``, what goes in, and what must come out, by NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

THREADS = 64
FULL = 0xFFFFFFFF
LANES = np.arange(THREADS)


@dataclass(frozen=True)
class Case:
    """``result[i] = <body>`` for every thread ``i`` of one block (of ``blocks`` blocks in one cluster).

    Attributes:
        name: the function under test.
        body: of the kernel; sees ``source``, ``result``, ``i`` (the place in both) and ``t`` (the thread of the block).
        source: (n,) what the kernel reads.
        expected: (m,) what it must write.
        blocks: of the cluster; more than 1 needs compute capability 9.0.
    """

    name: str
    body: str
    source: np.ndarray
    expected: np.ndarray
    blocks: int = 1

    def text(self) -> str:
        """The kernel's source, without device.cuh."""
        cluster = f"__cluster_dims__({self.blocks}, 1, 1) " if self.blocks > 1 else ""
        return f"""
            extern "C" __global__ void {cluster}__launch_bounds__({THREADS})
            run(const {C_TYPES[self.source.dtype.name]}* source, {C_TYPES[self.expected.dtype.name]}* result) {{
                DYNAMIC_SHARED(memory);
                unsigned int* const words = reinterpret_cast<unsigned int*>(memory);
                const unsigned int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
                words[t] = t;
                block_barrier();
                {self.body}
            }}
            """


C_TYPES = {"uint8": "unsigned char", "uint16": "unsigned short", "uint32": "unsigned int", "int32": "int"}
C_TYPES["float32"] = "float"


def _uint32(values: object) -> np.ndarray:
    return np.asarray(values).astype(np.uint32)


def _per_warp(values: np.ndarray, ufunc: np.ufunc) -> np.ndarray:
    return np.repeat(ufunc.reduce(values.reshape(-1, 32), axis=1, dtype=values.dtype), 32)


def cases() -> list[Case]:
    """All of them, with random and extreme inputs."""
    rng = np.random.default_rng(5)
    words = rng.integers(0, 2**32, THREADS, dtype=np.uint32)
    words[:8] = 0, 1, 2**31, FULL, 2**31 - 1, 3, 0x7F800000, 0x80000000
    small = (words % 1000).astype(np.uint32)
    floats = (rng.standard_normal(THREADS) * 10.0 ** rng.integers(-3, 4, THREADS)).astype(np.float32)
    halves = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 3e9, -3e9, np.nan, np.inf, -np.inf, 0.49999997, 8388609], np.float32)
    rounded = np.resize(np.concatenate([halves, floats[:20]]), THREADS)
    with np.errstate(invalid="ignore"):
        nearest = np.clip(np.nan_to_num(np.rint(rounded.astype(np.float64)), nan=0.0), -(2**31), 2**31 - 1)
    # One rounding: of float64, in which a product of two float32 is exact and the sum nearly; no double rounding here.
    exact = floats.astype(np.float64) * floats + np.float64(np.float32(0.1))
    fused = exact.astype(np.float32)
    one = np.array([10, 20], dtype=np.uint32)
    bodies = [
        Case("float_as_bits", "result[i] = float_as_bits(source[i]);", floats, floats.view(np.uint32)),
        Case("bits_as_float", "result[i] = bits_as_float(source[i]);", floats.view(np.uint32), floats),
        Case("count_bits", "result[i] = count_bits(source[i]);", words, _uint32([int(w).bit_count() for w in words])),
        Case(
            "leading_zeros",
            "result[i] = leading_zeros(source[i]);",
            words,
            _uint32([32 - int(w).bit_length() for w in words]),
        ),
        Case("multiply_add", "result[i] = multiply_add(source[i], source[i], 0.1f);", floats, fused),
        Case("round_to_int", "result[i] = round_to_int(source[i]);", rounded, nearest.astype(np.int32)),
        Case("block_barrier", "words[t] = source[i]; block_barrier(); result[i] = words[63 - t];", words, words[::-1]),
        Case(
            "named_barrier",
            "words[t] = source[i]; named_barrier(1 + t / 32, 32); result[i] = words[t ^ 31];",
            words,
            words[LANES ^ 31],
        ),
        Case(
            "warp_barrier", "words[t] = source[i]; warp_barrier(); result[i] = words[t ^ 31];", words, words[LANES ^ 31]
        ),
        Case("shuffle_xor", "result[i] = shuffle_xor(source[i], 5);", floats, floats[LANES ^ 5]),
        Case(
            "shuffle_down",
            "result[i] = shuffle_down(source[i], 7);",
            words,
            words[np.where(LANES % 32 + 7 < 32, LANES + 7, LANES)],
        ),
        Case("shuffle", "result[i] = shuffle(source[i], 30 - t % 3);", words, words[LANES // 32 * 32 + 30 - LANES % 3]),
        Case(
            "shuffle of int",
            "result[i] = shuffle(source[i], 3);",
            words.view(np.int32),
            words.view(np.int32)[LANES // 32 * 32 + 3],
        ),
        Case(
            "ballot",
            "result[i] = ballot((source[i] & 1) != 0);",
            words,
            _per_warp((words & 1) << _uint32(LANES % 32), np.add),
        ),
        Case(
            "shuffle twice",
            "result[i] = shuffle(source[i], 31) - shuffle(2 * source[i], 31);",
            words,
            _uint32(-words[LANES // 32 * 32 + 31].astype(np.int64) % 2**32),
        ),
        Case("warp_reduce_add", "result[i] = warp_reduce_add(source[i]);", words, _per_warp(words, np.add)),
        Case("warp_reduce_max", "result[i] = warp_reduce_max(source[i]);", words, _per_warp(words, np.maximum)),
        Case(
            "shared_atomic_add",
            "shared_atomic_add(words + t % 2, source[i]); block_barrier(); result[i] = words[t];",
            small,
            _uint32([small[::2].sum(), 1 + small[1::2].sum(), *range(2, THREADS)]),
        ),
        Case(
            "shared_atomic_max",
            "shared_atomic_max(words + t % 2, source[i]); block_barrier(); result[i] = words[t];",
            small,
            _uint32([small[::2].max(), small[1::2].max(), *range(2, THREADS)]),
        ),
        Case("global_atomic_add", "global_atomic_add(result + t % 2, source[t % 2]);", one, one * 32),
        Case(
            "global_atomic_max",
            "global_atomic_max(result + t % 2, source[i]);",
            small,
            _uint32([small[::2].max(), small[1::2].max()]),
        ),
        Case(
            "streaming bytes",
            "store_streaming(result + i, load_streaming(source + i));",
            small.astype(np.uint8),
            small.astype(np.uint8),
        ),
        Case(
            "streaming 16 bytes",
            "if (t < 16) store_streaming(reinterpret_cast<uint4*>(result) + t,"
            " load_streaming(reinterpret_cast<const uint4*>(source) + 15 - t));",
            words,
            words.reshape(16, 4)[::-1].ravel(),
        ),
    ]
    return bodies + _half_cases() + _cluster_cases(rng)


def _half_cases() -> list[Case]:
    every = np.arange(65536, dtype=np.uint16)
    values = every.view(np.float16).astype(np.float32)
    numbers = values[np.isfinite(values)]
    # All halves, the points midway between neighbours, and their neighbours in float32: each way to round.
    with np.errstate(over="ignore"):
        midway = ((np.sort(numbers)[1:].astype(np.float64) + np.sort(numbers)[:-1]) / 2).astype(np.float32)
        around = [np.nextafter(midway, np.float32(side)) for side in (-np.inf, np.inf)]
        single = np.concatenate(
            [numbers, midway, *around, np.float32([65519, 65520, 1e9, -1e9, np.inf, -np.inf, 1e-45])]
        )
        single = np.resize(single, -(-single.size // THREADS) * THREADS)
        expected = single.astype(np.float16).view(np.uint16)
    loop = "for (int n = t; n < {size}; n += {threads}) result[n] = {call}(source[n]);"
    not_nan = every[~np.isnan(values)]
    return [
        Case(
            "half_to_float",
            loop.format(size=not_nan.size, threads=THREADS, call="half_to_float"),
            not_nan,
            values[~np.isnan(values)],
        ),
        Case("float_to_half", loop.format(size=single.size, threads=THREADS, call="float_to_half"), single, expected),
        Case(
            "float_to_half of NaN",
            "result[i] = float_to_half(source[i]);",
            np.full(THREADS, np.nan, np.float32),
            np.full(THREADS, 0x7FFF, np.uint16),
        ),
    ]


def _cluster_cases(rng: np.random.Generator) -> list[Case]:
    blocks = 4
    words = rng.integers(0, 2**32, (blocks, THREADS), dtype=np.uint32)
    floats = rng.standard_normal((blocks, THREADS)).astype(np.float32)
    before = np.roll(np.arange(blocks), 1)
    ranks = np.repeat(np.arange(blocks), THREADS)
    found = [
        Case("cluster_rank", "result[i] = cluster_rank();", words.ravel(), _uint32(ranks), blocks),
        Case(
            "cluster_size", "result[i] = cluster_size();", words.ravel(), _uint32(np.full(ranks.size, blocks)), blocks
        ),
        Case(
            "cluster_atomic_add",
            "cluster_barrier(); cluster_atomic_add(words, 2, source[i]); cluster_barrier(); result[i] = words[0];",
            words.ravel(),
            _uint32(np.where(ranks == 2, words.sum(dtype=np.uint32), 0)),
            blocks,
        ),
    ]
    kinds = [
        ("unsigned int", words),
        ("float", floats),
        ("int", words.view(np.int32)),
        ("unsigned short", words.astype(np.uint16)),
    ]
    for name, values in kinds:
        head = f"{name}* own = reinterpret_cast<{name}*>(memory);"
        load = f"""{head}
            own[t] = source[i];
            cluster_barrier();
            result[i] = cluster_load(own + 63 - t, (cluster_rank() + 3) % 4);
            cluster_barrier();
            """
        store = f"""{head}
            cluster_barrier();
            cluster_store(own + 63 - t, (cluster_rank() + 1) % 4, source[i]);
            cluster_barrier();
            result[i] = own[t];
            """
        expected = values[before, ::-1].ravel()
        found.append(Case(f"cluster_load of {name}", load, values.ravel(), expected, blocks))
        found.append(Case(f"cluster_store of {name}", store, values.ravel(), expected, blocks))
    sixteen = """
        uint4* own = reinterpret_cast<uint4*>(memory);
        const uint4* from = reinterpret_cast<const uint4*>(source) + 16 * blockIdx.x;
        uint4* to = reinterpret_cast<uint4*>(result) + 16 * blockIdx.x;
        cluster_barrier();
        if (t < 16) cluster_store(own + t, (cluster_rank() + 1) % 4, from[t]);
        cluster_barrier();
        if (t < 16) to[t] = cluster_load(own + t, (cluster_rank() + 1) % 4);
        cluster_barrier();
        """
    found.append(Case("cluster of uint4", sixteen, words.ravel(), words.ravel(), blocks))
    return found
