"""The filter loops of the float wavelets, 16 lanes at a time, written out per filter bank.

A bank travels as two tuples of float32 taps in which None stands for a tap that is zero. The tuple's *type* thus says
which taps there are, and Numba compiles each loop below once per such type, from source text written out for it: no
loop over taps, none of the zero ones. All arrays are pointers (:mod:`wavestream.kernels.cpu.memory`); ``starts`` hold
the index of the first sample of each row that a vertical filter combines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from wavestream.kernels.cpu import lanes, memory, pixels
from wavestream.kernels.cpu.compiler import INLINE_OPTIONS, inlined
from wavestream.kernels.cpu.lanes import LANES
from wavestream.kernels.cpu.maxima import GROUP
from wavestream.kernels.cpu.memory import load, store
from wavestream.kernels.wavelets import FilterBank

Taps = tuple[np.float32 | None, ...]


def _compact(taps: tuple[float, ...]) -> Taps:
    return tuple(np.float32(tap) if tap else None for tap in taps)


def analysis_taps(bank: FilterBank) -> tuple[Taps, Taps]:
    """The analysis filters (low, high) of a bank: float32, None where a tap is zero."""
    return _compact(bank.dec_lo), _compact(bank.dec_hi)


def synthesis_taps(bank: FilterBank) -> tuple[Taps, Taps]:
    """The synthesis filters (low, high) of a bank: float32, None where a tap is zero."""
    return _compact(bank.rec_lo), _compact(bank.rec_hi)


def _present(taps: Any) -> list[int]:
    """Indices of the taps of a tuple type that are not None."""
    return [index for index, tap in enumerate(taps) if not isinstance(tap, types.NoneType)]


def _filled(name: str, taps: Any) -> list[str]:
    return [f"{name}{index} = fill({name}[{index}])" for index in _present(taps)]


def _shifted(name: str, shift: int) -> str:
    """The samples ``shift`` (of up to 15) after those of the vector ``name_here``."""
    if shift == 0:
        return f"{name}_here"
    return (
        f"slide_{shift}({name}_here, {name}_after)"
        if shift > 0
        else f"slide_{LANES + shift}({name}_before, {name}_here)"
    )


def _rolling(name: str, at: str) -> tuple[list[str], list[str], list[str]]:
    """Statements before a loop over ``x``, first in it and last in it that keep three neighbouring vectors of a line.

    Reading a line at an unaligned place would wait until what was just stored there has left the processor.
    """
    before = [f"{name}_before = load(lines, {at} - {LANES})", f"{name}_here = load(lines, {at})"]
    after = [f"{name}_before = {name}_here", f"{name}_here = {name}_after"]
    return before, [f"{name}_after = load(lines, {at} + x + {LANES})"], after


def _together(*rolling: tuple[list[str], list[str], list[str]]) -> tuple[list[str], list[str], list[str]]:
    """The statements of several lines, before, first and last."""
    before, first, last = ([line for lines in parts for line in lines] for parts in zip(*rolling, strict=True))
    return before, first, last


def _sum(terms: list[tuple[str, str]]) -> str:
    """The sum of products as one expression."""
    if not terms:
        return "fill(np.float32(0.0))"
    text = "multiply({}, {})".format(*terms[0])
    for pair in terms[1:]:
        text = "multiply_add({}, {}, {})".format(*pair, text)
    return text


def _compile(arguments: str, *lines: str) -> Any:
    namespace: dict[str, Any] = {"np": np, **vars(memory), **vars(lanes), **lanes.SLIDES, **vars(pixels)}
    exec("\n".join([f"def loop({arguments}):", *(f"    {line}" for line in lines)]), namespace)
    return namespace["loop"]


def _column_sums(lo: Any, hi: Any, name: str, shift: int, sample: str = "{}") -> tuple[list[str], list[str]]:
    """Statements before a loop over ``x``, and those in it that filter 16 columns of ``source`` from ``x + shift`` on.

    The results are called ``low_`` and ``high_`` and the name.
    """
    used = sorted({*_present(lo), *_present(hi)})
    before = [*_filled("lo", lo), *_filled("hi", hi), *(f"s{k} = starts[{len(lo) - 1 - k}]" for k in used)]
    inside = [
        f"{name}{k} = " + sample.format(f"load_first(source, s{k} + x + {shift}, count - x - {shift})") for k in used
    ]
    for band, short, taps in (("low", "lo", lo), ("high", "hi", hi)):
        inside.append(f"{band}_{name} = " + _sum([(f"{short}{k}", f"{name}{k}") for k in _present(taps)]))
    return before, inside


def analyse_columns(lo, hi, source, starts, ahead, stride, lines, low_even, low_odd, high_even, high_odd, count):
    """Filter down the columns: one row of each band, split into its even and its odd samples.

    ``source[starts[len(lo) - 1 - k]:]`` is the row that tap ``k`` meets, ``count`` samples; the results go to ``lines``
    at the four indices given. The rows at ``ahead`` and ``ahead + stride`` are asked for, to be there when due, unless
    ``ahead`` is None.
    """
    raise NotImplementedError("compiled code only")


@overload(analyse_columns, jit_options=INLINE_OPTIONS)
def _analyse_columns(lo, hi, source, starts, ahead, stride, lines, low_even, low_odd, high_even, high_odd, count):
    before, first = _column_sums(lo, hi, "a", 0)
    inside = []
    if not isinstance(ahead, types.NoneType):
        inside = [
            f"prefetch(source, ahead{row} + x{part})" for row in ("", " + stride") for part in ("", f" + {LANES}")
        ]
    inside += [*first, *_column_sums(lo, hi, "b", LANES)[1]]
    for band in ("low", "high"):
        for name, place in (("evens", "even"), ("odds", "odd")):
            inside.append(f"store(lines, {band}_{place} + x // 2, {name}({band}_a, {band}_b))")
    return _compile(
        "lo, hi, source, starts, ahead, stride, lines, low_even, low_odd, high_even, high_odd, count",
        *before,
        f"for x in range(0, count, {2 * LANES}):",
        *(f"    {line}" for line in inside),
    )


def analyse_planes(lo, hi, source, starts, rows, low, high, count):
    """Filter through the slices: one row of each band, whole, to ``rows[low:]`` and ``rows[high:]``.

    Arguments as for :func:`analyse_columns`; integer samples are converted.
    """
    raise NotImplementedError("compiled code only")


@overload(analyse_planes, jit_options=INLINE_OPTIONS)
def _analyse_planes(lo, hi, source, starts, rows, low, high, count):
    before, inside = _column_sums(lo, hi, "a", 0, "{}" if source.dtype == types.float32 else "to_floats({})")
    return _compile(
        "lo, hi, source, starts, rows, low, high, count",
        *before,
        f"for x in range(0, count, {LANES}):",
        *(f"    {line}" for line in [*inside, "store(rows, low + x, low_a)", "store(rows, high + x, high_a)"]),
    )


def analyse_line(lo, hi, lines, even, odd, low, low_start, high, high_start, count, maxima, low_group, high_group):
    """Filter along one line, given its extended even and odd samples at ``lines[even:]`` and ``lines[odd:]``.

    ``count`` low samples go to ``low[low_start:]``, as many high ones to ``high[high_start:]``. ``maxima`` receives, 16
    per group of 256 samples, the largest magnitudes' bits: of every sixteenth of a group, from ``16 * low_group`` and
    ``16 * high_group`` on.
    """
    raise NotImplementedError("compiled code only")


@overload(analyse_line, jit_options=INLINE_OPTIONS)
def _analyse_line(lo, hi, lines, even, odd, low, low_start, high, high_start, count, maxima, low_group, high_group):
    half = len(lo) // 2
    before, first, last = _together(_rolling("even", "even"), _rolling("odd", "odd"))
    inside = [*first]
    for k in sorted({*_present(lo), *_present(hi)}):
        # Output o needs sample 2 * o + half - k, which is sample o + shift of the even or the odd ones.
        shift, parity = divmod(half - k, 2)
        inside.append(f"v{k} = {_shifted('odd' if parity else 'even', shift)}")
    for band, short, taps in (("low", "lo", lo), ("high", "hi", hi)):
        inside.append(f"{band}_sum = " + _sum([(f"{short}{k}", f"v{k}") for k in _present(taps)]))
        inside.append(f"store_first({band}, {band}_start + x, {band}_sum, count - x)")
        inside.append(f"{band}_bits = largest_bits({band}_bits, first_only(magnitude_bits({band}_sum), count - x))")
    return _compile(
        "lo, hi, lines, even, odd, low, low_start, high, high_start, count, maxima, low_group, high_group",
        *_filled("lo", lo),
        *_filled("hi", hi),
        *before,
        f"for group in range(0, count, {GROUP}):",
        "    low_bits = fill(np.int32(0))",
        "    high_bits = fill(np.int32(0))",
        f"    for x in range(group, min(group + {GROUP}, count), {LANES}):",
        *(f"        {line}" for line in [*inside, *last]),
        f"    store(maxima, low_group * {LANES} + group // {LANES}, low_bits)",
        f"    store(maxima, high_group * {LANES} + group // {LANES}, high_bits)",
    )


def _parity_sum(lo: Any, hi: Any, parity: int) -> str:
    """The sum of the even (0) or odd (1) taps over values named l0, l1, ... and h0, h1, ..."""
    terms = [(f"lo{k}", f"l{k // 2}") for k in _present(lo) if k % 2 == parity]
    return _sum(terms + [(f"hi{k}", f"h{k // 2}") for k in _present(hi) if k % 2 == parity])


def _halves(taps: Any) -> list[int]:
    return sorted({k // 2 for k in _present(taps)})


def synthesise_columns(lo, hi, low, low_starts, high, high_starts, lines, even, odd, count):
    """Combine rows of a low and a high band down the columns, where the even taps and where the odd taps meet them.

    ``low[low_starts[len(lo) // 2 - 1 - i]:]``, and the same of ``high``, are the rows that taps ``2 * i`` and
    ``2 * i + 1`` meet; the sums go to ``lines[even:]`` and ``lines[odd:]``. A filter that is all None leaves
    its band out.
    """
    raise NotImplementedError("compiled code only")


@overload(synthesise_columns, jit_options=INLINE_OPTIONS)
def _synthesise_columns(lo, hi, low, low_starts, high, high_starts, lines, even, odd, count):
    return _compile(
        "lo, hi, low, low_starts, high, high_starts, lines, even, odd, count",
        *_filled("lo", lo),
        *_filled("hi", hi),
        *(f"sl{i} = low_starts[{len(lo) // 2 - 1 - i}]" for i in _halves(lo)),
        *(f"sh{i} = high_starts[{len(lo) // 2 - 1 - i}]" for i in _halves(hi)),
        f"for x in range(0, count, {LANES}):",
        *(f"    l{i} = load_first(low, sl{i} + x, count - x)" for i in _halves(lo)),
        *(f"    h{i} = load_first(high, sh{i} + x, count - x)" for i in _halves(hi)),
        f"    store(lines, even + x, {_parity_sum(lo, hi, 0)})",
        f"    store(lines, odd + x, {_parity_sum(lo, hi, 1)})",
    )


def synthesise_line(lo, hi, lines, low, high, out, start, ahead, count, limits):
    """``count`` samples of one row, from extended lines of its low and high band at ``lines[low:]``, ``lines[high:]``.

    A filter ``hi`` that is all None leaves the high band out. ``limits`` are those of ``store_pixels``. The row
    at ``out[ahead:]`` is asked for.
    """
    raise NotImplementedError("compiled code only")


@overload(synthesise_line, jit_options=INLINE_OPTIONS)
def _synthesise_line(lo, hi, lines, low, high, out, start, ahead, count, limits):
    half = len(lo) // 2
    # Taps 2 * i and 2 * i + 1 meet coefficient p + centre - i at samples 2 * p - skew and the next one.
    skew, centre = 1 - half % 2, (half - 1) // 2
    steps = [_rolling("l", "low")]
    if _present(hi):
        steps.append(_rolling("h", "high"))
    before, first, last = _together(*steps)
    inside = [*first]
    # Samples 2 * x and 2 * x + 1: with a skew the odd taps of pair x, and the even ones of the next.
    for name, parity, ahead in (("a", 1, 0), ("b", 0, 1)) if skew else (("a", 0, 0), ("b", 1, 0)):
        terms = []
        for short, band, taps in (("lo", "l", lo), ("hi", "h", hi)):
            used = [k for k in _present(taps) if k % 2 == parity]
            terms += [(f"{short}{k}", _shifted(band, ahead + centre - k // 2)) for k in used]
        inside.append(f"{name} = {_sum(terms)}")
    return _compile(
        "lo, hi, lines, low, high, out, start, ahead, count, limits",
        *_filled("lo", lo),
        *_filled("hi", hi),
        *before,
        f"for x in range(0, (count + 1) // 2, {LANES}):",
        "    prefetch(out, ahead + 2 * x)",
        f"    prefetch(out, ahead + 2 * x + {LANES})",
        *(f"    {line}" for line in [*inside, *last]),
        "    store_pixels(out, start + 2 * x, zip_low(a, b), count - 2 * x, limits)",
        f"    store_pixels(out, start + 2 * x + {LANES}, zip_high(a, b), count - 2 * x - {LANES}, limits)",
    )


@inlined
def extend_line(lines, origin, count):
    """Extend the ``count`` samples at ``lines[origin:]`` periodically, by 16 or ``count``, on both sides."""
    store(lines, origin - LANES, load(lines, origin + count - LANES))
    store(lines, origin + count, load(lines, origin))
