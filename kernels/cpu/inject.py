"""Artifact injection on the CPU: per image transform, select, threshold, transform back, all in one compiled call."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.analysis import forward_image
from wavestream.kernels.cpu.compiler import entry, inner
from wavestream.kernels.cpu.filters import Taps, analysis_taps, synthesis_taps
from wavestream.kernels.cpu.lifting import lift_image, unlift_image
from wavestream.kernels.cpu.pixels import copy_pixels, image_is_valid, stage
from wavestream.kernels.cpu.plan import Plan, make_plan
from wavestream.kernels.cpu.pool import run_ranges
from wavestream.kernels.cpu.select import kth_largest
from wavestream.kernels.cpu.synthesis import inverse_image
from wavestream.kernels.cpu.threshold import threshold_image, weigh_image
from wavestream.kernels.cpu.workspace import Workspace, workspace_for
from wavestream.kernels.layout import COLS, OFFSET, ROWS
from wavestream.kernels.validation import LARGEST_PIXEL, name_samples
from wavestream.kernels.wavelets import INTEGER_WAVELET, filter_bank

_INFINITY_BITS = np.uint32(0x7F800000)

logger = logging.getLogger("wavestream")


@inner
def _copy_image(images, out, index, rows, cols):
    """Copy what lies outside the top-left ``rows`` x ``cols`` of an image's canvas."""
    height, width = images.shape[1], images.shape[2]
    source, target = images.reshape(-1), out.reshape(-1)
    for row in range(height):
        first = cols if row < rows else 0
        if first < width:
            copy_pixels(source, target, (index * height + row) * width + first, width - first)


@entry
def _inject_float(dec_lo, dec_hi, rec_lo, rec_hi, none, images, integer, out, in_place, plan, valid, begin, end, work):
    """Images ``begin`` to ``end`` with a float wavelet; ``valid`` receives 0 for images that are only copied.

    ``in_place``: ``out`` is ``images``, and there is nothing to copy. ``integer``: the pixels are.
    """
    height, width = images.shape[1], images.shape[2]
    source, target = images.reshape(-1), out.reshape(-1)
    packed, half, quarter, lines, starts, flags = (
        work.packed,
        work.half,
        work.quarter,
        work.lines,
        work.starts,
        work.flags,
    )
    marks, candidates, histogram = work.marks, work.candidates, work.histogram
    bits, as_float = packed.view(np.uint32), histogram.view(np.float32)
    base = np.int64(0)
    for index in range(begin, end):
        rows, cols, levels = (
            np.int64(plan.sizes[index, 0]),
            np.int64(plan.sizes[index, 1]),
            np.int64(plan.levels[index]),
        )
        which, start = plan.which[index], index * height * width
        table, first_flags = plan.tables[which, : 1 + 3 * levels], plan.first_flags[which]
        # NaN and infinity show in the largest coefficient, where there is one.
        if (integer or plan.counts[index] == 0) and not image_is_valid(source, start, width, rows, cols):
            valid[index] = 0
        if plan.counts[index] == 0 or valid[index] == 0:
            if not in_place:
                _copy_image(images, out, index, 0, 0)
            continue
        plane, at, stride = stage(source, start, width, rows, cols, work.plane)
        forward_image(
            dec_lo, dec_hi, plane, at, stride, rows, cols, table, levels, packed, base, half, quarter, lines, starts
        )
        size = table[-1, OFFSET] + table[-1, ROWS] * table[-1, COLS]
        kth, largest = kth_largest(bits, base, size, plan.counts[index], marks, candidates, histogram)
        if largest >= _INFINITY_BITS:
            valid[index] = 0
            if not in_place:
                _copy_image(images, out, index, 0, 0)
            continue
        histogram[0] = kth
        threshold_image(packed, base, table, plan.weights[which], as_float[0], flags, first_flags)
        inverse_image(
            rec_lo, rec_hi, none, packed, base, table, plan.shapes[which], levels, flags, first_flags,
            target, start, width, plan.limits[index, 0], plan.limits[index, 1], half, quarter, lines, starts,
        )  # fmt: skip
        if not in_place:
            _copy_image(images, out, index, rows, cols)


