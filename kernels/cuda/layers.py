"""Decoding a batch of layered images on the device, queued in one go; ``docs/format.md`` is the format.

With L levels there are L + 4 launches: buffers cleared, tables read, tiles decoded, the inverse transform, pixels; 8
more where of some image only a part of the coefficients decoded is kept. Tables and bytes go to the device in one
copy. For images of n pixels it holds about 4.4n bytes of planes, 4n of coefficients, 1.3n of low-passes and 4n of
values, and each image's bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cuda.device import Queue, queue_of, view_of
from wavestream.kernels.cuda.geometry import Geometry, capacity_of, mixed_geometry
from wavestream.kernels.cuda.launch import is_simulated, linear_launch, pixel_launch, shapes, tile_launch
from wavestream.kernels.cuda.layer_decoder import decoder_kernel
from wavestream.kernels.cuda.layer_launch import layer_shapes
from wavestream.kernels.cuda.layer_pixels import clear_kernel, clipped_kernel
from wavestream.kernels.cuda.layer_plan import LayeredImage, PlanesRoom, StreamsPlan, rounded_up, streams_plan
from wavestream.kernels.cuda.layer_tables import SEGMENT_STEP, WHOLE, tables_kernel
from wavestream.kernels.cuda.select import launch_selection
from wavestream.kernels.cuda.synthesis import synthesis_kernel
from wavestream.kernels.cuda.threshold import threshold_kernel
from wavestream.kernels.cuda.workspace import Workspace, workspace_of
from wavestream.kernels.layers import CONTEXTS, MOST_LEVELS, TOKENS
from wavestream.kernels.wavelets import INTEGER_WAVELET, max_levels


def decode_layers_cuda(images: Sequence[LayeredImage], reduction: int, out: Any) -> NDArray[np.int64]:
    """Decode images and write them, clipped, into the top-left corners of ``out``, in its stream; 0 elsewhere.

    Waits for the device: what is wrong with a stream is known only there.

    Args:
        images: the streams' segments, at least those that the reduction needs.
        reduction: they are wanted at ``2**-reduction`` of their sizes, at most the reductions of each.
        out: (batch, rows, cols) C-contiguous CUDA array of any integer dtype, at least as large as the reduced images.

    Returns:
        (batch, 2) the number of what is wrong with each image, from 1
        (:data:`wavestream.kernels.cpu.layer_decoder.DAMAGES`), and the index of the segment in which it is; 0 and 0
        for those that are whole. The pixels of the others are of no use.

    Raises:
        RuntimeError: no CUDA device.
    """
    batch, rows, cols = (int(side) for side in out.shape)
    with queue_of(out) as queue:
        if batch == 0:
            return np.zeros((0, 2), np.int64)
        rows, cols = rows << reduction, cols << reduction
        canvas = capacity_of(batch, rows, cols, INTEGER_WAVELET, _most_levels(rows, cols))
        streams = streams_plan(images, canvas.packed)
        room = PlanesRoom(**vars(canvas), **_rounded(streams))
        geometry = _geometry(images, room)
        with workspace_of(room, queue) as workspace, workspace_of(streams.capacity, queue) as staged:
            staged.upload(streams, queue)
            workspace.upload(geometry, queue)
            status = workspace.buffer("status", batch, np.int32)
            coefficients = workspace.coefficients(np.int32)
            _launch_decoder(streams, coefficients, status, workspace, staged, queue)
            if any(image.count for image in images):
                _launch_threshold(coefficients, geometry, workspace, queue)
            _launch_inverse(coefficients, reduction, geometry, workspace, queue)
            _launch_pixels(coefficients, view_of(out), reduction, workspace, queue)
            found = _to_host(status, queue)
    damage = np.stack([found % SEGMENT_STEP, found // SEGMENT_STEP], axis=-1)
    return np.where((found == WHOLE)[:, np.newaxis], 0, damage).astype(np.int64)


def _most_levels(rows: int, cols: int) -> int:
    """The levels of the deepest stream of a canvas; batches differ in them, their buffers need not."""
    return max(1, min(MOST_LEVELS, max_levels(rows, cols, INTEGER_WAVELET)))


def _rounded(streams: StreamsPlan) -> dict[str, int]:
    return dict(zip(("planes", "active", "lines"), map(rounded_up, streams.sizes), strict=True))


def _geometry(images: Sequence[LayeredImage], room: PlanesRoom) -> Geometry:
    layouts = [image.tiling.layout for image in images]
    # The smallest of all coefficients is a threshold that all reach.
    counts = [image.count or layout.size for image, layout in zip(images, layouts, strict=True)]
    return mixed_geometry(
        room,
        INTEGER_WAVELET,
        np.array([(layout.rows, layout.cols) for layout in layouts], np.int32),
        np.array([layout.levels for layout in layouts], np.int32),
        np.array(counts, np.int64),
        np.array([image.value_range for image in images], np.int64),
    )


def _launch_decoder(
    streams: StreamsPlan, coefficients: Any, status: Any, workspace: Workspace, staged: Workspace, queue: Queue
) -> None:
    """Queue the kernels from the streams' bytes to packed coefficients; tables and bytes are uploaded already."""
    room = streams.capacity
    planes = workspace.buffer("planes", rounded_up(streams.sizes[0]), np.int32)
    active = workspace.buffer("active", rounded_up(streams.sizes[1]), np.uint8)
    lines = workspace.buffer("lines", rounded_up(streams.sizes[2]), np.int32)
    segments, jobs, parts, bounds, words = staged.tables
    segments, jobs, data = segments[: streams.segments], jobs[: streams.jobs], words.view(np.uint8)
    tables = room.rows[0]
    starts = staged.buffer("starts", tables * CONTEXTS * TOKENS, np.uint16)
    shifts = staged.buffer("shifts", tables * CONTEXTS, np.uint8)
    places = staged.buffer("streams", 2 * room.streams, np.int64)
    bases = staged.buffer("bases", tables, np.int64)
    grid, block = linear_launch(planes.size, 1)
    clear_kernel[grid, block, queue.stream](planes, active, coefficients, status)
    if streams.segments == 0:
        return
    chosen = layer_shapes()
    tables_kernel()[streams.segments, chosen.threads, queue.stream](
        data, segments, starts, shifts, places, bases, status
    )
    decoder_kernel(chosen)[streams.jobs, chosen.threads, queue.stream](
        data, segments, jobs, parts, bounds, starts, shifts, places, bases, planes, active, lines, coefficients, status
    )


