"""What an export takes from a store: its images as they are or as artifacts, and the table that goes with them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.engine.errors import InputError
from wavestream.engine.layers import DEFAULT_FRACTIONS, encode_image, needed_ranges, segment_ends
from wavestream.engine.reader import Reader
from wavestream.engine.store import Store
from wavestream.kernels import inject

RESOLUTIONS = {"full": 0, "1/2": 1, "1/4": 2, "1/8": 3}
_WAVELET = "cdf53"


class ExportSource:
    """The images of a store with a fraction of their coefficients, at a resolution. Safe to use from several threads.

    Args:
        store: an opened store.
        keep: fraction of the ``cdf53`` coefficients of each image to keep, in (0, 1]; 1 is lossless.
        resolution: ``full``, ``1/2``, ``1/4`` or ``1/8``: the low-pass of the wavelet transform.

    Attributes:
        store, keep, resolution: as given.
        reduction: the resolution as levels of the transform left out.
        table: the store's technical columns, sizes and regions of interest at the resolution.
        canvas: (rows, cols) that hold every image.

    Raises:
        InputError: a keep or resolution out of range, or a reduced resolution of a store that has only whole images.
    """

    def __init__(self, store: Store, keep: float = 1.0, resolution: str = "full") -> None:
        if not 0 < keep <= 1:
            raise InputError(f"keep: expected a fraction in (0, 1], got {keep!r}")
        if resolution not in RESOLUTIONS:
            raise InputError(f"resolution: expected one of {', '.join(RESOLUTIONS)}, got {resolution!r}")
        self.store = store
        self.keep = float(keep)
        self.resolution = resolution
        self.reduction = RESOLUTIONS[resolution]
        self._layered = store.header.codec == "layers"
        if self.reduction and not self._layered:
            raise InputError(
                f"resolution: expected full, got {resolution}: {store.location} holds whole images (zstd); export "
                "it in full, or ingest again with the layers codec"
            )
        self.table = scaled_table(store.table, self.reduction)
        height, width = store.header.canvas
        self.canvas = _scaled(height, self.reduction), _scaled(width, self.reduction)
        self._reader = Reader(store, threads=1)

    def __len__(self) -> int:
        return len(self.store)

    @property
    def lossless(self) -> bool:
        """Whether the images are those of the store, bit for bit."""
        return self.keep == 1 and self.reduction == 0

    def read(self, index: int) -> NDArray[Any]:
        """One image without its canvas: (rows, cols) stored integers of the store's dtype, C-contiguous.

        Raises:
            StoreError: the image is missing or damaged; names it.
        """
        rows, cols = int(self.table["rows"][index]), int(self.table["cols"][index])
        if self._layered:
            canvas = self._reader.read([index], keep=self.keep, reduction=self.reduction)[0]
            return np.ascontiguousarray(canvas[:rows, :cols])
        image = np.ascontiguousarray(self._reader.read([index])[0, :rows, :cols])
        if self.keep < 1:
            inject(image, self.keep, _WAVELET, value_range=self.value_range(index), out=image, threads=1)
        return image

    def value_range(self, index: int) -> tuple[int, int]:
        """Lowest and highest value that an image may take."""
        return int(self.table["value_low"][index]), int(self.table["value_high"][index])

    def compressed_bytes(self, index: int) -> int:
        """Bytes of an image's ``wavestream.layers`` stream that hold what :meth:`read` gives."""
        if self._layered:
            ends, fractions = self.store.table["layer_ends"][index], self.store.header.layers
        else:
            rows, cols = int(self.table["rows"][index]), int(self.table["cols"][index])
            image = self._reader.read([index])[0, :rows, :cols]
            ends, fractions = segment_ends(encode_image(image, self.value_range(index))), DEFAULT_FRACTIONS
        return sum(stop - start for start, stop in needed_ranges(ends, fractions, self.keep, self.reduction))


def scaled_table(table: Mapping[str, NDArray[Any]], reduction: int) -> Mapping[str, NDArray[Any]]:
    """The technical columns of images at ``2**-reduction`` of their size.

    Sample ``i`` of a low-pass lies at pixel ``2**reduction * i``; a region keeps every sample that it touches.
    """
    if reduction == 0:
        return table
    scaled = dict(table)
    for size, first, extent in (("rows", "roi_row", "roi_rows"), ("cols", "roi_col", "roi_cols")):
        scaled[size] = _scaled(table[size], reduction)
        scaled[first] = table[first] >> reduction
        scaled[extent] = _scaled(table[first] + table[extent], reduction) - scaled[first]
    return scaled


def _scaled(size: Any, reduction: int) -> Any:
    """Samples that are left of ``size``: half of them, rounded up, at each level."""
    return -(-size >> reduction)


def digest_of(store: Store) -> str:
    """SHA-256 in hexadecimal of what a store says about its images: the table, pixel hashes included, and labels."""
    digest = hashlib.sha256(repr((len(store), store.header.canvas, store.header.dtype)).encode())
    for name, values in [*store.table.items(), *store.labels.items()]:
        digest.update(repr((name, values.dtype.str, values.shape)).encode())
        digest.update(np.ascontiguousarray(values).data)
    for name in store.labels:
        digest.update(repr((name, store.categories(name))).encode())
    return digest.hexdigest()
