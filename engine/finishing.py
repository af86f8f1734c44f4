"""The end of an ingest: table, labels, split, and last the header, which makes the folder a store."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.engine.columns import current_version, write_columns, write_group
from wavestream.engine.durable import write_durably
from wavestream.engine.image_metadata import image_metadata
from wavestream.engine.ingest_config import IngestConfig
from wavestream.engine.ingest_summary import count_quarantined
from wavestream.engine.inventory import Inventory
from wavestream.engine.journal import Journal
from wavestream.engine.patients import hash_patient
from wavestream.engine.rejection import Rejection
from wavestream.engine.schema import FORMAT_VERSION, SPLITS, Column, StoreHeader, table_columns
from wavestream.engine.split import named_split, patient_split
from wavestream.engine.store import HEADER_ATTRIBUTE

_MEMBERS = {"zarr.json", "zarr.json.partial", "images", "table", "labels"}


def begin_store(store: Path) -> None:
    """Make the folder a Zarr group without a header: an ingest that has begun and not finished."""
    write_group(store, {})


def is_ours(store: Path) -> bool:
    """Whether a folder is a store, finished or begun: a Zarr group with nothing in it that no store has."""
    return (store / "zarr.json").is_file() and {path.name for path in store.iterdir()} <= _MEMBERS


def finish_store(
    store: Path, inventory: Inventory, journal: Journal, files: int, salt: bytes, config: IngestConfig
) -> StoreHeader:
    """Write everything that is not a shard, and the header after all else is on disk; returns the header."""
    split, how = _split(inventory, journal, config)
    columns = table_columns(config.codec, config.layers)
    table = _table(inventory, journal, split, salt, columns)
    canvas, count = inventory.canvas, len(journal.entry)
    (store / "images").mkdir(exist_ok=True)
    metadata = image_metadata(count, canvas, config.shard_images, config.pixel_codec)
    write_durably(store / "images" / "zarr.json", metadata)
    rows = np.array([entry.row for entry in inventory.entries], np.int64)[journal.entry]
    labels = {
        column.name: (
            np.where(rows >= 0, column.values[rows], column.missing).astype(column.values.dtype),
            column.categories,
        )
        for column in inventory.columns
    }
    write_columns(store, table, columns, labels)
    header = StoreHeader(
        format=FORMAT_VERSION,
        count=count,
        canvas=(canvas.rows, canvas.cols),
        dtype=canvas.dtype,
        codec=config.codec,
        layers=config.layers if config.codec == "layers" else (),
        shard_images=config.shard_images,
        split=how,
        summary=_summary(inventory, journal, files),
        written_by=current_version(),
        labels=tuple(sorted(column.name for column in inventory.columns)),
    )
    write_group(store, {HEADER_ATTRIBUTE: header.to_json()})
    return header


def all_rejected(inventory: Inventory, journal: Journal) -> dict[int, Rejection]:
    """Every file that is not in the store, by source number, whether its header or its pixels were at fault."""
    return dict(sorted({**inventory.rejected, **journal.rejected}.items()))


def _split(inventory: Inventory, journal: Journal, config: IngestConfig) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    patients = [inventory.entries[entry].patient for entry in journal.entry]
    if inventory.split_names is not None:
        stated = [inventory.split_names[entry] for entry in journal.entry]
        return named_split(patients, stated), {"method": "column"}
    strata = inventory.strata
    classes = None
    if strata is not None:
        rows = [inventory.entries[entry].row for entry in journal.entry]
        classes = [int(strata.values[row]) if row >= 0 else -1 for row in rows]
    how = {
        "method": "patient",
        "seed": config.seed,
        "fractions": list(config.fractions),
        "stratify": None if strata is None else strata.name,
    }
    return patient_split(patients, classes, config.fractions, config.seed), how


def _table(
    inventory: Inventory, journal: Journal, split: NDArray[np.uint8], salt: bytes, columns: dict[str, Column]
) -> dict[str, NDArray[Any]]:
    entries = inventory.entries
    hashes = np.array([hash_patient(salt, entry.patient) for entry in entries], np.uint64)
    series = np.array([entry.series for entry in entries], np.int64)
    first = np.array([entry.position for entry in entries], np.int64)
    regions = np.array([entry.region or (0, 0, -1, -1) for entry in entries], np.int64)[journal.entry]
    whole = regions[:, 2] < 0
    found = {
        **journal.table,
        "roi_row": regions[:, 0],
        "roi_col": regions[:, 1],
        "roi_rows": np.where(whole, journal.table["rows"], regions[:, 2]),
        "roi_cols": np.where(whole, journal.table["cols"], regions[:, 3]),
        "series": series[journal.entry],
        "position": first[journal.entry] + journal.frame,
        "patient": hashes[journal.entry],
        "split": split,
    }
    return {name: found[name].astype(column.dtype) for name, column in columns.items()}


def _summary(inventory: Inventory, journal: Journal, files: int) -> dict[str, int]:
    rejected = all_rejected(inventory, journal)
    reasons = Counter(str(rejection.reason) for rejection in rejected.values())
    return {
        "stored": len(journal.entry),
        "files": files,
        "quarantined": len(rejected),
        **count_quarantined(reasons),
        **dict(sorted(journal.notes.items())),
    }


def split_sizes(split: NDArray[np.uint8]) -> dict[str, int]:
    """Images in each part of a split that has any."""
    counts = np.bincount(split, minlength=len(SPLITS))
    return {name: int(count) for name, count in zip(SPLITS, counts, strict=True) if count}
