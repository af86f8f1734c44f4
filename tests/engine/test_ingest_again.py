"""Ingest into a place where something is already: a store, another ingest, a user's work, or no room."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr

from wavestream.engine.errors import InputError, StoreError
from wavestream.engine.ingest import IngestConfig, IngestSummary, ingest
from wavestream.engine.lock import exclusive
from wavestream.engine.manifest import Manifest
from wavestream.engine.shards import ShardWriter

MakeStudy = Callable[..., Path]


def run(source: Path, store: Path, **settings: Any) -> IngestSummary:
    return ingest(source, store, config=IngestConfig(**{"workers": 1, **settings}), progress=False)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_complete_store_is_left_alone_and_another_plan_is_refused(tmp_path: Path, make_study: MakeStudy) -> None:
    study, store = make_study(5), tmp_path / "s.zarr"
    first = run(study, store, shard_images=2)
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    assert run(study, store, shard_images=2, workers=2) == first
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before
    with pytest.raises(InputError, match=r"begun from something else; changed: seed, shard_images\. .*overwrite=True"):
        run(study, store, shard_images=3, seed=1)
    make_study(6)
    with pytest.raises(InputError, match="changed: input files"):
        run(study, store, shard_images=2)
    salt = (tmp_path / "s.zarr.manifest/salt").read_text()
    assert run(study, store, shard_images=2, overwrite=True).stored == 6
    assert (tmp_path / "s.zarr.manifest/salt").read_text() == salt


def test_overwriting_needs_no_manifest_but_is_asked_for(tmp_path: Path, make_study: MakeStudy) -> None:
    study, store = make_study(2), tmp_path / "s.zarr"
    run(study, store)
    shutil.rmtree(tmp_path / "s.zarr.manifest")
    with pytest.raises(InputError, match="is there already"):
        run(study, store)
    assert run(study, store, overwrite=True).stored == 2


def test_a_lost_store_or_shard_is_made_again(tmp_path: Path, make_study: MakeStudy) -> None:
    study, store = make_study(7), tmp_path / "s.zarr"
    run(study, store, shard_images=2)
    whole = tree(store)
    shutil.rmtree(store)
    run(study, store, shard_images=2)
    assert tree(store) == whole
    shutil.rmtree(store)
    assert run(study, store, shard_images=3, seed=4).stored == 7  # nothing is left to be continued
    run(study, store, shard_images=2, overwrite=True)
    assert tree(store) == whole
    (store / "images/c/1/0/0").unlink()
    metadata = json.loads((store / "zarr.json").read_text())
    (store / "zarr.json").write_text(json.dumps({**metadata, "attributes": {}}))
    run(study, store, shard_images=2)
    assert tree(store) == whole


def test_folders_with_something_else_are_never_touched(tmp_path: Path, make_study: MakeStudy) -> None:
    study = make_study(2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    zarr.create_array(tmp_path / "theirs/measurements", shape=(2,), dtype="int8")
    zarr.open_group(tmp_path / "theirs", mode="a")
    for name, message in (("mine", "something else in it"), ("file", "is a file"), ("theirs", "something else in it")):
        with pytest.raises(InputError, match=message):
            run(study, tmp_path / name, overwrite=True)
    with pytest.raises(InputError, match="lies in"):
        run(study / "0.dcm", study, overwrite=True)
    assert (tmp_path / "mine/thesis.txt").exists()
    assert (tmp_path / "theirs/measurements").exists()
    assert sorted(path.name for path in study.iterdir()) == ["0.dcm", "1.dcm"]


def test_the_store_may_lie_among_its_inputs(tmp_path: Path, make_study: MakeStudy) -> None:
    study = make_study(3)
    summary = run(study, study / "s.zarr")
    assert (summary.stored, summary.files) == (3, 3)
    assert run(study, study / "s.zarr") == summary


def test_two_ingests_into_one_store_are_refused(tmp_path: Path, make_study: MakeStudy) -> None:
    study = make_study(1)
    (tmp_path / "s.zarr.manifest").mkdir()
    with exclusive(tmp_path / "s.zarr.manifest/lock", "x"), pytest.raises(InputError, match=r"another run .process"):
        run(study, tmp_path / "s.zarr")
    assert run(study, tmp_path / "s.zarr").stored == 1


def test_the_manifest_is_private(tmp_path: Path, make_study: MakeStudy) -> None:
    run(make_study(1), tmp_path / "s.zarr")
    assert (tmp_path / "s.zarr.manifest").stat().st_mode & 0o777 == 0o700
    assert sorted(os.listdir(tmp_path / "s.zarr.manifest")) == [
        *("inputs.csv", "journal", "lock", "plan.json", "quarantine.csv", "salt", "spool")
    ]
    assert os.listdir(tmp_path / "s.zarr.manifest/spool") == []


def test_file_names_that_are_not_utf8(tmp_path: Path, make_study: MakeStudy) -> None:
    study = make_study(1, PatientID="")
    (study / "0.dcm").rename(os.fsdecode(os.fsencode(study) + b"/\xff\xfe.dcm"))
    (study / os.fsdecode(b"\xe9.txt")).write_text("x")
    assert run(study, tmp_path / "s.zarr").stored == 1
    assert b"/\xff\xfe.dcm" in (tmp_path / "s.zarr.manifest/inputs.csv").read_bytes()
    assert b"/\xe9.txt" in (tmp_path / "s.zarr.manifest/quarantine.csv").read_bytes()


def test_a_full_disk_ends_the_ingest_and_blames_no_file(
    tmp_path: Path, make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(3)
    # No folder for the workers' chunks stands in for no room for them.
    monkeypatch.setattr(Manifest, "empty_spool", lambda manifest: manifest.folder / "gone")
    with pytest.raises(StoreError, match=r"gone cannot be written: No such file or directory: make room"):
        run(study, tmp_path / "s.zarr")
    monkeypatch.undo()

    def no_room(writer: ShardWriter) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ShardWriter, "finish", no_room)
    with pytest.raises(StoreError, match="No space left on device: run ingest again"):
        run(study, tmp_path / "s.zarr")
    monkeypatch.undo()
    assert run(study, tmp_path / "s.zarr").stored == 3
