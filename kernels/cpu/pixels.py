"""Pixels in and out of the transforms: conversion to float32, rounding and clipping on the way back."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from wavestream.kernels.cpu.compiler import INLINE_OPTIONS, inner
from wavestream.kernels.cpu.lanes import (
    FLOATS,
    LANES,
    absolute,
    any_of,
    at_least,
    fill,
    largest,
    largest_bits,
    magnitude_bits,
    round_half_even,
    smallest,
    to_floats,
    to_integers,
)
from wavestream.kernels.cpu.memory import load_first, store_first

# Far beyond any pixel (validation.LARGEST_PIXEL) and yet exact in float32: results are brought into int32 by it.
_INT32_SAFE = np.float32(2**30)
_INFINITY_BITS = np.int32(0x7F800000)


def store_pixels(out, index, lanes, count, limits):
    """The first ``count`` lanes as pixels of ``out[index:]``.

    ``limits`` is None for values that are stored as they are, else (lowest, highest) pixel as int32: floats are rounded
    half to even, and integers clipped, also where ``out`` is float32.
    """
    raise NotImplementedError("compiled code only")


@overload(store_pixels, jit_options=INLINE_OPTIONS)
def _store_pixels(out, index, lanes, count, limits):
    def as_they_are(out, index, lanes, count, limits):
        store_first(out, index, lanes, count)

    def clipped(out, index, lanes, count, limits):
        store_first(out, index, smallest(largest(lanes, fill(limits[0])), fill(limits[1])), count)

    def rounded(out, index, lanes, count, limits):
        inside = smallest(largest(round_half_even(lanes), fill(-_INT32_SAFE)), fill(_INT32_SAFE))
        whole = smallest(largest(to_integers(inside), fill(limits[0])), fill(limits[1]))
        store_first(out, index, whole, count)

    def as_floats(out, index, lanes, count, limits):
        whole = smallest(largest(lanes, fill(limits[0])), fill(limits[1]))
        store_first(out, index, to_floats(whole), count)

    def rounded_floats(out, index, lanes, count, limits):
        low, high = fill(np.float32(limits[0])), fill(np.float32(limits[1]))
        store_first(out, index, smallest(largest(round_half_even(lanes), low), high), count)

    if isinstance(limits, types.NoneType):
        return as_they_are
    if out.dtype == types.float32:
        return rounded_floats if lanes == FLOATS else as_floats
    return rounded if lanes == FLOATS else clipped


@inner
def _convert_image(source, start, stride, rows, cols, plane):
    """Copy an image to ``plane`` as float32, rows ``cols`` apart."""
    for row in range(rows):
        for x in range(0, cols, LANES):
            lanes = to_floats(load_first(source, start + row * stride + x, cols - x))
            store_first(plane, row * cols + x, lanes, cols - x)


def image_is_valid(source, start, stride, rows, cols):
    """Whether every pixel of the image is finite and, for int32, within +-2**24."""
    raise NotImplementedError("compiled code only")


@overload(image_is_valid, jit_options=INLINE_OPTIONS)
def _image_is_valid(source, start, stride, rows, cols):
    exact = source.dtype == types.int32
    bound = np.uint32(2**24 + 1 if exact else _INFINITY_BITS)

    def checked(source, start, stride, rows, cols):
        most = fill(np.int32(0))
        for row in range(rows):
            for x in range(0, cols, LANES):
                lanes = load_first(source, start + row * stride + x, cols - x)
                most = largest_bits(most, _size_of(lanes))
        return not any_of(at_least(most, fill(bound)))

    def always(source, start, stride, rows, cols):
        return True

    return checked if exact or source.dtype == types.float32 else always


def _size_of(lanes):
    """Magnitudes: bits of floats, absolute values of integers, both to be compared without sign."""
    raise NotImplementedError("compiled code only")


@overload(_size_of, jit_options=INLINE_OPTIONS)
def _size_of_lanes(lanes):
    def of_floats(lanes):
        return magnitude_bits(lanes)

    def of_integers(lanes):
        return absolute(lanes)

    return of_floats if lanes == FLOATS else of_integers


@inner
def copy_pixels(source, target, start, count):
    """Copy ``count`` pixels at ``start`` from one array to another, converting to the other's dtype."""
    for index in range(start, start + count):
        target[index] = source[index]


def stage(source, start, stride, rows, cols, plane):
    """Where an image can be read as float32: (pointer, start, stride); itself if it is, else converted in ``plane``."""
    raise NotImplementedError("compiled code only")


@overload(stage, jit_options=INLINE_OPTIONS)
def _stage(source, start, stride, rows, cols, plane):
    def itself(source, start, stride, rows, cols, plane):
        return source, start, stride

    def converted(source, start, stride, rows, cols, plane):
        _convert_image(source, start, stride, rows, cols, plane)
        return plane, 0, cols

    return itself if source.dtype == types.float32 else converted
