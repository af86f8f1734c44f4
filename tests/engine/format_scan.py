"""Section 5 of docs/format.md: in which order, and with which contexts, a tile's coefficients are coded.

The same scan serves decoder and encoder: it asks its coder for flags and values, and tells it, where it knows the true
coefficients, which ones are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from format_entropy import BLOCK_FLAGS, COEFFICIENTS, LL_FLAGS, LL_SIGNS, LL_VALUES, SIGNS, TileDecoder
from format_stream import require

PARENT_STEPS = (1, 4, 12)


@dataclass
class Part:
    """A tile's part of a subband in one layer, in scan orientation. ``truth``, for encoders: all its coefficients."""

    orientation: str
    values: np.ndarray
    known: np.ndarray
    lo: int
    hi: int
    parent: np.ndarray | None = None
    truth: np.ndarray | None = None

    def set(self, y: int, x: int, value: int) -> None:
        require(max(self.lo, 0) <= abs(value) <= self.hi, f"a magnitude of {abs(value)}, not in {self.lo} to {self.hi}")
        self.values[y, x], self.known[y, x] = value, True

    def of_layer(self, y: int, x: int) -> bool:
        assert self.truth is not None
        return self.lo <= abs(int(self.truth[y, x])) <= self.hi


def at(array: np.ndarray, y: int, x: int) -> int:
    """abs(array[y, x]), 0 outside."""
    return abs(int(array[y, x])) if 0 <= y < array.shape[0] and 0 <= x < array.shape[1] else 0


def count_class(count: int) -> int:
    return 0 if count == 0 else 1 if count <= 2 else 2


def block_contexts(part: Part, block_row: int, above: list[int]) -> list[int]:
    contexts = []
    for block in range(-(-part.values.shape[1] // 8)):
        a = min(2, sum(above[max(0, block - 1) : block + 2]))
        inside = part.values[8 * block_row : 8 * block_row + 8, 8 * block : 8 * block + 8]
        b = count_class(np.count_nonzero(inside))
        c = 0
        if part.parent is not None:
            over = part.parent[4 * block_row : 4 * block_row + 4, 4 * block : 4 * block + 4]
            c = count_class(np.count_nonzero(over))
        contexts.append(BLOCK_FLAGS + 9 * a + 3 * b + c)
    return contexts


def coefficient_context(part: Part, y: int, x: int, scale: int) -> int:
    def m(dy: int, dx: int) -> int:
        return at(part.values, y + dy, x + dx)

    if part.orientation == "HH":
        around = 2 * m(-1, 0) + m(-2, 0) + 2 * (m(-1, -1) + m(-1, 1)) + 2 * (m(0, -1) + m(0, 1) + m(1, 0))
        around += m(1, -1) + m(1, 1)
    else:
        around = 4 * m(-1, 0) + 2 * m(-2, 0) + m(-1, -1) + m(-1, 1) + m(0, -1) + m(0, 1) + m(1, 0)
    g = around >> scale
    q = g if g < 2 else min(15, 2 * (g.bit_length() - 1) + (g >> (g.bit_length() - 2) & 1))
    p = 0
    if part.parent is not None:
        i, j = y >> 1, x >> 1
        cross = sum(at(part.parent, *place) for place in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)))
        parent = (4 * at(part.parent, i, j) + cross) >> (scale + 1)
        p = sum(parent >= step for step in PARENT_STEPS)
    return COEFFICIENTS + 4 * q + p


def sign_context(part: Part, y: int, x: int, scale: int) -> int:
    above = int(part.values[y - 1, x]) if y > 0 else 0
    g = abs(above) >> scale
    context = 0 if g == 0 else (1 if g < 4 else 3) + (above < 0)
    return SIGNS + context + (5 if part.orientation == "HH" else 0)


