"""Artifact injection of a batch through the fused kernels: the decision, the table, the launches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cuda.device import Queue
from wavestream.kernels.cuda.fused import launch
from wavestream.kernels.cuda.fused.choice import Batch, Choice, Declined, Limits, choose
from wavestream.kernels.cuda.fused.plan import plan_of
from wavestream.kernels.cuda.fused.steps import Canvas, peeled_steps, room_of, whole_step
from wavestream.kernels.cuda.workspace import workspace_of
from wavestream.kernels.wavelets import INTEGER_WAVELET

# "auto" takes the fused kernel where it can run; the other two are for tests and benchmarks.
PATHS = ("auto", "fused", "multipass")


def inject_fused(
    path: str,
    source: Any,
    result: Any,
    wavelet: str,
    counts: NDArray[np.int64],
    sizes: NDArray[np.int32],
    levels: NDArray[np.int32],
    limits: NDArray[np.int64],
    queue: Queue,
) -> bool:
    """Queue the fused kernel for a batch, if it is one for it.

    Args:
        path: one of :data:`PATHS`.
        source, result: Numba views (batch, rows, cols), which may be the same memory.
        wavelet: its name.
        counts: (batch,) coefficients to keep; 0 for an image to copy.
        sizes: (batch, 2) rows and columns of each image.
        levels: (batch,) depth of each image.
        limits: (batch, 2) lowest and highest value; ignored for floating-point pixels.
        queue: where to work.

    Returns:
        Whether it was done; False leaves the batch to the multi-pass kernels.

    Raises:
        ValueError: ``path`` is unknown, or is ``"fused"`` and the batch is not one for the fused kernel.
    """
    if path not in PATHS:
        raise ValueError(f"path: expected one of {', '.join(PATHS)}, got {path!r}")
    if path == "multipass":
        return False
    choice = _choice(source, result, wavelet, counts, sizes, levels, launch.limits_of(queue))
    if isinstance(choice, Declined):
        if path == "fused":
            raise ValueError(f'path: the fused kernel does not do this batch ({choice.reason}); use "auto"')
        return False
    batch, rows, cols = (int(side) for side in source.shape)
    plan = plan_of(counts, sizes, levels, limits, room_of(rows, cols, choice.peeled))
    with workspace_of(plan.capacity, queue) as workspace:
        workspace.upload(plan, queue)
        canvas = Canvas(batch, rows, cols, source, result, workspace.tables[0])
        if choice.peeled == 0:
            launch.run(whole_step(choice, wavelet, canvas), queue)
            return True
        rooms = workspace.coefficients(np.int32 if wavelet == INTEGER_WAVELET else np.float32)
        for step in peeled_steps(choice, wavelet, canvas, rooms, workspace.histograms, workspace.thresholds):
            launch.run(step, queue)
    return True


def _choice(
    source: Any,
    result: Any,
    wavelet: str,
    counts: NDArray[np.int64],
    sizes: NDArray[np.int32],
    levels: NDArray[np.int32],
    device_limits: Limits | Declined,
) -> Choice | Declined:
    if isinstance(device_limits, Declined):
        return device_limits
    transformed = counts > 0
    rows, cols = (int(side) for side in sizes.max(axis=0, where=transformed[:, np.newaxis], initial=1))
    depth = int(levels.max(where=transformed, initial=1))
    shallowest = int(levels.min(where=transformed, initial=depth))
    names = np.dtype(source.dtype).name, np.dtype(result.dtype).name
    return choose(device_limits, Batch(len(counts), rows, cols, depth, shallowest, wavelet, *names))
