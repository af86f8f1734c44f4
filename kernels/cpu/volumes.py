"""Artifact injection of volumes on the CPU: large ones one after the other by all threads, small ones side by side.

Between two passes over a volume the threads meet: stage the voxels, transform level by level, select, threshold, and
transform back. What is held is two buffers of a volume's size, the low-passes (a seventh), the maxima (a third of a
volume of 128 columns, a sixth of one of 256) and some rows per thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.compiler import entry
from wavestream.kernels.cpu.filtering import analysis_taps, synthesis_taps
from wavestream.kernels.cpu.memory import pointer_to
from wavestream.kernels.cpu.pixels import image_is_valid
from wavestream.kernels.cpu.pool import available_threads, run_ranges
from wavestream.kernels.cpu.progress import announced
from wavestream.kernels.cpu.threshold import threshold_image
from wavestream.kernels.cpu.volume_analysis import analyse_volume
from wavestream.kernels.cpu.volume_lifting import lift_volume, unlift_depth, unlift_slices
from wavestream.kernels.cpu.volume_plan import PIECE, VolumePlan, row_ranges, volume_plan
from wavestream.kernels.cpu.volume_select import kth_of_volume
from wavestream.kernels.cpu.volume_synthesis import synthesise_volume
from wavestream.kernels.cpu.volume_workspace import Buffers, Rows, buffers_for, rows_for
from wavestream.kernels.validation import LARGEST_PIXEL, name_samples
from wavestream.kernels.volume_layout import VolumeLayout, kept_count_of_volume, volume_layout_of
from wavestream.kernels.wavelets import INTEGER_WAVELET, filter_bank

# Voxels of a range of a pass that only copies, converts or checks.
_STRETCH = 1 << 16
# Threads that share a volume meet after every pass, which costs about a tenth of a millisecond: small volumes are
# left to one thread each. Of large ones only one is in work at a time, for the memory that it takes.
_SHARED_FROM, _ONE_BY_ONE_FROM = 1 << 21, 1 << 23

# Lowest and highest voxel; None: values are stored as they are.
Limits = tuple[np.int32, np.int32] | None


@entry
def _check_stretch(voxels, begin, end, valid):
    valid[0] = image_is_valid(pointer_to(voxels), begin, end - begin, 1, end - begin)


@entry
def _threshold_pieces(packed, pieces, weights, threshold, maxima, groups, flags, first_flags, lows, begin, end):
    threshold_image(
        pointer_to(packed), 0, pieces[begin:end], weights[begin:end], threshold, pointer_to(maxima), groups[begin:end],
        flags, first_flags[begin:end], lows - begin,
    )  # fmt: skip


@dataclass(frozen=True)
class _Transform:
    """The passes over one size of volume; all of them wait for their threads.

    Attributes:
        layout, plan, buffers: of the volume.
        threads: of the pool.
    """

    layout: VolumeLayout
    plan: VolumePlan
    buffers: Buffers
    threads: int

    @property
    def integer(self) -> bool:
        """Whether it is the integer wavelet."""
        return self.layout.wavelet == INTEGER_WAVELET

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of coefficients."""
        return np.dtype(np.int32 if self.integer else np.float32)

    def rows(self) -> Rows:
        """The calling thread's rows."""
        return rows_for(self.layout.shape[2], self.integer)

    def low(self, level: int) -> NDArray[Any]:
        """Where the low-pass volume of a level lies; that of the coarsest is packed."""
        if level == self.layout.levels:
            return self.buffers.packed.view(self.dtype)
        return (self.buffers.half if level % 2 else self.buffers.quarter).view(self.dtype)

    def run(self, function: Any, arguments: tuple[Any, ...], level: int, slices: int) -> None:
        """Run a compiled pass over the rows of ``slices`` slices of a level."""
        rows = int(self.plan.shapes[level, 1])
        ranges = row_ranges(slices, rows, self.threads)
        units = slices * ranges
        cost = int(self.plan.shapes[level - 1].prod()) // units

        def task(begin: int, end: int) -> None:
            function(*arguments, ranges, begin, end, self.rows())

        run_ranges(task, units, cost, self.threads)

    def forward(self, voxels: NDArray[Any]) -> None:
        """Flat voxels of any dtype that is not float16 to packed coefficients."""
        packed, plan, source = self.buffers.packed.view(self.dtype), self.plan, voxels
        for level in range(1, self.layout.levels + 1):
            low, bands, last = self.low(level), plan.bands[level - 1], level == self.layout.levels
            arguments = (source, plan.shapes[level - 1], low, packed, bands)
            slices, maxima = int(plan.shapes[level, 0]), self.buffers.maxima
            if self.integer:
                weights = plan.band_weights[level - 1]
                self.run(lift_volume, (*arguments, weights, last, maxima), level, slices)
            else:
                taps = analysis_taps(filter_bank(self.layout.wavelet))
                self.run(analyse_volume, (*taps, *arguments, last, maxima), level, slices)
            source = low

    def threshold(self, threshold: np.float32) -> None:
        """Set coefficients below the threshold to 0, or flag their row as one of zeros, which is not touched then."""
        packed, plan = self.buffers.packed.view(self.dtype), self.plan

        def task(begin: int, end: int) -> None:
            _threshold_pieces(
                packed, plan.pieces, plan.weights, threshold, self.buffers.maxima, plan.first_groups,
                self.buffers.flags, plan.first_flags, plan.low_pieces, begin, end,
            )  # fmt: skip

        run_ranges(task, len(plan.pieces), PIECE, self.threads)

    def inverse(self, out: NDArray[Any], limits: Limits) -> None:
        """Packed coefficients to flat voxels of any dtype that is not float16, limited as ``store_pixels`` does."""
        for level in range(self.layout.levels, 0, -1):
            target = out if level == 1 else self.low(level - 1)
            clip = limits if level == 1 else None
            (self._unlift if self.integer else self._synthesise)(level, target, clip)

    def _synthesise(self, level: int, out: NDArray[Any], limits: Limits) -> None:
        bank, plan = filter_bank(self.layout.wavelet), self.plan
        arguments = (
            *synthesis_taps(bank), (None,) * bank.length, self.low(level), self.buffers.packed.view(self.dtype),
            plan.zeros, plan.bands[level - 1], self.buffers.flags, out, plan.shapes[level - 1], limits,
        )  # fmt: skip
        self.run(synthesise_volume, arguments, level, int(plan.shapes[level, 0]))

    def _unlift(self, level: int, out: NDArray[Any], limits: Limits) -> None:
        plan, buffers, shape = self.plan, self.buffers, self.plan.shapes[level - 1]
        bands = plan.bands[level - 1]
        arguments = (self.low(level), buffers.packed, plan.zeros, bands, buffers.flags, shape, buffers.spare)
        self.run(unlift_slices, arguments, level, int(shape[0]))
        self.run(unlift_depth, (buffers.spare, shape, out, limits), level, int(plan.shapes[level, 0]))