def _launch_threshold(coefficients: Any, geometry: Geometry, workspace: Workspace, queue: Queue) -> None:
    """Queue the selection of each image's largest coefficients; the others become 0."""
    thresholds = workspace.thresholds
    launch_selection(coefficients, thresholds, INTEGER_WAVELET, geometry, workspace, queue)
    grid, block = linear_launch(geometry.capacity.packed, geometry.capacity.batch)
    threshold_kernel(True)[grid, block, queue.stream](coefficients, thresholds, coefficients, workspace.levels)


def _launch_inverse(coefficients: Any, reduction: int, geometry: Geometry, workspace: Workspace, queue: Queue) -> None:
    """Queue the levels of the inverse that the reduction leaves; the finest one makes the values, others low-passes."""
    kernel, lows = synthesis_kernel(INTEGER_WAVELET, shapes().tile), workspace.lows(np.int32)
    for level in reversed(range(reduction, geometry.depth)):
        low_rows, low_cols = geometry.largest_low(level)
        if low_rows:
            grid, block = tile_launch(low_rows, low_cols, geometry.capacity.batch)
            target = workspace.values(np.int32) if level == 0 else lows
            # The coefficients are thresholded already; some array of the thresholds' type has to stand in.
            kernel[grid, block, queue.stream](
                target, lows, coefficients, workspace.thresholds, workspace.levels, level, False
            )


def _launch_pixels(coefficients: Any, result: Any, reduction: int, workspace: Workspace, queue: Queue) -> None:
    batch, rows, cols = result.shape
    lows = workspace.lows(np.int32)
    values = workspace.values(np.int32) if reduction == 0 else lows
    grid, block = pixel_launch(rows, cols, batch)
    clipped_kernel[grid, block, queue.stream](
        coefficients, lows, values, result, workspace.images, workspace.levels, reduction
    )


def _to_host(status: Any, queue: Queue) -> NDArray[np.int32]:
    """The status of each image, once all that was queued is done."""
    if is_simulated():
        return np.asarray(status.copy_to_host())
    found = status.copy_to_host(stream=queue.stream)
    queue.stream.synchronize()
    return np.asarray(found)
