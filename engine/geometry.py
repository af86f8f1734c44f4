"""Where the pixels of the network's input come from: regions of interest, turns and flips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wavestream.engine.errors import StoreError
from wavestream.engine.store import Store
from wavestream.engine.transform import TransformParameters


def turn_matrices(parameters: TransformParameters, rows: int, cols: int) -> NDArray[np.float32]:
    """Affine maps from output to input pixel positions (x, y), pixel centres at +1/2: turn, then mirror.

    Args:
        parameters: quarter turns and flips.
        rows, cols: size of the output; a sideways turn reads from an image of (cols, rows).

    Returns:
        (batch, 2, 3) float32, exact: nearest-neighbour sampling through it is ``numpy.rot90`` then ``numpy.fliplr``.
    """
    # Row k: input x and y in terms of the output's (x, y, 1) for k counter-clockwise quarter turns.
    turns = np.array(
        [
            [[1, 0, 0], [0, 1, 0]],
            [[0, -1, rows], [1, 0, 0]],
            [[-1, 0, cols], [0, -1, rows]],
            [[0, 1, 0], [-1, 0, cols]],
        ],
        np.float32,
    )
    mirror = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[-1, 0, cols], [0, 1, 0], [0, 0, 1]]], np.float32)
    return turns[parameters.quarter_turns] @ mirror[parameters.flip.astype(np.int64)]


def regions_of(store: Store, roi: bool) -> NDArray[np.int32]:
    """What to use of each image.

    Args:
        store: gives sizes and regions of interest.
        roi: use the regions; False: whole images.

    Returns:
        (N, 4) int32: first row, first column, rows, columns, in pixels.

    Raises:
        StoreError: a region outside its image, or an image outside the canvas; names the image.
    """
    rows, cols = store.table["rows"], store.table["cols"]
    height, width = store.header.canvas
    if roi:
        regions = np.column_stack([store.table[name] for name in ("roi_row", "roi_col", "roi_rows", "roi_cols")])
    else:
        regions = np.column_stack([np.zeros_like(rows), np.zeros_like(cols), rows, cols])
    inside = (regions[:, :2] >= 0).all(1) & (regions[:, 2:] >= 1).all(1) & (rows <= height) & (cols <= width)
    inside &= (regions[:, 0] + regions[:, 2] <= rows) & (regions[:, 1] + regions[:, 3] <= cols)
    if not inside.all():
        index = np.flatnonzero(~inside)[0]
        raise StoreError(
            f"image {index}: its region {regions[index].tolist()} (row, col, rows, cols) does not lie within its "
            f"{rows[index]}x{cols[index]} pixels on the {height}x{width} canvas; ingest again"
        )
    return regions.astype(np.int32)
