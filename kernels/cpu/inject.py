"""Artifact injection on the CPU: per image transform, select, threshold, transform back, all in one compiled call."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels import layout
from wavestream.kernels.cpu.analysis import forward_image
from wavestream.kernels.cpu.compiler import entry, inner
from wavestream.kernels.cpu.filters import Taps, analysis_taps, synthesis_taps
from wavestream.kernels.cpu.lifting import lift_image, unlift_image
from wavestream.kernels.cpu.pixels import copy_pixels, image_is_valid, stage
from wavestream.kernels.cpu.plan import COLS, COUNT, HIGHEST, LEVELS, LOWEST, ROWS, WHICH, Plan, make_plan
from wavestream.kernels.cpu.pool import run_ranges
from wavestream.kernels.cpu.select import kth_largest
from wavestream.kernels.cpu.synthesis import inverse_image
from wavestream.kernels.cpu.threshold import threshold_image, weigh_image
from wavestream.kernels.cpu.workspace import Workspace, workspace_for
from wavestream.kernels.validation import LARGEST_PIXEL, name_samples
from wavestream.kernels.wavelets import INTEGER_WAVELET, filter_bank

_INFINITY_BITS = np.uint32(0x7F800000)

logger = logging.getLogger("wavestream")


@inner
def _copy_outside(source, target, width, rows, cols):
    """Copy what lies outside the top-left ``rows`` x ``cols`` of an image's canvas, given flat."""
    for start in range(0, len(source), width):
        first = cols if start < rows * width else 0
        if first < width:
            copy_pixels(source, target, start + first, width - first)


@entry
def _inject_float(
    dec_lo, dec_hi, rec_lo, rec_hi, none, images, out, width, integer, in_place, plan, valid, begin, end, work
):  # fmt: skip
    """Images ``begin`` to ``end`` with a float wavelet; ``valid`` receives 0 for images that are only copied.

    ``images`` and ``out`` are (batch, pixels), canvases ``width`` wide. ``integer``: the pixels are. ``in_place``:
    ``out`` is ``images``, and there is nothing to copy.
    """
    packed, half, quarter, lines, starts = work.packed, work.half, work.quarter, work.lines, work.starts
    zero = np.int64(0)
    for index in range(begin, end):
        source, target, task = images[index], out[index], plan.tasks[index]
        rows, cols, levels, wanted, which = task[ROWS], task[COLS], task[LEVELS], task[COUNT], task[WHICH]
        table, first_flags = plan.tables[which, : 1 + 3 * levels], plan.first_flags[which]
        done_rows, done_cols = zero, zero
        # NaN and infinity show in the largest coefficient, where there is one.
        right = True if wanted and not integer else image_is_valid(source, zero, width, rows, cols)
        if wanted and right:
            plane, start, stride = stage(source, zero, width, rows, cols, work.plane)
            forward_image(
                dec_lo, dec_hi, plane, start, stride, rows, cols, table, levels, packed, zero,
                half, quarter, lines, starts,
            )  # fmt: skip
            size = table[-1, layout.OFFSET] + table[-1, layout.ROWS] * table[-1, layout.COLS]
            kth, largest = kth_largest(
                work.packed_bits, zero, size, wanted, work.marks, work.candidates, work.histogram
            )
            right = largest < _INFINITY_BITS
            if right:
                work.histogram[0] = kth
                threshold = work.histogram_values[0]
                threshold_image(packed, zero, table, plan.weights[which], threshold, work.flags, first_flags)
                inverse_image(
                    rec_lo, rec_hi, none, packed, zero, table, plan.shapes[which], levels, work.flags, first_flags,
                    target, zero, width, task[LOWEST], task[HIGHEST], half, quarter, lines, starts,
                )  # fmt: skip
                done_rows, done_cols = rows, cols
        valid[index] = right
        if not in_place:
            _copy_outside(source, target, width, done_rows, done_cols)


@entry
def _inject_integer(images, out, width, in_place, plan, valid, begin, end, work):
    """Images ``begin`` to ``end`` with ``cdf53``; arguments as for the float wavelets."""
    packed, half, quarter, lines = work.packed, work.half, work.quarter, work.lines
    zero = np.int64(0)
    for index in range(begin, end):
        source, target, task = images[index], out[index], plan.tasks[index]
        rows, cols, levels, wanted, which = task[ROWS], task[COLS], task[LEVELS], task[COUNT], task[WHICH]
        table, first_flags = plan.tables[which, : 1 + 3 * levels], plan.first_flags[which]
        done_rows, done_cols = zero, zero
        right = image_is_valid(source, zero, width, rows, cols)
        if wanted and right:
            lift_image(source, zero, width, rows, cols, table, levels, packed, zero, half, quarter, lines)
            weigh_image(packed, zero, table, plan.weights[which], work.magnitudes)
            kth, _ = kth_largest(
                work.magnitude_bits, zero, rows * cols, wanted, work.marks, work.candidates, work.histogram
            )
            work.histogram[0] = kth
            threshold = work.histogram_values[0]
            threshold_image(packed, zero, table, plan.weights[which], threshold, work.flags, first_flags)
            unlift_image(
                packed, zero, table, plan.shapes[which], levels, work.flags, first_flags,
                target, zero, width, task[LOWEST], task[HIGHEST], half, quarter, lines,
            )  # fmt: skip
            done_rows, done_cols = rows, cols
        valid[index] = right
        if not in_place:
            _copy_outside(source, target, width, done_rows, done_cols)


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
    flat = (images.reshape(len(images), -1), out.reshape(len(images), -1))
    filters = () if wavelet == INTEGER_WAVELET else _filters(wavelet)

    def task(begin: int, end: int) -> None:
        work = workspace_for(most_rows, most_cols, wavelet, deepest)
        if wavelet == INTEGER_WAVELET:
            _inject_integer(*flat, images.shape[2], in_place, plan, valid, begin, end, work)
        elif images.dtype == np.float16:
            for index in range(begin, end):
                _inject_float16(filters, images[index], out[index], in_place, plan.only(index), valid[index:], work)
        else:
            integer = images.dtype.kind != "f"
            _inject_float(*filters, *flat, images.shape[2], integer, in_place, plan, valid, begin, end, work)

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
    rows, cols = int(plan.tasks[0, ROWS]), int(plan.tasks[0, COLS])
    pixels = np.array(image[:rows, :cols], dtype=np.float32, order="C").reshape(1, -1)
    _inject_float(*filters, pixels, pixels, cols, False, True, plan, valid, 0, 1, work)
    if not in_place:
        out[...] = image
    if valid[0] and plan.tasks[0, COUNT]:
        # A result beyond float16 becomes infinite, which is what float images that are not clipped do.
        with np.errstate(over="ignore"):
            out[:rows, :cols] = pixels.reshape(rows, cols)


def _raise_invalid(samples: NDArray[np.intp], dtype: np.dtype[Any]) -> None:
    if dtype.kind == "f":
        expected, found = f"finite pixels that float32 can transform, from {dtype} images", "NaN, infinite or huge ones"
    else:
        expected, found = f"pixels within +-{LARGEST_PIXEL}, which are computed exactly", "larger ones"
    raise ValueError(
        f"images: expected {expected}, got {found} in {name_samples(samples)}; mend or leave out these images "
        "(they were copied through unchanged, the others are done)"
    )
