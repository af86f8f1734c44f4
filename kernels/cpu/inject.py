"""Artifact injection on the CPU: per image transform, select, threshold, transform back, all in one compiled call."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from wavestream.kernels import layout
from wavestream.kernels.cpu.analysis import forward_image
from wavestream.kernels.cpu.compiler import INLINE_OPTIONS, entry, inner
from wavestream.kernels.cpu.filtering import Taps, analysis_taps, synthesis_taps
from wavestream.kernels.cpu.lifting import lift_image, unlift_image
from wavestream.kernels.cpu.memory import pointer_to, take_next
from wavestream.kernels.cpu.pixels import copy_pixels, image_is_valid, stage
from wavestream.kernels.cpu.plan import COLS, COUNT, HIGHEST, LEVELS, LOWEST, ROWS, WHICH, Plan, make_plan
from wavestream.kernels.cpu.pool import run_on_threads
from wavestream.kernels.cpu.progress import announced
from wavestream.kernels.cpu.select import kth_largest
from wavestream.kernels.cpu.synthesis import inverse_image
from wavestream.kernels.cpu.threshold import threshold_image
from wavestream.kernels.cpu.workspace import Workspace, scratch_of, workspace_for
from wavestream.kernels.validation import LARGEST_PIXEL, name_samples
from wavestream.kernels.wavelets import INTEGER_WAVELET, filter_bank


@inner
def _copy_outside(source, target, first, pixels, width, rows, cols):
    """Copy what lies outside the top-left ``rows`` x ``cols`` of an image's canvas of ``pixels``, ``width`` wide."""
    for start in range(0, pixels, width):
        skip = cols if start < rows * width else 0
        if skip < width:
            copy_pixels(source, target, first + start + skip, width - skip)


@entry
def _inject_float(
    dec_lo, dec_hi, rec_lo, rec_hi, none, images, out, width, rounding, in_place, plan, valid, counter, work
):  # fmt: skip
    """The images whose number ``counter`` gives out, with a float wavelet; ``valid`` is set to 0 for those that cannot
    be computed and are only copied.

    ``images`` and ``out`` are (batch, pixels), canvases ``width`` wide. ``rounding``: the pixels are integers, else
    None. ``in_place``: ``out`` is ``images``, and there is nothing to copy.
    """
    source, target, packed = pointer_to(images), pointer_to(out), pointer_to(work.packed)
    candidates, histogram = pointer_to(work.candidates), pointer_to(work.histogram)
    scratch, pixels = scratch_of(work, work.zeros), images.shape[1]
    while True:
        index = take_next(pointer_to(counter))
        if index >= len(images):
            return
        task = plan.tasks[index]
        rows, cols, levels, wanted, which = task[ROWS], task[COLS], task[LEVELS], task[COUNT], task[WHICH]
        table, weights, shapes = plan.tables[which, : 1 + 3 * levels], plan.weights[which], plan.shapes[which]
        flags, groups = plan.first_flags[which], plan.first_groups[which]
        first, done_rows, done_cols = index * pixels, 0, 0
        # NaN and infinity show in the largest coefficient, where there is one.
        right = True if wanted and rounding is None else image_is_valid(source, first, width, rows, cols)
        if wanted and right:
            plane, start, stride = stage(source, first, width, rows, cols, pointer_to(work.plane))
            forward_image(dec_lo, dec_hi, plane, start, stride, rows, cols, table, levels, packed, 0, groups, scratch)
            size = table[-1, layout.OFFSET] + table[-1, layout.ROWS] * table[-1, layout.COLS]
            threshold, right = kth_largest(
                packed, 0, table, weights, scratch.maxima, groups, size, wanted, candidates, histogram
            )
            if right:
                threshold_image(packed, 0, table, weights, threshold, scratch.maxima, groups, work.flags, flags, 1)
                inverse_image(
                    rec_lo, rec_hi, none, packed, 0, table, shapes, levels, work.flags, flags,
                    target, first, width, limits_of(rounding, task), scratch,
                )  # fmt: skip
                done_rows, done_cols = rows, cols
        valid[index] = right
        if not in_place:
            _copy_outside(source, target, first, pixels, width, done_rows, done_cols)


@entry
def _inject_integer(images, out, width, in_place, plan, valid, counter, work):
    """The same with ``cdf53``."""
    source, target, packed = pointer_to(images), pointer_to(out), pointer_to(work.packed)
    candidates, histogram = pointer_to(work.candidates), pointer_to(work.histogram)
    scratch, pixels = scratch_of(work, work.zeros), images.shape[1]
    while True:
        index = take_next(pointer_to(counter))
        if index >= len(images):
            return
        task = plan.tasks[index]
        rows, cols, levels, wanted, which = task[ROWS], task[COLS], task[LEVELS], task[COUNT], task[WHICH]
        table, weights, shapes = plan.tables[which, : 1 + 3 * levels], plan.weights[which], plan.shapes[which]
        flags, groups = plan.first_flags[which], plan.first_groups[which]
        first, done_rows, done_cols = index * pixels, 0, 0
        right = image_is_valid(source, first, width, rows, cols)
        if wanted and right:
            lift_image(source, first, width, rows, cols, table, levels, packed, 0, weights, groups, scratch)
            threshold, _ = kth_largest(
                packed, 0, table, weights, scratch.maxima, groups, rows * cols, wanted, candidates, histogram
            )
            threshold_image(packed, 0, table, weights, threshold, scratch.maxima, groups, work.flags, flags, 1)
            limits = (np.int32(task[LOWEST]), np.int32(task[HIGHEST]))
            unlift_image(packed, 0, table, shapes, levels, work.flags, flags, target, first, width, limits, scratch)
            done_rows, done_cols = rows, cols
        valid[index] = right
        if not in_place:
            _copy_outside(source, target, first, pixels, width, done_rows, done_cols)


