"""The journal of a finished ingest as columns: which image came from where, and what decoding found out about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.engine.manifest import Manifest
from wavestream.engine.pixel_codecs import PixelCodec
from wavestream.engine.rejection import Reason, Rejection
from wavestream.engine.schema import Column, table_columns

_DECODED = (
    *("rows", "cols", "slope", "intercept", "window_center", "window_width", "voi_function", "bits_stored"),
    *("value_low", "value_high", "inverted", "source_sha256", "pixel_sha256"),
)


@dataclass(frozen=True)
class Journal:
    """All parts of a journal.

    Attributes:
        entry, frame: (N,) number of the inventory's entry and of the frame in its file, in the order of the store.
        table: the columns of the store's table that decoding fills, (N, ...) each.
        notes: how many images each note is on.
        rejected: source number -> why it did not decode.
    """

    entry: NDArray[np.int64]
    frame: NDArray[np.int64]
    table: dict[str, NDArray[Any]]
    notes: Counter[str]
    rejected: dict[int, Rejection]


def read_journal(manifest: Manifest, codec: PixelCodec) -> Journal:
    """Read every part of the journal of an ingest with ``codec``; one part's JSON is in memory at a time."""
    described = table_columns(codec.name, codec.fractions)
    decoded = [*_DECODED, *(["layer_ends"] if "layer_ends" in described else [])]
    places: list[NDArray[np.int64]] = [np.empty((0, 2), np.int64)]
    columns: dict[str, list[NDArray[Any]]] = {name: [_as_column(described[name], [])] for name in decoded}
    notes: Counter[str] = Counter()
    rejected: dict[int, Rejection] = {}
    for number in range(manifest.count_parts()):
        part = manifest.read_part(number)
        rejected |= {source: Rejection(Reason(reason), detail) for source, reason, detail in part["quarantine"]}
        rows = [row for _, _, row in part["images"]]
        places.append(np.array([image[:2] for image in part["images"]], np.int64).reshape(-1, 2))
        for name, chunks in columns.items():
            chunks.append(_as_column(described[name], [row[name] for row in rows]))
        for row in rows:
            notes.update(row["notes"])
    place = np.concatenate(places)
    table = {name: np.concatenate(chunks) for name, chunks in columns.items()}
    return Journal(place[:, 0], place[:, 1], table, notes, rejected)


def _as_column(column: Column, values: list[Any]) -> NDArray[Any]:
    if column.shape:
        packed = b"".join(bytes.fromhex(value) for value in values)
        little = np.dtype(column.dtype).newbyteorder("<")
        return np.frombuffer(packed, little).astype(column.dtype).reshape(len(values), *column.shape)
    return np.array(values, dtype=column.dtype)
