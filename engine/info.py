"""What is in a store, for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wavestream.engine.ingest_summary import NOTE_TEXTS, quarantined
from wavestream.engine.layer_costs import LayerCost, layer_costs, layer_lines
from wavestream.engine.schema import SPLITS, VOI_FUNCTIONS
from wavestream.engine.store import Store, open_store


@dataclass(frozen=True)
class StoreDescription:
    """Figures about a store; ``str()`` of it is for people.

    Attributes:
        path: where it lies.
        images, patients, series: how many of each.
        canvas: (rows, cols) in pixels.
        dtype, codec: of the pixels.
        smallest, largest: (rows, cols) of the images with the fewest and the most pixels.
        bits_stored: bits -> number of images.
        bytes_on_disk: of all files of the store.
        bits_per_pixel: bits of the image shards for each pixel of an image (padding of the canvas not counted).
        layers: with the codec ``layers``, what each keep costs to read, the last being everything; else empty.
        windows: VOI function -> number of images.
        split: how it was made.
        parts: part of the split -> number of images and of patients.
        labels: column -> part of the split -> category -> number of images; numbers: minimum, mean, maximum.
        quarantined: reason -> number of files that were not stored.
        notes: what was done to how many images.
        written_by: version that wrote it.
    """

    path: Path
    images: int
    patients: int
    series: int
    canvas: tuple[int, int]
    dtype: str
    codec: str
    smallest: tuple[int, int]
    largest: tuple[int, int]
    bits_stored: dict[int, int]
    bytes_on_disk: int
    bits_per_pixel: float
    layers: tuple[LayerCost, ...]
    windows: dict[str, int]
    split: dict[str, Any]
    parts: dict[str, dict[str, int]]
    labels: dict[str, dict[str, dict[str, float]]]
    quarantined: dict[str, int]
    notes: dict[str, int]
    written_by: str

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return {**asdict(self), "path": str(self.path)}

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.images} images, {self.patients} patients, {self.series} series",
            f"canvas       {_size(self.canvas)} {self.dtype}, {self.codec}; "
            f"images {_size(self.smallest)} to {_size(self.largest)}",
            f"bits stored  {_counts(self.bits_stored)}",
            f"on disk      {self.bytes_on_disk:,} bytes, {self.bits_per_pixel:.3f} bits per pixel",
            *layer_lines(self.layers),
            f"windows      {_counts(self.windows)}",
            f"split        {_counts(self.split)}",
        ]
        lines += [f"  {name:<10} {_counts(sizes)}" for name, sizes in self.parts.items()]
        for name, parts in self.labels.items():
            lines.append(f"label        {name}")
            lines += [f"  {part:<10} {_counts(counts)}" for part, counts in parts.items()]
        lines += [f"of these, {count} {NOTE_TEXTS[note]}" for note, count in self.notes.items()]
        if self.quarantined:
            lines.append(f"not stored   {_counts(self.quarantined)}")
        lines.append(f"written by   wavestream {self.written_by}")
        return "\n".join(lines)


def describe(store: str | Path) -> StoreDescription:
    """Figures about a store, from its header, table and labels; no pixel is read.

    Raises:
        StoreError: there is no finished store at ``store``.
    """
    opened = open_store(store)
    header, table = opened.header, opened.table
    pixels = table["rows"].astype(np.int64) * table["cols"]
    small, large = int(pixels.argmin()), int(pixels.argmax())
    shards = sum(path.stat().st_size for path in (opened.path / "images").rglob("*") if path.is_file())
    found = np.unique(table["split"])
    return StoreDescription(
        path=opened.path,
        images=header.count,
        patients=len(np.unique(table["patient"])),
        series=len(np.unique(table["series"])),
        canvas=header.canvas,
        dtype=header.dtype,
        codec=header.codec,
        smallest=(int(table["rows"][small]), int(table["cols"][small])),
        largest=(int(table["rows"][large]), int(table["cols"][large])),
        bits_stored=_histogram(table["bits_stored"]),
        bytes_on_disk=sum(path.stat().st_size for path in opened.path.rglob("*") if path.is_file()),
        bits_per_pixel=8 * shards / int(pixels.sum()),
        layers=layer_costs(opened),
        windows={VOI_FUNCTIONS[code]: count for code, count in _histogram(table["voi_function"]).items()},
        split=header.split,
        parts={
            SPLITS[part]: {
                "images": int((table["split"] == part).sum()),
                "patients": len(np.unique(table["patient"][table["split"] == part])),
            }
            for part in found
        },
        labels={
            name: {SPLITS[part]: _label_counts(opened, name, table["split"] == part) for part in found}
            for name in opened.labels
        },
        quarantined=quarantined(header.summary),
        notes={note: header.summary[note] for note in NOTE_TEXTS if note in header.summary},
        written_by=header.written_by,
    )


def _histogram(values: np.ndarray) -> dict[int, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _label_counts(store: Store, name: str, chosen: np.ndarray) -> dict[str, float]:
    values, categories = store.labels[name][chosen], store.categories(name)
    if categories is None:
        known = values[~np.isnan(values)]
        figures: dict[str, float] = {"missing": len(values) - len(known)}
        if len(known):
            figures |= {"min": float(known.min()), "mean": float(known.mean()), "max": float(known.max())}
        return figures
    histogram = _histogram(values)
    counts: dict[str, float] = {category: histogram.get(code, 0) for code, category in enumerate(categories)}
    return counts | ({"missing": histogram[-1]} if -1 in histogram else {})


def _counts(counts: dict[Any, Any]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in counts.items()
    )


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
