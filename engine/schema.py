"""What a store holds: the names, types and meaning of its arrays and attributes (format version 1).

A store is a Zarr v3 group::

    images                 [N, H, W]  raw stored integers, one image per chunk, many chunks per shard
    table/<column>         [N]        one array per technical column below (hashes are [N, 32] uint8)
    labels/<column>        [N]        one array per label column of the user's CSV

The group's attribute ``wavestream`` is the ``StoreHeader`` below, as JSON. Smaller images lie in the top-left corner
of the ``H x W`` canvas; the rest is 0.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT_VERSION = 1

SPLITS = ("train", "val", "test", "none")
VOI_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID", "FULL_RANGE")


@dataclass(frozen=True)
class Column:
    """One technical column of the table: NumPy dtype, trailing shape, and what it means."""

    dtype: str
    meaning: str
    shape: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()


TABLE: dict[str, Column] = {
    "rows": Column("int32", "rows of the image inside the canvas, in pixels"),
    "cols": Column("int32", "columns of the image inside the canvas, in pixels"),
    "slope": Column("float64", "rescale slope: modality value = stored value * slope + intercept"),
    "intercept": Column("float64", "rescale intercept, in modality units"),
    "window_center": Column("float64", "VOI window centre, in modality units"),
    "window_width": Column("float64", "VOI window width, in modality units"),
    "voi_function": Column(
        "uint8",
        "VOI LUT function (DICOM PS3.3 C.11.2.1.3); FULL_RANGE: the file has none, centre and width span its pixels",
        categories=VOI_FUNCTIONS,
    ),
    "bits_stored": Column("uint8", "bits stored per pixel"),
    "value_low": Column("int32", "lowest value the image may take: of its bits stored, widened to its own minimum"),
    "value_high": Column("int32", "highest value the image may take: of its bits stored, widened to its own maximum"),
    "inverted": Column("uint8", "1 when the lowest value is shown white (MONOCHROME1), else 0"),
    "roi_row": Column("int32", "first row of the region of interest, in pixels"),
    "roi_col": Column("int32", "first column of the region of interest, in pixels"),
    "roi_rows": Column("int32", "rows of the region of interest, in pixels"),
    "roi_cols": Column("int32", "columns of the region of interest, in pixels"),
    "series": Column("int32", "number of the series within this store, from 0; says nothing outside it"),
    "position": Column("int32", "position of the image in its series, from 0"),
    "patient": Column("uint64", "salted hash of the patient ID; the salt is not in the store"),
    "split": Column("uint8", "the frozen split", categories=SPLITS),
    "source_sha256": Column("uint8", "SHA-256 of the input file", shape=(32,)),
    "pixel_sha256": Column("uint8", "SHA-256 of the image's stored pixels, rows x cols, little-endian", shape=(32,)),
}


@dataclass(frozen=True)
class StoreHeader:
    """The group attribute ``wavestream``.

    Attributes:
        format: format version of the store.
        count: number of images N.
        canvas: (H, W) of ``images`` in pixels.
        dtype: NumPy dtype name of the stored integers: ``uint8``, ``uint16``, ``int16`` or ``int32``.
        codec: name of the pixel codec, ``zstd``.
        shard_images: images per shard.
        split: how the split was made: ``{"method": ..., "seed": ..., "fractions": [...], "stratify": ...}``.
        summary: counts of the ingest: stored, quarantined, converted from colour, and so on.
        written_by: version of wavestream that wrote it.
    """

    format: int
    count: int
    canvas: tuple[int, int]
    dtype: str
    codec: str
    shard_images: int
    split: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, int] = field(default_factory=dict)
    written_by: str = ""

    def to_json(self) -> dict[str, Any]:
        """The header as JSON types."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StoreHeader:
        """The header from what :meth:`to_json` wrote; unknown keys of later minor versions are ignored."""
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        known["canvas"] = tuple(known["canvas"])
        return cls(**known)
