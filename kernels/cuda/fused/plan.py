"""What the fused kernel has to know of each image: a small table, uploaded like those of the multi-pass kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cuda.geometry import Shapes

# Columns of the table, as in inject.cu. KEPT: coefficients to keep, 0 for an image that is copied.
KEPT, IMAGE_ROWS, IMAGE_COLS, DEPTH, LOWEST, HIGHEST = range(6)
COLUMNS = 6


@dataclass(frozen=True)
class FusedRoom:
    """Room in a workspace for the table of a batch, and for what tiles pass on: all the rest is shared memory.

    Attributes:
        batch: images.
        packed: words that tiles need of each image; 0 without them.
    """

    batch: int
    packed: int = 0
    lows_size: int = 0
    values_size: int = 0

    @property
    def coefficients_size(self) -> int:
        """Words that tiles need of all images."""
        return self.batch * self.packed

    @property
    def tables(self) -> Shapes:
        """Shapes of the table, and of a second one that a workspace has and that is not used."""
        return (self.batch, COLUMNS), (1, 1)


@dataclass(frozen=True)
class FusedPlan:
    """The table, in one buffer, and the room it was made for.

    Attributes:
        capacity: of the workspace.
        plan: (batch * 6 + 1,) int64.
    """

    capacity: FusedRoom
    plan: NDArray[np.int64]

    @property
    def table(self) -> NDArray[np.int64]:
        """(batch, 6) view of the plan."""
        return self.plan[:-1].reshape(-1, COLUMNS)


def plan_of(
    counts: NDArray[np.int64],
    sizes: NDArray[np.int32],
    levels: NDArray[np.int32],
    limits: NDArray[np.int64],
    room: int = 0,
) -> FusedPlan:
    """The plan of a batch.

    Args:
        counts: (batch,) coefficients to keep; 0 for an image to copy.
        sizes: (batch, 2) rows and columns of each image.
        levels: (batch,) depth of each image.
        limits: (batch, 2) lowest and highest value; ignored for floating-point pixels.
        room: words that tiles need of each image.
    """
    plan = FusedPlan(FusedRoom(len(counts), room), np.zeros(len(counts) * COLUMNS + 1, dtype=np.int64))
    plan.table[:, KEPT] = counts
    plan.table[:, IMAGE_ROWS : IMAGE_COLS + 1] = sizes
    plan.table[:, DEPTH] = levels
    plan.table[:, LOWEST : HIGHEST + 1] = limits
    return plan
