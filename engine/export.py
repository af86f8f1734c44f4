"""Export: the images of a store, or their artifacts, for programs that do not know our codec."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from wavestream.engine.bytesource import LocalFolder
from wavestream.engine.columns import write_group
from wavestream.engine.durable import write_json
from wavestream.engine.errors import InputError, StoreError
from wavestream.engine.export_dicom import dicom_format
from wavestream.engine.export_files import FileFormat, write_files
from wavestream.engine.export_rasters import npy_format, png_format
from wavestream.engine.export_source import RESOLUTIONS as RESOLUTIONS
from wavestream.engine.export_source import ExportSource, digest_of
from wavestream.engine.export_zarr import write_zarr
from wavestream.engine.lock import exclusive
from wavestream.engine.store import EXPORT_ATTRIBUTE, HEADER_ATTRIBUTE, Store, open_store
from wavestream.engine.workers import usable_cpus

Format = Literal["zarr-zstd", "png", "npy", "dicom-j2k"]
FORMATS: tuple[str, ...] = get_args(Format)
PLAN_FILE = "export.json"
GUIDE = """\
An export that was stopped goes on when it is started again with the same arguments: what is complete is not
written again. Formats:

  zarr-zstd   a store of its own, with table, labels and split, for wavestream and for plain zarr-python
  png         images/000123.png, greyscale, 8 or 16 bits, and table.csv; PNG has no negative values, so where a
              store has any, the lowest that is possible is subtracted: `offset` in the table
  npy         images/000123.npy and table.csv
  dicom-j2k   images/000123.dcm (Secondary Capture, JPEG 2000 lossless) and table.csv; window, rescale and
              MONOCHROME1 as ingested, new UIDs, the store's salted hash as patient ID

table.csv holds sizes, labels, split, rescale, window and region of interest of each image; `wavestream ingest`
takes it as --labels.
"""
_BEGINNING = (f"{PLAN_FILE}.partial", "zarr.json.partial")  # left by a run that was killed as it began
_FILES: dict[str, Callable[[ExportSource], FileFormat]] = {
    "png": png_format,
    "npy": npy_format,
    "dicom-j2k": dicom_format,
}


@dataclass(frozen=True)
class ExportSummary:
    """What an export did; ``str()`` of it is for people.

    Attributes:
        out: the folder.
        format: what was written into it.
        images: images in it.
        written: how many of these were written by this call, and not by an earlier one that was stopped.
        bytes: of all files in the folder.
    """

    out: Path
    format: str
    images: int
    written: int
    bytes: int

    def __str__(self) -> str:
        earlier = self.images - self.written
        again = f", {earlier} of them were there already" if earlier else ""
        return f"{self.out}: {self.images} images as {self.format}{again}; {self.bytes:,} bytes"


def export(
    store: str | Path | Store,
    out: str | Path,
    *,
    format: Format,
    keep: float = 1.0,
    resolution: str = "full",
    jobs: int | None = None,
    progress: bool = True,
) -> ExportSummary:
    """Write the images of a store in a standard format: raw stored integers, each at its own size, no windowing.

    ``zarr-zstd`` is a store of its own; ``png``, ``npy`` and ``dicom-j2k`` are one file per image, and ``table.csv``.
    :data:`GUIDE` says more. An export that was stopped goes on when it is called again with the same arguments.

    Args:
        store: an opened store, or its path or URL.
        out: folder to write; new, empty, or an unfinished export of the same.
        format: one of :data:`FORMATS`.
        keep: fraction of each image's ``cdf53`` wavelet coefficients to keep, in (0, 1]; 1 is lossless.
        resolution: ``full``, ``1/2``, ``1/4`` or ``1/8`` of rows and columns, rounded up: the transform's low-pass.
            Needs a store of the layers codec.
        jobs: threads; None: one for each processor.
        progress: show a progress bar on standard error.

    Raises:
        InputError: an argument out of its range; ``out`` holds something else.
        StoreError: an image cannot be read (names it), or ``out`` cannot be written.
    """
    if format not in FORMATS:
        raise InputError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs: expected at least 1, got {jobs}")
    opened = store if isinstance(store, Store) else open_store(store)
    source = ExportSource(opened, keep, resolution)
    target = Path(os.path.abspath(out))
    _check_target(target, opened)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            written = _export(source, target, format, jobs or usable_cpus(), progress)
    except OSError as error:
        raise StoreError(f"{target}: {error}: export again when that is solved, it continues") from error
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    return ExportSummary(target, format, len(source), written, size)


def _export(source: ExportSource, target: Path, format: str, jobs: int, progress: bool) -> int:
    plan = {
        "format": format,
        "keep": source.keep,
        "resolution": source.resolution,
        "images": len(source),
        "source": digest_of(source.store),
    }
    begun = _begun(target, format)
    if begun is not None and begun != plan:
        changed = ", ".join(sorted(name for name in {*begun, *plan} if begun.get(name) != plan.get(name)))
        raise InputError(
            f"{target} was begun as another export; changed: {changed}. Choose another folder, or remove this one"
        )
    if format == "zarr-zstd":
        if begun is not None and _is_finished(target):
            return 0
        attributes = {EXPORT_ATTRIBUTE: plan}
        if begun is None:
            write_group(target, attributes)
        return write_zarr(source, target, attributes, jobs, progress)
    form = _FILES[format](source)
    if begun is None:
        target.mkdir(exist_ok=True)
        write_json(target / PLAN_FILE, plan)
    return write_files(source, form, target, jobs, progress)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the lock file beside a folder that is written; it is gone afterwards."""
    lock = target.with_name(target.name + ".lock")
    with exclusive(lock, str(target)):
        try:
            yield
        finally:
            lock.unlink()


def _check_target(target: Path, store: Store) -> None:
    if isinstance(store.folder, LocalFolder):
        source = Path(os.path.abspath(store.path))
        if target == source or source in target.parents or target in source.parents:
            raise InputError(f"{target} is the store, lies in it, or holds it: choose another folder for the export")
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file; expected a folder to write the export into")


def _begun(target: Path, format: str) -> dict[str, Any] | None:
    """The plan of the export that was begun in a folder; None where there is nothing yet."""
    if not target.exists():
        return None
    plan = _read_json(target / PLAN_FILE) or _read_json(target / "zarr.json").get("attributes", {}).get(
        EXPORT_ATTRIBUTE
    )
    there = sorted(path.name for path in target.iterdir() if path.name not in _BEGINNING)
    if there and not isinstance(plan, dict):
        raise InputError(
            f"{target} has something else in it ({there[0]}): expected a new or empty folder, or an unfinished export "
            f"as {format}; choose another folder"
        )
    return plan if isinstance(plan, dict) else None


def _is_finished(target: Path) -> bool:
    return HEADER_ATTRIBUTE in _read_json(target / "zarr.json").get("attributes", {})


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; nothing where there is no such file or it holds something else."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
