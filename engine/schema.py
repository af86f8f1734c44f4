"""What a store holds: the names, types and meaning of its arrays and attributes (format version 2).

A store is a Zarr v3 group::

    images                 [N, H, W]  raw stored integers, one image per chunk, many chunks per shard
    table/<column>         [N]        one array per technical column below (hashes are [N, 32] uint8)
    labels/<column>        [N]        one array per label column of the user's CSV

The group's attribute ``wavestream`` is the ``StoreHeader`` below, as JSON. Smaller images lie in the top-left corner
of the ``H x W`` canvas; the rest is 0.

A chunk of ``images`` is, with the codec ``layers``, the image's own stream (docs/format.md), without the canvas around
it; with ``zstd``, the whole canvas. Format 1 knew ``zstd`` only, and is read like it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from wavestream.engine.layers import REDUCTIONS

FORMAT_VERSION = 2
CODECS = ("layers", "zstd")

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


def table_columns(codec: str, fractions: Sequence[float]) -> dict[str, Column]:
    """The columns of a store's table: ``TABLE``, and with the codec ``layers`` also ``layer_ends``."""
    if codec != "layers":
        return TABLE
    meaning = (
        "[layer, segment]: bytes from the start of the image's chunk to the end of what the layer needs for the image "
        "at 1/8, 1/4, 1/2 and all of its size; 0 where there is no chunk"
    )
    return {**TABLE, "layer_ends": Column("uint32", meaning, shape=(len(fractions) + 1, REDUCTIONS))}


@dataclass(frozen=True)
class StoreHeader:
    """The group attribute ``wavestream``.

    Attributes:
        format: format version of the store.
        count: number of images N.
        canvas: (H, W) of ``images`` in pixels.
        dtype: NumPy dtype name of the stored integers: ``uint8``, ``uint16``, ``int16`` or ``int32``.
        codec: name of the pixel codec, ``layers`` or ``zstd``.
        layers: fractions of the coefficients that the layers hold, ascending; the last layer, which holds all, is not
            among them. Empty for ``zstd``.
        shard_images: images per shard.
        split: how the split was made: ``{"method": ..., "seed": ..., "fractions": [...], "stratify": ...}``.
        summary: counts of the ingest: stored, quarantined, converted from colour, and so on.
        written_by: version of wavestream that wrote it.
        labels: names of the label columns, which not every remote folder can list; None: not said (format 1).
    """

    format: int
    count: int
    canvas: tuple[int, int]
    dtype: str
    codec: str
    shard_images: int
    layers: tuple[float, ...] = ()
    split: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, int] = field(default_factory=dict)
    written_by: str = ""
    labels: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """The header as JSON types."""
        return json.loads(json.dumps(asdict(self)))

    @property
    def columns(self) -> dict[str, Column]:
        """The columns of the store's table."""
        return table_columns(self.codec, self.layers)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StoreHeader:
        """The header from what :meth:`to_json` wrote; unknown keys of later minor versions are ignored."""
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        known["canvas"] = tuple(known["canvas"])
        known["layers"] = tuple(known.get("layers", ()))
        if known.get("labels") is not None:
            known["labels"] = tuple(known["labels"])
        return cls(**known)
