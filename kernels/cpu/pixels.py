"""Pixels in and out of the transforms: conversion to float32, rounding and clipping on the way back."""

from __future__ import annotations

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic, overload

from wavestream.kernels.cpu.compiler import LEAF_OPTIONS, inner, leaf

# Far beyond any pixel (validation.LARGEST_PIXEL) and yet exact in float32: results are brought into int32 by it.
_INT32_SAFE = np.float32(2**30)


@intrinsic
def round_half_even(typingctx, value):
    """The nearest integer of a float32, halves to even, as float32: one instruction."""
    if value != types.float32:
        raise TypingError(f"expected float32, got {value}")

    def generate(context, builder, signature, arguments):
        function = builder.module.declare_intrinsic("llvm.rint", [ir.FloatType()])
        return builder.call(function, arguments)

    return types.float32(types.float32), generate


def store_row(row, row_start, out, start, count, low, high):
    """Store samples as pixels of ``out``: floats as they are, integers clipped to ``low`` to ``high``.

    float32 samples become integers by rounding half to even.
    """
    raise NotImplementedError("compiled code only")


@overload(store_row, jit_options=LEAF_OPTIONS)
def _store_row(row, row_start, out, start, count, low, high):
    pixel = out.dtype

    def as_they_are(row, row_start, out, start, count, low, high):
        source, into = np.uint64(row_start), np.uint64(start)
        for x in range(np.uint64(count)):
            out[into + x] = row[source + x]

    def rounded(row, row_start, out, start, count, low, high):
        source, into = np.uint64(row_start), np.uint64(start)
        lowest, highest = np.int32(low), np.int32(high)
        for x in range(np.uint64(count)):
            value = round_half_even(row[source + x])
            value = value if value > -_INT32_SAFE else -_INT32_SAFE
            value = value if value < _INT32_SAFE else _INT32_SAFE
            whole = np.int32(value)
            whole = whole if whole > lowest else lowest
            whole = whole if whole < highest else highest
            out[into + x] = pixel(whole)

    def clipped(row, row_start, out, start, count, low, high):
        source, into = np.uint64(row_start), np.uint64(start)
        lowest, highest = np.int32(low), np.int32(high)
        for x in range(np.uint64(count)):
            whole = row[source + x]
            whole = whole if whole > lowest else lowest
            whole = whole if whole < highest else highest
            out[into + x] = pixel(whole)

    if isinstance(pixel, types.Float):
        return as_they_are
    return rounded if isinstance(row.dtype, types.Float) else clipped


@leaf
def _convert_row(source, start, plane, plane_start, count):
    begin, into = np.uint64(start), np.uint64(plane_start)
    for x in range(np.uint64(count)):
        plane[into + x] = np.float32(source[begin + x])


def stage(images, start, stride, rows, cols, plane):
    """Where the image at ``images[start]`` can be read as float32: (array, start, stride).

    The image itself if it is float32, else a copy in ``plane``.
    """
    raise NotImplementedError("compiled code only")


@overload(stage)
def _stage(images, start, stride, rows, cols, plane):
    def in_place(images, start, stride, rows, cols, plane):
        return images, start, stride

    def converted(images, start, stride, rows, cols, plane):
        for row in range(rows):
            _convert_row(images, start + row * stride, plane, row * cols, cols)
        return plane, 0, cols

    return in_place if images.dtype == types.float32 else converted


def row_is_valid(images, start, count):
    """Whether every pixel of a row is finite and, for int32, within +-2**24."""
    raise NotImplementedError("compiled code only")


@overload(row_is_valid, jit_options=LEAF_OPTIONS)
def _row_is_valid(images, start, count):
    def finite(images, start, count):
        begin, worst = np.uint64(start), np.uint32(0)
        bits = images.view(np.uint32)
        for x in range(np.uint64(count)):
            exponent = bits[begin + x] & np.uint32(0x7F800000)
            worst = exponent if exponent > worst else worst
        return worst != np.uint32(0x7F800000)

    def exact(images, start, count):
        begin, lowest, highest = np.uint64(start), np.int32(0), np.int32(0)
        for x in range(np.uint64(count)):
            value = images[begin + x]
            lowest = value if value < lowest else lowest
            highest = value if value > highest else highest
        return lowest >= -(2**24) and highest <= 2**24

    def always(images, start, count):
        return True

    if isinstance(images.dtype, types.Float):
        return finite
    return exact if images.dtype == types.int32 else always


@inner
def image_is_valid(images, start, stride, rows, cols):
    """Whether every pixel of the image is finite and, for int32, within +-2**24."""
    for row in range(rows):  # noqa: SIM110 (compiled code knows no generators)
        if not row_is_valid(images, start + row * stride, cols):
            return False
    return True


@leaf
def copy_pixels(source, target, start, count):
    """Copy ``count`` pixels at ``start`` from one array to another of the same dtype."""
    begin = np.uint64(start)
    for x in range(np.uint64(count)):
        target[begin + x] = source[begin + x]
