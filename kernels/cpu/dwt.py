"""The wavelet transform and its inverse for a batch, on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.analysis import forward_image
from wavestream.kernels.cpu.compiler import entry
from wavestream.kernels.cpu.filtering import analysis_taps, synthesis_taps
from wavestream.kernels.cpu.lifting import lift_image, unlift_image
from wavestream.kernels.cpu.maxima import first_groups_of
from wavestream.kernels.cpu.memory import pointer_to
from wavestream.kernels.cpu.pixels import stage
from wavestream.kernels.cpu.pool import run_ranges
from wavestream.kernels.cpu.synthesis import inverse_image
from wavestream.kernels.cpu.threshold import first_flags_of
from wavestream.kernels.cpu.workspace import scratch_of, workspace_for
from wavestream.kernels.layout import layout_of
from wavestream.kernels.wavelets import INTEGER_WAVELET, filter_bank


@entry
def _forward_float(lo, hi, images, coefficients, table, levels, groups, begin, end, work):
    rows, cols, size = images.shape[1], images.shape[2], coefficients.shape[1]
    source, packed, staged = pointer_to(images), pointer_to(coefficients), pointer_to(work.plane)
    scratch = scratch_of(work, 0)
    for index in range(begin, end):
        plane, start, stride = stage(source, index * rows * cols, cols, rows, cols, staged)
        forward_image(lo, hi, plane, start, stride, rows, cols, table, levels, packed, index * size, groups, scratch)


@entry
def _forward_integer(images, coefficients, table, levels, weights, groups, begin, end, work):
    rows, cols, size = images.shape[1], images.shape[2], coefficients.shape[1]
    source, packed, scratch = pointer_to(images), pointer_to(coefficients), scratch_of(work, 0)
    for index in range(begin, end):
        lift_image(
            source, index * rows * cols, cols, rows, cols, table, levels, packed, index * size, weights, groups, scratch
        )


@entry
def _inverse_float(lo, hi, none, coefficients, images, table, shapes, levels, flags, first_flags, begin, end, work):
    rows, cols, size = images.shape[1], images.shape[2], coefficients.shape[1]
    # Every row is flagged: none is taken for one of zeros.
    target, packed, scratch = pointer_to(images), pointer_to(coefficients), scratch_of(work, 0)
    for index in range(begin, end):
        inverse_image(
            lo, hi, none, packed, index * size, table, shapes, levels, flags, first_flags,
            target, index * rows * cols, cols, None, scratch,
        )  # fmt: skip


@entry
def _inverse_integer(coefficients, images, table, shapes, levels, flags, first_flags, begin, end, work):
    rows, cols, size = images.shape[1], images.shape[2], coefficients.shape[1]
    target, packed, scratch = pointer_to(images), pointer_to(coefficients), scratch_of(work, 0)
    for index in range(begin, end):
        unlift_image(
            packed, index * size, table, shapes, levels, flags, first_flags,
            target, index * rows * cols, cols, None, scratch,
        )  # fmt: skip


def forward_cpu(
    images: NDArray[Any], coefficients: NDArray[Any], wavelet: str, levels: int, threads: int | None = None
) -> None:
    """:func:`wavestream.kernels.dwt.forward` on checked arguments.

    Args:
        images: (batch, rows, cols) C-contiguous.
        coefficients: (batch, size) receives the packed coefficients, float32, int32 for ``cdf53``.
        wavelet, levels: allowed for the size.
        threads: CPU threads; None for all of this process.
    """
    layout = layout_of(images.shape[1], images.shape[2], wavelet, levels)
    table = layout.table
    groups = first_groups_of(table)

    def task(begin: int, end: int) -> None:
        work = workspace_for(layout.rows, layout.cols, wavelet, levels)
        if wavelet == INTEGER_WAVELET:
            _forward_integer(images, coefficients, table, levels, layout.weights, groups, begin, end, work)
        elif images.dtype == np.float16:
            _forward_float(*taps, images[begin:end].astype(np.float32), coefficients[begin:end], table, levels, groups,
                           0, end - begin, work)  # fmt: skip
        else:
            _forward_float(*taps, images, coefficients, table, levels, groups, begin, end, work)

    taps = () if wavelet == INTEGER_WAVELET else analysis_taps(filter_bank(wavelet))
    run_ranges(task, len(images), layout.size, threads)


def inverse_cpu(
    coefficients: NDArray[Any], images: NDArray[Any], wavelet: str, levels: int, threads: int | None = None
) -> None:
    """:func:`wavestream.kernels.dwt.inverse` on checked arguments.

    Args:
        coefficients: (batch, size) packed, float32, int32 for ``cdf53``.
        images: (batch, rows, cols) of the same dtype, C-contiguous, receives the result.
        wavelet, levels: allowed for the size.
        threads: CPU threads; None for all of this process.
    """
    layout = layout_of(images.shape[1], images.shape[2], wavelet, levels)
    table, shapes = layout.table, layout.low_shapes
    first_flags = first_flags_of(table)
    # No row is known to be zero.
    flags = np.ones(first_flags[-1], dtype=np.uint8)

    def task(begin: int, end: int) -> None:
        work = workspace_for(layout.rows, layout.cols, wavelet, levels)
        rest = (table, shapes, levels, flags, first_flags)
        if wavelet == INTEGER_WAVELET:
            _inverse_integer(coefficients, images, *rest, begin, end, work)
        else:
            bank = filter_bank(wavelet)
            _inverse_float(*synthesis_taps(bank), (None,) * bank.length, coefficients, images, *rest, begin, end, work)

    run_ranges(task, len(images), layout.size, threads)
