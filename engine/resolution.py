"""Reading images at 1/2, 1/4 or 1/8 of their size: when it is enough, and where their pixels then lie."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavestream.engine.errors import InputError
from wavestream.engine.geometry import regions_of
from wavestream.engine.layers import REDUCTIONS
from wavestream.engine.store import Store
from wavestream.engine.transform import Transform


def reduced(sides: Any, reduction: int) -> Any:
    """Sides of images in pixels, an integer or an array of them, at ``2^-reduction`` of their size: rounded up."""
    return (sides + (1 << reduction) - 1) >> reduction


def chosen_reduction(store: Store, transform: Transform) -> int:
    """The r, 0 to 3, at which a run reads the images: at ``2^-r`` of their size.

    One for all images of the store, so that no image is treated differently from another, and none differently in
    training and evaluation: the largest at which every region that the transform uses keeps at least the larger side of
    ``image_size`` in both directions.

    Raises:
        InputError: ``resolution="auto"``, and the store's codec has no reduced sizes.
        StoreError: a region outside its image; names it.
    """
    if transform.resolution == "full":
        return 0
    if store.header.codec != "layers":
        raise InputError(
            f"resolution='auto' needs a store of the codec layers, and {store.location} has {store.header.codec}, "
            "whose images can be read whole only: ingest again with the codec layers, or choose resolution='full'"
        )
    smallest = regions_of(store, transform.roi)[:, 2:].min(initial=2**REDUCTIONS * max(transform.image_size))
    return min(REDUCTIONS, (int(smallest) // max(transform.image_size) | 1).bit_length()) - 1


class Regions(NamedTuple):
    """Which part of each image, as it was read, is used: a box of whole pixels, and in it the region to the point.

    Attributes:
        start, extent: (N, 2) int32, first row and column, rows and columns.
        low, high: (N, 2) float32, the region's edges in the box, in pixels; they may lie beyond its pixels by less than
            half a pixel, where the outermost ones are repeated.
    """

    start: NDArray[np.int32]
    extent: NDArray[np.int32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]

    def cover(self, rows: int, cols: int) -> bool:
        """Whether all of them are the whole of an array of ``rows`` x ``cols`` pixels."""
        return not self.start.any() and bool((self.extent == (rows, cols)).all())


def reduced_regions(regions: NDArray[np.int32], sizes: NDArray[np.int64], reduction: int) -> Regions:
    """Regions of images, in pixels, where they lie in the images at ``2^-reduction`` of their size.

    Pixel ``i`` of the transform's low-pass is centred on pixel ``i * 2^r`` of the image, not on a block of pixels, so
    the point ``x`` of the image, pixel centres at +1/2, lies at ``(x - 1/2) / 2^r + 1/2``. The box is rounded outwards,
    to the pixels that there are.

    Args:
        regions: (N, 4) first row, first column, rows, columns, each within its image and of at least
            ``2^r`` rows and columns.
        sizes: (N, 2) rows and columns of the images.
        reduction: r, 0 to 3.
    """
    step = 1 << reduction
    first, size = regions[:, :2].astype(np.int64), regions[:, 2:].astype(np.int64)
    # Exactly, in units of 2^-(r + 1) reduced pixels.
    low, high = 2 * first + step - 1, 2 * (first + size) + step - 1
    start = low // (2 * step)
    stop = np.minimum(-(-high // (2 * step)), reduced(sizes, reduction))
    edges = ((edge / (2 * step) - start).astype(np.float32) for edge in (low, high))
    return Regions(start.astype(np.int32), (stop - start).astype(np.int32), *edges)
