"""The largest magnitudes of each group of coefficients: what the selection and the threshold look at first.

A group is up to 256 neighbours of one row of a subband. Of each group 16 magnitudes are noted, the largest of every
sixteenth coefficient, as bits (which sort like the numbers). Those of infinity or more mean: something is not finite.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from wavestream.kernels.cpu.compiler import INLINE_OPTIONS, inner
from wavestream.kernels.cpu.lanes import (
    LANES,
    absolute,
    fill,
    largest_bits,
    magnitude_bits,
    multiply,
    to_floats,
)
from wavestream.kernels.cpu.memory import load_first, store
from wavestream.kernels.layout import COLS, OFFSET, ROWS

GROUP = LANES * LANES
INFINITY_BITS = np.uint32(0x7F800000)


def first_groups_of(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each subband's groups start, and one past the last: (..., subbands + 1) of (..., subbands, 5)."""
    groups = table[..., ROWS] * -(-table[..., COLS] // GROUP)
    return np.concatenate([np.zeros_like(groups[..., :1]), np.cumsum(groups, axis=-1)], axis=-1)


def weighted_bits(lanes, weight):
    """Bits of the weighted magnitudes: of floats as they are (their weights are 1), of integers times ``weight``."""
    raise NotImplementedError("compiled code only")


@overload(weighted_bits, jit_options=INLINE_OPTIONS)
def _weighted_bits(lanes, weight):
    def of_floats(lanes, weight):
        return magnitude_bits(lanes)

    def of_integers(lanes, weight):
        return magnitude_bits(multiply(to_floats(absolute(lanes)), fill(weight)))

    return of_floats if lanes.kind == "float32" else of_integers


@intrinsic
def bits_of(typingctx, value):
    """The bits of one float32 as uint32."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate


@intrinsic
def float_of(typingctx, bits):
    """The float32 that has these bits."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@inner
def note_maxima(packed, base, table, weights, maxima, groups):
    """Note the maxima of coefficients that come from elsewhere than a transform of ours."""
    for band in range(len(table)):
        cols, weight = table[band, COLS], weights[band]
        start, group = base + table[band, OFFSET], groups[band]
        for _ in range(table[band, ROWS]):
            for first in range(0, cols, GROUP):
                most = fill(np.int32(0))
                for x in range(first, min(first + GROUP, cols), LANES):
                    most = largest_bits(most, weighted_bits(load_first(packed, start + x, cols - x), weight))
                store(maxima, group * LANES, most)
                group += 1
            start += cols
