"""The filter loops of the float wavelets, unrolled per filter bank.

A bank travels as two tuples of float32 taps in which None stands for a tap that is zero. The tuple's *type* thus says
which taps there are, and Numba compiles each loop below once per such type, from source text written out for it: no
loop over taps, none of the zero ones, all indices unsigned (no wrap-around test), every inner loop along a row.

``starts`` arrays hold the flat index of the first sample of each row that the vertical filters combine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from wavestream.kernels.cpu.compiler import LEAF_OPTIONS, leaf
from wavestream.kernels.wavelets import FilterBank

# Samples kept free on each side of a row for its extension; a filter of 16 taps needs 4. A cache line's worth.
MARGIN = 16

Taps = tuple[np.float32 | None, ...]


def compact(taps: tuple[float, ...]) -> Taps:
    """Filter taps as float32, None where a tap is zero."""
    return tuple(np.float32(tap) if tap else None for tap in taps)


def analysis_taps(bank: FilterBank) -> tuple[Taps, Taps]:
    """The analysis filters (low, high) of a bank for the loops below."""
    return compact(bank.dec_lo), compact(bank.dec_hi)


def synthesis_taps(bank: FilterBank) -> tuple[Taps, Taps]:
    """The synthesis filters (low, high) of a bank for the loops below."""
    return compact(bank.rec_lo), compact(bank.rec_hi)


def _present(taps: Any) -> list[int]:
    """Indices of the taps of a tuple type that are not None."""
    return [index for index, tap in enumerate(taps) if not isinstance(tap, types.NoneType)]


def _unpack(name: str, taps: Any) -> list[str]:
    return [f"    {name}{index} = {name}[{index}]" for index in _present(taps)]


def _sum(terms: list[str]) -> str:
    return " + ".join(terms) if terms else "np.float32(0.0)"


def _compile(name: str, arguments: str, before: list[str], inside: list[str]) -> Any:
    """The function ``name`` that runs the statements ``inside`` for each ``x`` below ``count``."""
    loop = ["    for x in range(np.uint64(count)):", *(f"        {line}" for line in inside)]
    namespace: dict[str, Any] = {"np": np}
    exec("\n".join([f"def {name}({arguments}):", *before, *loop]), namespace)
    return namespace[name]


def analyse_columns(lo, hi, source, starts, low, low_start, high, high_start, count):
    """Filter down the columns: one output row of each band from the rows of ``source`` at ``starts``, one per tap."""
    raise NotImplementedError("compiled code only")


@overload(analyse_columns, jit_options=LEAF_OPTIONS)
def _analyse_columns(lo, hi, source, starts, low, low_start, high, high_start, count):
    used = sorted({*_present(lo), *_present(hi)})
    before = [*_unpack("lo", lo), *_unpack("hi", hi)]
    before += [f"    s{k} = np.uint64(starts[{k}])" for k in used]
    before += ["    low_from = np.uint64(low_start)", "    high_from = np.uint64(high_start)"]
    inside = [f"v{k} = source[s{k} + x]" for k in used]
    inside += [
        f"low[low_from + x] = {_sum([f'lo{k} * v{k}' for k in _present(lo)])}",
        f"high[high_from + x] = {_sum([f'hi{k} * v{k}' for k in _present(hi)])}",
    ]
    return _compile("columns", "lo, hi, source, starts, low, low_start, high, high_start, count", before, inside)


def analyse_row(lo, hi, even, odd, low, low_start, high, high_start, count):
    """Filter along one row, given its even and odd samples from ``MARGIN`` on, extended on both sides."""
    raise NotImplementedError("compiled code only")


@overload(analyse_row, jit_options=LEAF_OPTIONS)
def _analyse_row(lo, hi, even, odd, low, low_start, high, high_start, count):
    half = len(lo) // 2
    used = sorted({*_present(lo), *_present(hi)})
    before = [*_unpack("lo", lo), *_unpack("hi", hi)]
    before += ["    low_from = np.uint64(low_start)", "    high_from = np.uint64(high_start)"]
    inside = []
    for k in used:
        # Output o needs sample 2 * o + half - k, which is sample o + shift of the even or the odd ones.
        shift, parity = divmod(half - k, 2)
        inside.append(f"v{k} = {'odd' if parity else 'even'}[x + np.uint64({MARGIN + shift})]")
    inside += [
        f"low[low_from + x] = {_sum([f'lo{k} * v{k}' for k in _present(lo)])}",
        f"high[high_from + x] = {_sum([f'hi{k} * v{k}' for k in _present(hi)])}",
    ]
    return _compile("row", "lo, hi, even, odd, low, low_start, high, high_start, count", before, inside)


def _synthesis_sums(lo: Any, hi: Any, parity: int) -> str:
    """The sum for the even (0) or odd (1) taps, over values named l0, l1, ... and h0, h1, ..."""
    terms = [f"lo{k} * l{k // 2}" for k in _present(lo) if k % 2 == parity]
    return _sum(terms + [f"hi{k} * h{k // 2}" for k in _present(hi) if k % 2 == parity])


def synthesise_columns(lo, hi, low, low_starts, high, high_starts, out, first, second, count):
    """Two neighbouring rows from ``length / 2`` rows of the low and as many of the high band.

    The even taps give the row at ``out[first]``, the odd taps the one at ``out[second]``. A filter that is all None
    leaves its band out.
    """
    raise NotImplementedError("compiled code only")


@overload(synthesise_columns, jit_options=LEAF_OPTIONS)
def _synthesise_columns(lo, hi, low, low_starts, high, high_starts, out, first, second, count):
    low_rows = sorted({k // 2 for k in _present(lo)})
    high_rows = sorted({k // 2 for k in _present(hi)})
    before = [*_unpack("lo", lo), *_unpack("hi", hi)]
    before += [f"    sl{i} = np.uint64(low_starts[{i}])" for i in low_rows]
    before += [f"    sh{i} = np.uint64(high_starts[{i}])" for i in high_rows]
    before += ["    first_from = np.uint64(first)", "    second_from = np.uint64(second)"]
    inside = [f"l{i} = low[sl{i} + x]" for i in low_rows] + [f"h{i} = high[sh{i} + x]" for i in high_rows]
    inside += [
        f"out[first_from + x] = {_synthesis_sums(lo, hi, 0)}",
        f"out[second_from + x] = {_synthesis_sums(lo, hi, 1)}",
    ]
    return _compile("columns", "lo, hi, low, low_starts, high, high_starts, out, first, second, count", before, inside)


def synthesise_row(lo, hi, low, low_start, high, high_start, out, count):
    """``count`` pairs of neighbouring samples of one row, from bands that are extended on both sides.

    Pair ``x`` sums over ``i``: tap ``2 * i`` (first) or ``2 * i + 1`` (second) times ``low[low_start + x - i]``.
    """
    raise NotImplementedError("compiled code only")


@overload(synthesise_row, jit_options=LEAF_OPTIONS)
def _synthesise_row(lo, hi, low, low_start, high, high_start, out, count):
    before = [*_unpack("lo", lo), *_unpack("hi", hi)]
    before += ["    low_from = np.uint64(low_start)", "    high_from = np.uint64(high_start)"]
    inside = [f"l{i} = low[low_from + x - np.uint64({i})]" for i in sorted({k // 2 for k in _present(lo)})]
    inside += [f"h{i} = high[high_from + x - np.uint64({i})]" for i in sorted({k // 2 for k in _present(hi)})]
    inside += [
        f"out[x + x] = {_synthesis_sums(lo, hi, 0)}",
        f"out[x + x + np.uint64(1)] = {_synthesis_sums(lo, hi, 1)}",
    ]
    return _compile("row", "lo, hi, low, low_start, high, high_start, out, count", before, inside)


@leaf
def split_row(row, row_start, even, odd, origin, count):
    """De-interleave ``2 * count`` samples of ``row`` into ``even`` and ``odd`` from ``origin`` on."""
    start, into = np.uint64(row_start), np.uint64(origin)
    for x in range(np.uint64(count)):
        even[into + x] = row[start + x + x]
        odd[into + x] = row[start + x + x + np.uint64(1)]


@leaf
def wrap_row(row, origin, count, reach):
    """Extend the ``count`` samples of ``row`` at ``origin`` periodically, by ``reach`` on both sides."""
    before, first = np.uint64(origin - reach), np.uint64(origin)
    last, after = np.uint64(origin + count - reach), np.uint64(origin + count)
    for x in range(np.uint64(reach)):
        row[before + x] = row[last + x]
        row[after + x] = row[first + x]
