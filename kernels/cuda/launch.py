"""How many threads and blocks each kernel is launched with: the one place to look, and to tune on a device.

The kernels are correct for any of these numbers: every loop strides by the block or by the grid. Shared memory per
block, for the longest filter (``db8``, 16 taps), is 24 KB in the analysis kernel and 27 KB in the synthesis kernel.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from numba import config

# Numba warns of every grid under 128 blocks; the coarse levels of a transform have no more work than that.
warnings.filterwarnings("ignore", message="Grid size .* GPU under-utilization due to low occupancy")

# The y and z sides of a grid hold at most this many blocks (CUDA C++ Programming Guide, compute capabilities).
MAX_GRID_SIDE = 65535


@dataclass(frozen=True)
class LaunchShapes:
    """Shapes of blocks and tiles.

    Attributes:
        tile: (rows, cols) of low-pass coefficients that one block of a transform level makes or reads.
        tile_threads: (x, y) threads of such a block; x runs along memory.
        pixel_threads: (x, y) threads of a block that touches each pixel once.
        linear_threads: threads of a block that runs over the coefficients of an image.
        linear_items: coefficients of an image that one such block should at least have.
        linear_blocks: about the most blocks of such a launch, over all images.
        scan_threads: threads of a block that searches a histogram; divides the number of bins.
    """

    tile: tuple[int, int] = (16, 32)
    tile_threads: tuple[int, int] = (32, 8)
    pixel_threads: tuple[int, int] = (64, 4)
    linear_threads: int = 256
    linear_items: int = 8192
    linear_blocks: int = 4096
    scan_threads: int = 64


DEVICE = LaunchShapes()
# The simulator runs every thread as a Python thread: few of them, but never only one, so that missing barriers show.
SIMULATOR = LaunchShapes((8, 8), (2, 1), (2, 1), 2, 512, 8, 2)


def is_simulated() -> bool:
    """Whether Numba runs kernels in its simulator (``NUMBA_ENABLE_CUDASIM=1`` before Numba was imported)."""
    return bool(getattr(config, "ENABLE_CUDASIM", False))


def shapes() -> LaunchShapes:
    """The shapes in use: for a device, or for Numba's simulator."""
    return SIMULATOR if is_simulated() else DEVICE


def tile_launch(low_rows: int, low_cols: int, batch: int) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Grid and block of one transform level, the largest image having (low_rows, low_cols) low-pass coefficients."""
    chosen = shapes()
    rows, cols = chosen.tile
    return (-(-low_cols // cols), -(-low_rows // rows), min(batch, MAX_GRID_SIDE)), chosen.tile_threads


def pixel_launch(rows: int, cols: int, batch: int) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Grid and block that cover a canvas of (rows, cols) pixels; rows beyond the grid are reached by striding."""
    chosen = shapes()
    x, y = chosen.pixel_threads
    return (-(-cols // x), min(-(-rows // y), MAX_GRID_SIDE), min(batch, MAX_GRID_SIDE)), chosen.pixel_threads


def linear_launch(size: int, batch: int) -> tuple[tuple[int, int], int]:
    """Grid and block that run over ``size`` coefficients of each image."""
    chosen = shapes()
    share = max(1, chosen.linear_blocks // batch)
    blocks = max(1, min(share, -(-size // chosen.linear_items)))
    return (blocks, min(batch, MAX_GRID_SIDE)), chosen.linear_threads


def scan_launch(batch: int) -> tuple[int, int]:
    """Grid and block with one block for the histogram of each image."""
    return batch, shapes().scan_threads
