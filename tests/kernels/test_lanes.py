"""The vector operations of the CPU kernels against NumPy, and how far they reach into memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from wavestream.kernels.cpu.lanes import (
    LANES,
    SLIDES,
    absolute,
    add,
    any_of,
    at_least,
    both,
    chosen,
    compress,
    count_of,
    evens,
    fill,
    first_only,
    largest,
    largest_bits,
    largest_lane,
    magnitude_bits,
    multiply,
    multiply_add,
    multiply_integers,
    odds,
    only,
    round_half_even,
    shift_in,
    shift_left,
    shift_right,
    shift_right_bits,
    smallest,
    subtract,
    to_floats,
    to_integers,
    zip_high,
    zip_low,
)
from wavestream.kernels.cpu.memory import advance, load, load_first, pointer_to, store, store_first

GUARD = 7
COUNTS = [-3, 0, 1, 7, 15, 16, 17, 40]


def apply(operation: Any, *arguments: np.ndarray) -> np.ndarray:
    """The result of an operation on arrays of 16, as an array of the type of ``arguments[0]``."""
    out = np.zeros_like(arguments[0])
    if len(arguments) == 1:

        @njit
        def run(out, a):
            store(pointer_to(out), 0, operation(load(pointer_to(a), 0)))

    elif len(arguments) == 2:

        @njit
        def run(out, a, b):
            store(pointer_to(out), 0, operation(load(pointer_to(a), 0), load(pointer_to(b), 0)))

    else:

        @njit
        def run(out, a, b, c):
            store(pointer_to(out), 0, operation(load(pointer_to(a), 0), load(pointer_to(b), 0), load(pointer_to(c), 0)))

    run(out, *arguments)
    return out


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(16)


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "int16", "uint16", "uint32"])
def test_only_the_first_lanes_are_read_and_written(dtype: str, rng: np.random.Generator) -> None:
    @njit
    def copy(source, target, count):
        store_first(pointer_to(target), GUARD, load_first(advance(pointer_to(source), 3), 2, count), count)

    @njit
    def widen(source, target, count):
        store(pointer_to(target), 0, load_first(pointer_to(source), 0, count))

    source = rng.integers(0, 200, 64).astype(dtype)
    for count in COUNTS:
        target = np.full(64, 99, dtype)
        copy(source, target, count)
        expected = np.full(64, 99, dtype)
        taken = min(max(count, 0), LANES)
        expected[GUARD : GUARD + taken] = source[5 : 5 + taken]
        np.testing.assert_array_equal(target, expected)
        wide = np.full(LANES, -1, "float32" if dtype == "float32" else "int32")
        widen(source, wide, count)
        np.testing.assert_array_equal(wide, np.where(np.arange(LANES) < taken, source[:LANES], 0))


def test_signed_integers_keep_their_sign_when_widened() -> None:
    @njit
    def widen(source, target):
        store(pointer_to(target), 0, load(pointer_to(source), 0))

    wide = np.zeros(LANES, np.int32)
    widen(np.arange(-8, 8, dtype=np.int16) * 4096, wide)
    assert wide.tolist() == [value * 4096 for value in range(-8, 8)]


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_neighbours_are_split_merged_and_moved(dtype: str) -> None:
    a, b = np.arange(LANES).astype(dtype), np.arange(LANES, 2 * LANES).astype(dtype)
    both = np.concatenate([a, b])
    np.testing.assert_array_equal(apply(evens, a, b), both[::2])
    np.testing.assert_array_equal(apply(odds, a, b), both[1::2])
    merged = np.stack([a, b], axis=1).reshape(-1)
    np.testing.assert_array_equal(apply(zip_low, a, b), merged[:LANES])
    np.testing.assert_array_equal(apply(zip_high, a, b), merged[LANES:])
    np.testing.assert_array_equal(apply(shift_in, a, b), both[LANES - 1 : -1])
    if dtype == "float32":
        for name, slide in SLIDES.items():
            by = int(name.removeprefix("slide_"))
            np.testing.assert_array_equal(apply(slide, a, b), both[by : by + LANES])


def test_arithmetic_of_floats(rng: np.random.Generator) -> None:
    a, b, c = (rng.standard_normal(LANES).astype(np.float32) * 1000 for _ in range(3))
    np.testing.assert_array_equal(apply(multiply, a, b), a * b)
    # Fused or not: within a rounding of the product.
    np.testing.assert_allclose(apply(multiply_add, a, b, c), a.astype(float) * b + c, rtol=1e-6, atol=0.1)
    np.testing.assert_array_equal(apply(smallest, a, b), np.minimum(a, b))
    np.testing.assert_array_equal(apply(largest, a, b), np.maximum(a, b))
    halves = (np.arange(LANES, dtype=np.float32) - 8) / 2
    np.testing.assert_array_equal(apply(round_half_even, halves), np.rint(halves))


def test_arithmetic_of_integers(rng: np.random.Generator) -> None:
    a, b = (rng.integers(-(2**31), 2**31, LANES).astype(np.int32) for _ in range(2))
    np.testing.assert_array_equal(apply(add, a, b), a + b)
    np.testing.assert_array_equal(apply(subtract, a, b), a - b)
    np.testing.assert_array_equal(apply(smallest, a, b), np.minimum(a, b))
    np.testing.assert_array_equal(apply(largest, a, b), np.maximum(a, b))
    np.testing.assert_array_equal(apply(absolute, a), np.abs(a))
    np.testing.assert_array_equal(apply(largest_bits, a, b), np.maximum(a.view("u4"), b.view("u4")).view("i4"))

    np.testing.assert_array_equal(apply(multiply_integers, a, b), a * b)
    np.testing.assert_array_equal(apply(both, a, b), a & b)


def test_shifts(rng: np.random.Generator) -> None:
    @njit
    def shifted(a, by, left, signed, bits):
        lanes = load(pointer_to(a), 0)
        store(pointer_to(left), 0, shift_left(lanes, by))
        store(pointer_to(signed), 0, shift_right(lanes, by))
        store(pointer_to(bits), 0, shift_right_bits(lanes, by))

    a = rng.integers(-(2**31), 2**31, LANES).astype(np.int32)
    left, signed, bits = (np.zeros(LANES, np.int32) for _ in range(3))
    for by in (0, 2, 31):
        shifted(a, by, left, signed, bits)
        np.testing.assert_array_equal(left, a << by)
        np.testing.assert_array_equal(signed, a >> by)
        np.testing.assert_array_equal(bits, (a.view(np.uint32) >> by).view(np.int32))


def test_conversions(rng: np.random.Generator) -> None:
    @njit
    def convert(floats, integers, bits, back):
        lanes = load(pointer_to(floats), 0)
        store(pointer_to(integers), 0, to_integers(lanes))
        store(pointer_to(bits), 0, magnitude_bits(lanes))
        store(pointer_to(back), 0, to_floats(load(pointer_to(integers), 0)))

    floats = (rng.standard_normal(LANES) * 1e6).astype(np.float32)
    floats[:3] = -0.0, -np.inf, np.nan
    finite = np.where(np.isfinite(floats), floats, 0).astype(np.float32)
    integers, bits, back = np.zeros(LANES, np.int32), np.zeros(LANES, np.uint32), np.zeros(LANES, np.float32)
    convert(floats, integers, bits, back)
    np.testing.assert_array_equal(bits, np.abs(floats).view(np.uint32))
    convert(finite, integers, bits, back)
    np.testing.assert_array_equal(integers, finite.astype(np.int32))
    np.testing.assert_array_equal(back, integers.astype(np.float32))


@pytest.mark.parametrize("bound", [0, 1, 5, 2**31, 2**32 - 1])
def test_lanes_that_reach_a_bound_are_found_counted_and_collected(bound: int, rng: np.random.Generator) -> None:
    @njit
    def collect(values, bound, kept, together):
        lanes = load(pointer_to(values), 0)
        mask = at_least(lanes, fill(bound))
        store(pointer_to(kept), 0, only(mask, lanes))
        store(pointer_to(together), 0, compress(lanes, mask))
        return any_of(mask), count_of(mask)

    values = np.array([0, 1, 2, 5, 6, 2**31 - 1, 2**31, 2**32 - 2, 5, 4, 3, 0, 0, 7, 1, 9], np.uint32)
    rng.shuffle(values)
    kept, together = np.zeros(LANES, np.uint32), np.zeros(LANES, np.uint32)
    found, count = collect(values, np.uint32(bound), kept, together)
    reaching = values >= bound
    assert (found, count) == (reaching.any(), reaching.sum())
    np.testing.assert_array_equal(kept, np.where(reaching, values, 0))
    np.testing.assert_array_equal(together[:count], values[reaching])


def test_lanes_are_chosen_by_a_mask_and_the_largest_is_unsigned(rng: np.random.Generator) -> None:
    @njit
    def choose(a, b, bound, out):
        lanes = load(pointer_to(a), 0)
        store(pointer_to(out), 0, chosen(at_least(lanes, fill(bound)), lanes, load(pointer_to(b), 0)))
        return largest_lane(lanes)

    a, b = (rng.integers(0, 2**32, LANES).astype(np.uint32) for _ in range(2))
    out = np.zeros(LANES, np.uint32)
    assert choose(a, b, np.uint32(2**31), out) == a.max()
    np.testing.assert_array_equal(out, np.where(a >= 2**31, a, b))


def test_lanes_beyond_the_count_become_zero() -> None:
    @njit
    def cut(values, out, count):
        store(pointer_to(out), 0, first_only(load(pointer_to(values), 0), count))

    values, out = np.arange(1, LANES + 1, dtype=np.int32), np.zeros(LANES, np.int32)
    for count in COUNTS:
        cut(values, out, count)
        np.testing.assert_array_equal(out, np.where(np.arange(LANES) < count, values, 0))