def scan_subband(coder: TileDecoder, part: Part, scale: int) -> None:
    """A part of a subband other than LL."""
    rows, cols = part.values.shape
    above = [0] * -(-cols // 8)
    for block_row in range(-(-rows // 8)):
        lines = range(8 * block_row, min(rows, 8 * block_row + 8))
        above = coder.flags(block_contexts(part, block_row, above), wanted_blocks(part, lines))
        for y in lines:
            places = [x for x in range(cols) if above[x // 8] and not part.known[y, x]]
            contexts = [coefficient_context(part, y, x, scale) for x in places]
            signs = [sign_context(part, y, x, scale) for x in places]
            found = coder.values(contexts, signs, wanted_values(part, y, places))
            for x, value in zip(places, found, strict=True):
                if value != 0 and part.lo > 0:
                    part.set(y, x, value + (part.lo - 1 if value > 0 else 1 - part.lo))
                elif value != 0 or part.lo == 0:
                    part.set(y, x, value)
    if part.lo == 0:
        part.known[...] = True


def wanted_blocks(part: Part, lines: range) -> list[int] | None:
    if part.truth is None:
        return None
    rows, cols = slice(lines.start, lines.stop), part.values.shape[1]
    sizes = np.abs(part.truth[rows])
    holds = (sizes >= max(1, part.lo)) & (sizes <= part.hi)
    return [int(holds[:, x : x + 8].any()) for x in range(0, cols, 8)]


def wanted_values(part: Part, y: int, places: list[int]) -> list[int] | None:
    if part.truth is None:
        return None
    less = max(0, part.lo - 1)
    wanted = []
    for x in places:
        value = int(part.truth[y, x]) if part.of_layer(y, x) else 0
        wanted.append(value - less if value > 0 else value + less if value < 0 else 0)
    return wanted


def prediction_of(part: Part, y: int, x: int) -> tuple[int, int]:
    """(prediction, context) of a magnitude in LL."""

    def known(*places: tuple[int, int]) -> list[int]:
        return [abs(int(part.values[v, u])) for v, u in places if is_known(part, v, u)]

    nearest = known((y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x))
    if is_known(part, y, x - 1) and is_known(part, y - 1, x) and is_known(part, y - 1, x - 1):
        west, north, northwest = known((y, x - 1), (y - 1, x), (y - 1, x - 1))
        predicted = min(max(west + north - northwest, min(west, north)), max(west, north))
    else:
        used = nearest or known((y - 1, x - 1), (y - 1, x + 1), (y + 1, x - 1), (y + 1, x + 1))
        predicted = (sum(used) + (len(used) >> 1)) // len(used) if used else part.lo
    return min(max(predicted, part.lo), part.hi), min(3, len(nearest))


def is_known(part: Part, y: int, x: int) -> bool:
    return 0 <= y < part.known.shape[0] and 0 <= x < part.known.shape[1] and bool(part.known[y, x])


def scan_lowest(coder: TileDecoder, part: Part) -> None:
    """A part of LL."""
    for y, x in np.ndindex(*part.values.shape):
        if part.known[y, x]:
            continue
        around = [
            int(part.values[v, u])
            for v in (y - 1, y, y + 1)
            for u in (x - 1, x, x + 1)
            if (v, u) != (y, x) and is_known(part, v, u)
        ]
        truth = None if part.truth is None else int(part.truth[y, x])
        if part.lo > 0:
            wanted = None if truth is None else [int(part.of_layer(y, x))]
            if coder.flags([LL_FLAGS + len(around)], wanted) == [0]:
                continue
        magnitude = scan_lowest_magnitude(coder, part, y, x)
        negative = 0
        if magnitude > 0:
            minus, plus = sum(value < 0 for value in around), sum(value > 0 for value in around)
            context = LL_SIGNS + (0 if minus == plus else 1 if minus < plus else 2)
            (negative,) = coder.flags([context], None if truth is None else [int(truth < 0)])
        part.set(y, x, -magnitude if negative else magnitude)


def scan_lowest_magnitude(coder: TileDecoder, part: Part, y: int, x: int) -> int:
    predicted, context = prediction_of(part, y, x)
    down, up = predicted - part.lo, part.hi - predicted
    both = min(down, up)
    wanted = None
    if part.truth is not None:
        e = abs(int(part.truth[y, x])) - predicted
        wanted = [1 + (abs(e) + both if abs(e) > both else 2 * e - 1 if e > 0 else -2 * e)]
    (v,) = coder.values([LL_VALUES + context], [], wanted)
    require(v > 0, "a value of 0 in LL")
    z = v - 1
    outside = z - both if up > down else both - z
    e = outside if z > 2 * both else (z + 1) // 2 if z % 2 else -(z // 2)
    require(part.lo <= predicted + e <= part.hi, f"a magnitude of {predicted + e}, not in {part.lo} to {part.hi}")
    return predicted + e


def scan_tile(coder: TileDecoder, parts: list[Part], scale: int) -> None:
    for part in parts:
        if part.values.size == 0 or part.lo > part.hi:
            continue
        if part.orientation == "LL":
            scan_lowest(coder, part)
        else:
            scan_subband(coder, part, scale)