@entry
def _inject_integer(images, out, in_place, plan, valid, begin, end, work):
    """Images ``begin`` to ``end`` with ``cdf53``; ``valid`` receives 0 for images that are not computed but copied.

    ``in_place``: ``out`` is ``images``, and there is nothing to copy.
    """
    height, width = images.shape[1], images.shape[2]
    source, target = images.reshape(-1), out.reshape(-1)
    packed, half, quarter, lines, flags, magnitudes = (
        work.packed, work.half, work.quarter, work.lines, work.flags, work.magnitudes,
    )  # fmt: skip
    marks, candidates, histogram = work.marks, work.candidates, work.histogram
    bits, as_float = magnitudes.view(np.uint32), histogram.view(np.float32)
    base = np.int64(0)
    for index in range(begin, end):
        rows, cols, levels = (
            np.int64(plan.sizes[index, 0]),
            np.int64(plan.sizes[index, 1]),
            np.int64(plan.levels[index]),
        )
        which, start = plan.which[index], index * height * width
        table, first_flags = plan.tables[which, : 1 + 3 * levels], plan.first_flags[which]
        if not image_is_valid(source, start, width, rows, cols):
            valid[index] = 0
        if plan.counts[index] == 0 or valid[index] == 0:
            if not in_place:
                _copy_image(images, out, index, 0, 0)
            continue
        lift_image(source, start, width, rows, cols, table, levels, packed, base, half, quarter, lines)
        weigh_image(packed, base, table, plan.weights[which], magnitudes)
        kth, _ = kth_largest(bits, base, rows * cols, plan.counts[index], marks, candidates, histogram)
        histogram[0] = kth
        threshold_image(packed, base, table, plan.weights[which], as_float[0], flags, first_flags)
        unlift_image(
            packed, base, table, plan.shapes[which], levels, flags, first_flags,
            target, start, width, plan.limits[index, 0], plan.limits[index, 1], half, quarter, lines,
        )  # fmt: skip
        if not in_place:
            _copy_image(images, out, index, rows, cols)


@cache
def _announce(wavelet: str, dtype: str) -> None:
    """Say once per kind of image that compiled code is being loaded, or compiled if it never was."""
    logger.info(
        "loading the %s kernels for %s images; compiling them takes some seconds the first time", wavelet, dtype
    )


def inject_cpu(
    images: NDArray[Any],
    keep: NDArray[np.float64],
    wavelet: str,
    levels: NDArray[np.int32],
    sizes: NDArray[np.int32],
    value_range: NDArray[np.int32] | None,
    out: NDArray[Any],
    threads: int | None = None,
) -> None:
    """:func:`wavestream.kernels.artifacts.inject` on checked arguments.

    Args:
        images, out: (batch, rows, cols) C-contiguous, same dtype; may be one array.
        keep: (batch,) in (0, 1].
        wavelet: its name.
        levels: (batch,) allowed for the sizes.
        sizes: (batch, 2) rows and columns within the canvas.
        value_range: (batch, 2) lowest and highest pixel value; None for float images.
        threads: CPU threads; None for all of this process.

    Raises:
        ValueError: NaN or infinite pixels, or pixels too large to be computed, naming the samples.
    """
    _announce(wavelet, images.dtype.name)
    plan = make_plan(keep, wavelet, levels, sizes, value_range)
    valid = np.ones(len(images), dtype=np.uint8)
    most_rows, most_cols, deepest = int(sizes[:, 0].max()), int(sizes[:, 1].max()), int(levels.max())
    in_place = out.ctypes.data == images.ctypes.data
    filters = () if wavelet == INTEGER_WAVELET else _filters(wavelet)

    def task(begin: int, end: int) -> None:
        work = workspace_for(most_rows, most_cols, wavelet, deepest)
        if wavelet == INTEGER_WAVELET:
            _inject_integer(images, out, in_place, plan, valid, begin, end, work)
        elif images.dtype == np.float16:
            for index in range(begin, end):
                _inject_float16(filters, images[index], out[index], in_place, plan.only(index), valid[index:], work)
        else:
            _inject_float(*filters, images, images.dtype.kind != "f", out, in_place, plan, valid, begin, end, work)

    run_ranges(task, len(images), most_rows * most_cols, threads)
    if not valid.all():
        _raise_invalid(np.flatnonzero(valid == 0), images.dtype)


def _filters(wavelet: str) -> tuple[Taps, Taps, Taps, Taps, Taps]:
    """Analysis low and high, synthesis low and high, and a filter without taps, as the compiled code takes them."""
    bank = filter_bank(wavelet)
    return (*analysis_taps(bank), *synthesis_taps(bank), (None,) * bank.length)


def _inject_float16(
    filters: tuple[Taps, ...],
    image: NDArray[np.float16],
    out: NDArray[np.float16],
    in_place: bool,
    plan: Plan,
    valid: NDArray[np.uint8],
    work: Workspace,
) -> None:
    """One float16 image through float32, converted by NumPy: Numba's CPU code knows no float16."""
    rows, cols = plan.sizes[0]
    pixels = np.array(image[:rows, :cols], dtype=np.float32, order="C")[np.newaxis]
    _inject_float(*filters, pixels, False, pixels, True, plan, valid, 0, 1, work)
    if not in_place:
        out[...] = image
    if valid[0] and plan.counts[0]:
        # A result beyond float16 becomes infinite, which is what float images that are not clipped do.
        with np.errstate(over="ignore"):
            out[:rows, :cols] = pixels[0]


def _raise_invalid(samples: NDArray[np.intp], dtype: np.dtype[Any]) -> None:
    if dtype.kind == "f":
        expected, found = f"finite pixels that float32 can transform, from {dtype} images", "NaN, infinite or huge ones"
    else:
        expected, found = f"pixels within +-{LARGEST_PIXEL}, which are computed exactly", "larger ones"
    raise ValueError(
        f"images: expected {expected}, got {found} in {name_samples(samples)}; mend or leave out these images "
        "(they were copied through unchanged, the others are done)"
    )