def limits_of(rounding, task):
    """The limits of an image's pixels as ``store_pixels`` takes them."""
    raise NotImplementedError("compiled code only")


@overload(limits_of, jit_options=INLINE_OPTIONS)
def _limits_of(rounding, task):
    def none(rounding, task):
        return None

    def both(rounding, task):
        return np.int32(task[LOWEST]), np.int32(task[HIGHEST])

    return none if isinstance(rounding, types.NoneType) else both


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
        images, out: (batch, rows, cols) C-contiguous; may be one array. ``out`` has the same dtype, or float32 or
            float16 for integer images.
        keep: (batch,) in (0, 1].
        wavelet: its name.
        levels: (batch,) allowed for the sizes.
        sizes: (batch, 2) rows and columns within the canvas.
        value_range: (batch, 2) lowest and highest pixel value; None for float images.
        threads: CPU threads; None for all of this process.

    Raises:
        ValueError: NaN or infinite pixels, or pixels too large to be computed, naming the samples.
    """
    plan = make_plan(keep, wavelet, levels, sizes, value_range)
    valid = np.ones(len(images), dtype=np.uint8)
    most_rows, most_cols, deepest = int(sizes[:, 0].max()), int(sizes[:, 1].max()), int(levels.max())
    filters = filters_of(wavelet)

    # The threads take one image after the other, whoever is free.
    counter = np.zeros(1, dtype=np.int64)

    def task() -> None:
        work = workspace_for(most_rows, most_cols, wavelet, deepest)
        inject_images(filters, images, out, plan, valid, counter, work)

    with announced(f"{wavelet} {images.dtype}"):
        run_on_threads(task, len(images), most_rows * most_cols, threads)
    if not valid.all():
        raise_invalid(np.flatnonzero(valid == 0), images.dtype)


@cache
def filters_of(wavelet: str) -> tuple[Taps, ...]:
    """Analysis low and high, synthesis low and high, and one without taps, for compiled code; () for ``cdf53``."""
    if wavelet == INTEGER_WAVELET:
        return ()
    bank = filter_bank(wavelet)
    return (*analysis_taps(bank), *synthesis_taps(bank), (None,) * bank.length)


def inject_images(
    filters: tuple[Taps, ...],
    images: NDArray[Any],
    out: NDArray[Any],
    plan: Plan,
    valid: NDArray[np.uint8],
    counter: NDArray[np.int64],
    work: Workspace,
) -> None:
    """Those images of a batch whose numbers ``counter``, shared by threads, gives out.

    Args:
        filters: :func:`filters_of` the wavelet.
        images, out: (batch, rows, cols) C-contiguous; may be one array.
        plan: of the batch.
        valid: (batch,) is set to 0 for images that cannot be computed and are only copied, to 1 for the others.
        counter: (1,) the number of the next image.
        work: this thread's scratch memory.
    """
    if np.float16 in (images.dtype, out.dtype):
        _through_float32(filters, images, out, plan, valid, counter, work)
        return
    in_place = out.ctypes.data == images.ctypes.data
    arguments = (images.reshape(len(images), -1), out.reshape(len(out), -1), images.shape[2])
    if filters:
        rounding = None if images.dtype.kind == "f" else True
        _inject_float(*filters, *arguments, rounding, in_place, plan, valid, counter, work)
    else:
        _inject_integer(*arguments, in_place, plan, valid, counter, work)


def _through_float32(
    filters: tuple[Taps, ...],
    images: NDArray[Any],
    out: NDArray[Any],
    plan: Plan,
    valid: NDArray[np.uint8],
    counter: NDArray[np.int64],
    work: Workspace,
) -> None:
    """To or from float16 through float32, image by image, by NumPy: Numba's CPU code knows no float16."""
    pixels = np.empty((1, *images.shape[1:]), np.float32)
    while (index := next_number(counter)) < len(images):
        source: NDArray[Any] = pixels
        if images.dtype == np.float16:
            pixels[0] = images[index]
        else:
            source = images[index : index + 1]
        alone = np.zeros(1, dtype=np.int64)
        inject_images(filters, source, pixels, plan.only(index), valid[index : index + 1], alone, work)
        # What is only copied comes back from float32 as it was. A result beyond float16 becomes infinite, which is
        # what float images that are not clipped do.
        with np.errstate(over="ignore"):
            out[index] = pixels[0]


@entry
def _take(counter, number):
    number[0] = take_next(pointer_to(counter))


def next_number(counter: NDArray[np.int64]) -> int:
    """The next number of a counter that threads share."""
    number = np.empty(1, dtype=np.int64)
    _take(counter, number)
    return int(number[0])


def raise_invalid(samples: NDArray[np.intp], dtype: np.dtype[Any]) -> None:
    if dtype.kind == "f":
        expected, found = f"finite pixels that float32 can transform, from {dtype} images", "NaN, infinite or huge ones"
    else:
        expected, found = f"pixels within +-{LARGEST_PIXEL}, which are computed exactly", "larger ones"
    raise ValueError(
        f"images: expected {expected}, got {found} in {name_samples(samples)}; mend or leave out these images "
        "(they were copied through unchanged, the others are done)"
    )
