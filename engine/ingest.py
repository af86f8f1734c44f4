"""Ingest: DICOM, PNG, JPEG and NPY files, and a label CSV, become one store."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from wavestream.engine.decoding import scan
from wavestream.engine.errors import InputError, StoreError
from wavestream.engine.finishing import all_rejected, begin_store, finish_store, is_ours, split_sizes
from wavestream.engine.frame import Scan
from wavestream.engine.ingest_config import IngestConfig as IngestConfig
from wavestream.engine.ingest_summary import NOTE_TEXTS, IngestSummary, quarantined
from wavestream.engine.inventory import Inventory, nothing_stored, take_inventory
from wavestream.engine.journal import read_journal
from wavestream.engine.lock import exclusive
from wavestream.engine.manifest import Manifest
from wavestream.engine.rejection import Rejection
from wavestream.engine.schema import FORMAT_VERSION
from wavestream.engine.shard_ingest import ShardJob, write_shards
from wavestream.engine.sources import Sources, find_sources
from wavestream.engine.store import open_store
from wavestream.engine.workers import WorkerPool, usable_cpus

LOGGER = logging.getLogger("wavestream")


def ingest(
    source: str | Path | Sequence[str | Path],
    store: str | Path,
    labels: str | Path | None = None,
    *,
    config: IngestConfig | None = None,
    progress: bool = True,
) -> IngestSummary:
    """Make a store of image files and their labels.

    Every file is either stored or listed, with the reason, in ``<store>.manifest/quarantine.csv``. An ingest that was
    stopped, in whatever way, continues where it was when it is started again with the same input, and ends with the
    same bytes. One that is complete is left as it is.

    Args:
        source: a folder, a file, or a list of them.
        store: folder to write; ``<store>.manifest/`` beside it holds what is private: the salt of the patient hashes,
            and the paths of the files.
        labels: CSV with a row for each image file, or None.
        config: settings; None: the defaults.
        progress: show progress bars on standard error.

    Raises:
        InputError: sources, labels or settings that cannot be used, a store that is there already, no image at all.
        StoreError: the store cannot be written, or not be continued.
    """
    config = config or IngestConfig()
    target = Path(os.path.abspath(store))
    sources = find_sources(source, exclude=_not_inputs(target, labels))
    _check_target(target, sources)
    manifest = Manifest(target)
    with exclusive(manifest.lock_path, str(target)):
        try:
            return _ingest(sources, target, labels, config, manifest, progress)
        except OSError as error:
            raise StoreError(f"{target}: {error}: run ingest again when that is solved, it continues") from error
        finally:
            manifest.discard_if_unused()


def _ingest(
    sources: Sources,
    store: Path,
    labels: str | Path | None,
    config: IngestConfig,
    manifest: Manifest,
    progress: bool,
) -> IngestSummary:
    with WorkerPool(config.workers or usable_cpus(), config.limits) as pool:
        scans = _scan_all(sources, config, pool, progress)
        inventory = take_inventory(sources, scans, labels, config)
        for message in inventory.messages:
            LOGGER.warning(message)
        if config.overwrite:
            _remove(store, manifest)
        if _is_complete(store, manifest, _plan(sources, scans, inventory, labels, config)):
            return _summary_of(store, manifest, inventory)
        job = ShardJob(
            sources=sources,
            entries=inventory.entries,
            store=store,
            manifest=manifest,
            canvas=inventory.canvas,
            codec=config.pixel_codec,
            shard_images=config.shard_images,
            limits=config.limits,
        )
        images = sum(entry.frames for entry in inventory.entries)
        with tqdm(total=images, desc="storing", unit="image", disable=not progress) as bar:
            write_shards(job, pool, bar.update)
    journal = read_journal(manifest, config.pixel_codec)
    rejected = all_rejected(inventory, journal)
    manifest.write_quarantine((str(sources.path(index)), rejection) for index, rejection in rejected.items())
    if not len(journal.entry):
        _remove(store, manifest)
        raise InputError(nothing_stored(rejected.values(), len(sources.names)))
    manifest.write_inputs(
        (index, int(frame), str(sources.path(inventory.entries[entry].source)))
        for index, (entry, frame) in enumerate(zip(journal.entry, journal.frame, strict=True))
    )
    finish_store(store, inventory, journal, len(sources.names), manifest.salt(), config)
    return _summary_of(store, manifest, inventory)


def _not_inputs(store: Path, labels: str | Path | None) -> list[Path]:
    return [store, store.with_name(store.name + ".manifest"), *([] if labels is None else [Path(labels)])]


def _check_target(store: Path, sources: Sources) -> None:
    if store.exists() and not store.is_dir():
        raise InputError(f"{store} is a file; expected a folder to write the store into")
    inside = next((name for name in sources.names if store in (sources.root / name).parents), None)
    if inside is not None:
        raise InputError(f"the input file {inside} lies in {store}, where the store would be written")
    if store.is_dir() and any(store.iterdir()) and not is_ours(store):
        raise InputError(f"{store} is a folder with something else in it: choose another path for the store")


def _scan_all(sources: Sources, config: IngestConfig, pool: WorkerPool, progress: bool) -> list[Scan | Rejection]:
    tasks = ((sources.path(index), config.limits, config.pixel_codec) for index in range(len(sources.names)))
    bar = tqdm(
        pool.map(scan, tasks), total=len(sources.names), desc="reading headers", unit="file", disable=not progress
    )
    return list(bar)


def _plan(
    sources: Sources,
    scans: Sequence[Scan | Rejection],
    inventory: Inventory,
    labels: str | Path | None,
    config: IngestConfig,
) -> dict[str, Any]:
    """All that decides the bytes of the store, in a form that says what changed when it did."""
    files = hashlib.sha256()
    for index, found in enumerate(scans):
        status = os.stat(sources.path(index)) if isinstance(found, Scan) else None
        stamp = None if status is None else (status.st_size, status.st_mtime_ns)
        accepted = index not in inventory.rejected
        files.update(repr((sources.names[index], stamp, accepted)).encode("utf-8", "surrogateescape"))
    settings = asdict(config)
    for name in ("workers", "limits", "overwrite"):
        del settings[name]
    return {
        "format": FORMAT_VERSION,
        "input files": {"count": len(sources.names), "digest": files.hexdigest()},
        "label file": None if labels is None else hashlib.sha256(Path(labels).read_bytes()).hexdigest(),
        "canvas": [inventory.canvas.rows, inventory.canvas.cols, inventory.canvas.dtype],
        **{name: list(value) if isinstance(value, tuple | list) else value for name, value in settings.items()},
    }


def _is_complete(store: Path, manifest: Manifest, plan: dict[str, Any]) -> bool:
    """Whether the store was made by this very plan already; begins or continues it otherwise."""
    there = (store / "zarr.json").is_file()
    if not there:
        manifest.clear()
    begun = manifest.read_plan()
    if begun is None:
        if there:
            raise InputError(
                f"{store} is there already, and nothing beside it says how it was made: choose another path, or "
                "overwrite=True to replace it"
            )
        manifest.salt()
        manifest.write_plan(plan)
    elif begun != plan:
        changed = ", ".join(sorted(name for name in {*begun, *plan} if begun.get(name) != plan.get(name)))
        raise InputError(
            f"{store} was begun from something else; changed: {changed}. Choose another path, or overwrite=True to "
            "begin anew"
        )
    try:
        open_store(store)
    except StoreError:
        begin_store(store)
        return False
    return True


def _remove(store: Path, manifest: Manifest) -> None:
    manifest.clear()  # first: a journal without its shards would be continued
    if store.exists():
        shutil.rmtree(store)


def _summary_of(store: Path, manifest: Manifest, inventory: Inventory) -> IngestSummary:
    opened = open_store(store)
    counts = opened.header.summary
    return IngestSummary(
        store=store,
        stored=counts["stored"],
        files=counts["files"],
        quarantined=quarantined(counts),
        notes={note: counts[note] for note in NOTE_TEXTS if note in counts},
        splits=split_sizes(opened.table["split"]),
        quarantine_list=manifest.folder / "quarantine.csv",
        messages=tuple(inventory.messages),
    )