def inject_volumes_cpu(
    volumes: NDArray[Any],
    keep: NDArray[np.float64],
    wavelet: str,
    levels: int,
    value_range: NDArray[np.int32] | None,
    out: NDArray[Any],
    threads: int | None = None,
) -> None:
    """:func:`wavestream.kernels.volumes.inject_volumes` on checked arguments.

    Args:
        volumes, out: (batch, slices, rows, cols) C-contiguous; may be one array. ``out`` has the same dtype, or float32
            or float16 for integer volumes.
        keep: (batch,) in (0, 1].
        wavelet, levels: allowed for the size.
        value_range: (batch, 2) lowest and highest voxel value; None for float volumes.
        threads: CPU threads; None for all of this process.

    Raises:
        ValueError: NaN or infinite voxels, or voxels too large to be computed, naming the volumes.
    """
    slices, rows, cols = volumes.shape[1:]
    layout = volume_layout_of(slices, rows, cols, wavelet, levels)
    plan = volume_plan(layout)
    voxels = slices * rows * cols
    many = available_threads() if threads is None else threads
    each = _threads_per_volume(len(volumes), voxels, many)
    invalid: list[int] = []

    def task(begin: int, end: int) -> None:
        transform = _Transform(layout, plan, buffers_for(layout, plan), each)
        for index in range(begin, end):
            wanted = 0 if keep[index] == 1 else kept_count_of_volume(keep[index], slices, rows, cols)
            limits = None if value_range is None else (value_range[index, 0], value_range[index, 1])
            source, target = volumes[index].reshape(-1), out[index].reshape(-1)
            if not _inject_one(transform, source, target, wanted, limits):
                invalid.append(index)

    with announced(f"{wavelet} {volumes.dtype} volume"):
        run_ranges(task, len(volumes), voxels, many // each)
    if invalid:
        _raise_invalid(sorted(invalid), volumes.dtype)


def _threads_per_volume(batch: int, voxels: int, threads: int) -> int:
    """How many threads work on one volume; the others do other volumes meanwhile."""
    if voxels < _SHARED_FROM or (batch >= threads and voxels < _ONE_BY_ONE_FROM):
        return 1
    return threads


def _inject_one(transform: _Transform, source: NDArray[Any], target: NDArray[Any], wanted: int, limits: Limits) -> bool:
    """One flat volume, of which ``wanted`` coefficients stay (0: all, it is copied); False if it is only copied because
    it cannot be computed."""
    staged = source
    if source.dtype == np.float16:
        staged = transform.buffers.spare.view(np.float32)[: len(source)]
        _copy(source, staged, transform.threads)
    # NaN and infinity show in the largest coefficient, where there is one.
    right = bool(wanted and staged.dtype.kind == "f") or _all_valid(staged, transform.threads)
    if wanted and right:
        transform.forward(staged)
        threshold, right = kth_of_volume(
            transform.buffers, transform.plan, transform.layout.size, wanted, transform.integer, transform.threads
        )
    if not wanted or not right:
        _copy(source, target, transform.threads)
        return right
    transform.threshold(threshold)
    result = _room_for_result(transform, target)
    transform.inverse(result, limits)
    if result is not target:
        _copy(result, target, transform.threads)
    return True


def _room_for_result(transform: _Transform, target: NDArray[Any]) -> NDArray[Any]:
    """``target``, or if it is float16 a buffer that the inverse does not need any more."""
    if target.dtype != np.float16:
        return target
    # At the last step of its inverse cdf53 reads the spare buffer, the others read the coefficients.
    free = transform.buffers.packed if transform.integer else transform.buffers.spare
    return free.view(np.float32)[: len(target)]


def _copy(source: NDArray[Any], target: NDArray[Any], threads: int) -> None:
    """Copy flat voxels, converted to the target's dtype, with all threads."""
    if source.ctypes.data == target.ctypes.data and source.dtype == target.dtype:
        return

    def task(begin: int, end: int) -> None:
        stretch = slice(begin * _STRETCH, end * _STRETCH)
        # A result beyond float16 becomes infinite, which is what float volumes that are not clipped do.
        with np.errstate(over="ignore"):
            np.copyto(target[stretch], source[stretch], casting="unsafe")

    run_ranges(task, -(-len(source) // _STRETCH), _STRETCH, threads)


def _all_valid(voxels: NDArray[Any], threads: int) -> bool:
    found: list[bool] = []

    def task(begin: int, end: int) -> None:
        valid = np.zeros(1, dtype=np.uint8)
        _check_stretch(voxels, begin * _STRETCH, min(end * _STRETCH, len(voxels)), valid)
        found.append(bool(valid[0]))

    run_ranges(task, -(-len(voxels) // _STRETCH), _STRETCH, threads)
    return all(found)


def _raise_invalid(volumes: list[int], dtype: np.dtype[Any]) -> None:
    if dtype.kind == "f":
        expected, found = (
            f"finite voxels that float32 can transform, from {dtype} volumes",
            "NaN, infinite or huge ones",
        )
    else:
        expected, found = f"voxels within +-{LARGEST_PIXEL}, which are computed exactly", "larger ones"
    named = name_samples(volumes).replace("sample", "volume")
    raise ValueError(
        f"volumes: expected {expected}, got {found} in {named}; mend or leave out these volumes "
        "(they were copied through unchanged, the others are done)"
    )
