"""Artifact injection of images of different sizes on the CPU: the batch's images shared among the pool's threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cpu.inject import filters_of, inject_images, next_number, raise_invalid
from wavestream.kernels.cpu.plan import make_plan
from wavestream.kernels.cpu.pool import run_on_threads
from wavestream.kernels.cpu.progress import announced
from wavestream.kernels.cpu.workspace import workspace_for


def inject_ragged_cpu(
    images: Sequence[NDArray[Any]],
    keep: NDArray[np.float64],
    wavelet: str,
    levels: NDArray[np.int32],
    sizes: NDArray[np.int32],
    value_range: NDArray[np.int32] | None,
    out: Sequence[NDArray[Any]],
    threads: int | None = None,
) -> None:
    """:func:`wavestream.kernels.ragged.inject_ragged` on checked arguments.

    Args:
        images, out: (rows, cols) each, C-contiguous; an image's result may be the image itself.
        keep, levels: (batch,), allowed for the sizes.
        wavelet: its name.
        sizes: (batch, 2) rows and columns.
        value_range: (batch, 2) lowest and highest pixel value; None for float images.
        threads: CPU threads; None for all of this process.

    Raises:
        ValueError: pixels that cannot be computed, naming the samples; the others are done.
    """
    plan = make_plan(keep, wavelet, levels, sizes, value_range)
    valid = np.ones(len(images), dtype=np.uint8)
    most_rows, most_cols, deepest = int(sizes[:, 0].max()), int(sizes[:, 1].max()), int(levels.max())
    filters = filters_of(wavelet)
    pixels = sizes.astype(np.int64).prod(axis=1)
    # The largest first: the small ones then fill the gaps at the end.
    order = np.argsort(-pixels, kind="stable").tolist()
    counter = np.zeros(1, dtype=np.int64)

    def task() -> None:
        work = workspace_for(most_rows, most_cols, wavelet, deepest)
        while (number := next_number(counter)) < len(order):
            index = order[number]
            alone = np.zeros(1, dtype=np.int64)
            one = (images[index][np.newaxis], out[index][np.newaxis], plan.only(index), valid[index : index + 1])
            inject_images(filters, *one, alone, work)

    with announced(f"{wavelet} {images[0].dtype}"):
        run_on_threads(task, len(images), int(pixels.mean()), threads)
    if not valid.all():
        raise_invalid(np.flatnonzero(valid == 0), images[0].dtype)
