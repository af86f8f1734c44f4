"""The private folder beside a store: what must survive an interrupted ingest, and what must never be in the store."""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wavestream.engine.durable import write_durably, write_json
from wavestream.engine.errors import StoreError
from wavestream.engine.rejection import Rejection


class Manifest:
    """The manifest ``<store>.manifest/`` of a store, readable by its owner only.

    Files::

        lock             held while an ingest runs
        salt             secret of the patient hashes; kept when a store is made again
        plan.json        what the ingest was asked to do; it is only continued with the same plan
        journal/<n>.json table rows and quarantined files up to the end of shard n
        spool/           chunks on their way from the workers to a shard
        inputs.csv       index -> input path and frame
        quarantine.csv   input path -> reason

    Args:
        store: path of the store.
    """

    def __init__(self, store: Path) -> None:
        self.folder = store.with_name(store.name + ".manifest")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(self.folder, 0o700)

    @property
    def lock_path(self) -> Path:
        """The file to lock."""
        return self.folder / "lock"

    def salt(self) -> bytes:
        """The secret of the patient hashes, made on first use."""
        path = self.folder / "salt"
        if not path.exists():
            write_durably(path, secrets.token_hex(32).encode())
        return bytes.fromhex(path.read_text(encoding="ascii"))

    def read_plan(self) -> dict[str, Any] | None:
        """The plan of the ingest that was begun here, or None."""
        path = self.folder / "plan.json"
        return _read_json(path) if path.exists() else None

    def write_plan(self, plan: dict[str, Any]) -> None:
        """Begin: keep the plan."""
        write_json(self.folder / "plan.json", plan)

    def count_parts(self) -> int:
        """How many parts the journal has."""
        return len(list(self._journal.glob("*.json")))

    def read_part(self, number: int) -> dict[str, Any]:
        """One part of the journal."""
        return _read_json(self._journal / f"{number}.json")

    def write_part(self, number: int, part: dict[str, Any]) -> None:
        """Add a part to the journal, after its shard is complete."""
        self._journal.mkdir(exist_ok=True)
        write_json(self._journal / f"{number}.json", part)

    def truncate_journal(self, count: int) -> None:
        """Forget all parts from number ``count`` on, the last one first."""
        for number in range(self.count_parts() - 1, count - 1, -1):
            (self._journal / f"{number}.json").unlink()

    def empty_spool(self) -> Path:
        """A fresh folder for chunks on their way; leftovers of a killed ingest are removed."""
        spool = self.folder / "spool"
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir()
        return spool

    def write_inputs(self, rows: Iterable[tuple[int, int, str]]) -> None:
        """Write ``inputs.csv`` from (index, frame, path)."""
        self._write_csv("inputs.csv", ("index", "frame", "path"), rows)

    def write_quarantine(self, rows: Iterable[tuple[str, Rejection]]) -> None:
        """Write ``quarantine.csv`` from (path, rejection)."""
        flat = ((path, str(rejection.reason), rejection.detail) for path, rejection in rows)
        self._write_csv("quarantine.csv", ("path", "reason", "detail"), flat)

    def discard_if_unused(self) -> None:
        """Remove the folder where nothing was begun in it."""
        if not any(path.name != "lock" for path in self.folder.iterdir()):
            shutil.rmtree(self.folder)

    def clear(self) -> None:
        """Forget everything but the salt, so that patients keep their hashes, and the lock."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in ("lock", "salt"):
                path.unlink()

    @property
    def _journal(self) -> Path:
        return self.folder / "journal"

    def _write_csv(self, name: str, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        # Names of files are bytes; those that are not UTF-8 come back as they were.
        write_durably(self.folder / name, text.getvalue().encode("utf-8", "surrogateescape"))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}): run ingest with overwrite to begin anew") from None
    if not isinstance(value, dict):
        raise StoreError(f"{path} is not a wavestream manifest: run ingest with overwrite to begin anew")
    return value
