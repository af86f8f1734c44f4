"""What the functions of the tile decoder hand to one another: its arrays, by what they belong to."""

from __future__ import annotations

from typing import Any, NamedTuple


class Group(NamedTuple):
    """Shared memory of a block.

    Attributes:
        starts: uint16, where the range of each of the 16 tokens of each context begins.
        shifts: int32, of each context.
        states: uint32, of the stream; thread ``i`` alone touches number ``i``, ``i + threads``, ...; so too of
        symbols, lows, mores: int32, of a group's symbols the token and the sign, the bits of the shift, those of the
            range.
        marks: int32, of each thread, see ``layer_ranks``.
    """

    starts: Any
    shifts: Any
    states: Any
    symbols: Any
    lows: Any
    mores: Any
    marks: Any


class Words(NamedTuple):
    """The 16-bit words of a stream: ``count`` of them from ``data[first]`` on."""

    data: Any
    first: Any
    count: Any


class Image(NamedTuple):
    """Where the coefficients of one tile of one image lie.

    Attributes:
        parts: the table of parts, ``layer_plan``.
        planes, plane: int32 coefficients of all images, and where those of this one begin.
        active, block: uint8 for each block of all images, not 0 if it holds anything; where those of this one begin.
        lines, line: int32 scratch of all tiles, and where that of this one begins.
        packed, target: int32 result of all images, and where that of this one begins.
    """

    parts: Any
    planes: Any
    plane: Any
    active: Any
    block: Any
    lines: Any
    line: Any
    packed: Any
    target: Any
