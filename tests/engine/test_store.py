"""open_store: what it reads, and what it says of stores that are missing, unfinished, foreign, newer or damaged."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from wavestream.engine.errors import InputError, StoreError
from wavestream.engine.schema import TABLE
from wavestream.engine.store import open_store


@pytest.fixture
def copy(tiny_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_store, tmp_path / "copy.zarr"))


def edit_json(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def test_table_and_labels_equal_what_zarr_reads(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    root = zarr.open_group(tiny_store, mode="r")
    assert set(store.table) == set(TABLE)
    for name in TABLE:
        np.testing.assert_array_equal(store.table[name], root[f"table/{name}"][...])
    np.testing.assert_array_equal(store.labels["sex"], root["labels/sex"][...])
    assert len(store) == 45
    assert list(store.labels) == ["sex"]


def test_stores_of_format_1_have_no_layers_and_those_of_format_2_say_theirs(write_store: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    images = [random.integers(0, 99, (9, 11), np.uint8) for _ in range(3)]
    old = open_store(write_store(tmp_path / "old.zarr", images))
    assert (old.header.format, old.header.codec, old.header.layers, set(old.table)) == (1, "zstd", (), set(TABLE))
    new = open_store(write_store(tmp_path / "new.zarr", images, codec="layers", fractions=(0.01, 0.5)))
    assert (new.header.format, new.header.codec, new.header.layers) == (2, "layers", (0.01, 0.5))
    assert set(new.table) == {*TABLE, "layer_ends"}
    ends = new.table["layer_ends"]
    assert (ends.shape, ends.dtype) == ((3, 3, 4), np.uint32)
    np.testing.assert_array_equal(ends, zarr.open_array(tmp_path / "new.zarr/table/layer_ends", mode="r")[...])
    assert (np.diff(ends.reshape(3, -1).astype(int), axis=1) >= 0).all()
    zarr.create_array(tmp_path / "new.zarr/table/layer_ends", data=ends[:, :2], overwrite=True)
    with pytest.raises(StoreError, match=r"table/layer_ends is uint32 \(3, 2, 4\), expected uint32 \(3, 3, 4\)"):
        open_store(tmp_path / "new.zarr").table["layer_ends"]


def test_splits_cover_the_store_once(tiny_store: Path) -> None:
    store = open_store(str(tiny_store))
    parts = [store.split_indices(split) for split in ("train", "val", "test", "none")]
    assert [part.size for part in parts] == [27, 9, 9, 0]
    assert sorted(np.concatenate(parts)) == list(range(45))
    with pytest.raises(InputError, match=r"train, val, test, none.*'dev'"):
        store.split_indices("dev")


def test_target_gives_codes_and_categories(write_store: Any, tmp_path: Path) -> None:
    images = [np.ones((8, 8), np.uint8)] * 3
    labels = {"stage": ([1, -1, 0], ("I", "II")), "age": ([50.0, np.nan, 61.5], None)}
    store = open_store(write_store(tmp_path / "s.zarr", images, labels=labels))
    codes, categories = store.target("stage")
    assert codes.dtype == np.int64
    assert codes.tolist() == [1, -1, 0]
    assert categories == ("I", "II")
    assert store.categories("age") is None
    np.testing.assert_array_equal(store.labels["age"], [50.0, np.nan, 61.5])
    with pytest.raises(InputError, match="numeric column 'age'"):
        store.target("age")
    with pytest.raises(InputError, match=r"no label column 'sex'.*age, stage"):
        store.target("sex")


def test_codes_outside_the_categories_are_damage(write_store: Any, tmp_path: Path) -> None:
    labels = {"stage": ([2, 0], ("I", "II"))}
    store = open_store(write_store(tmp_path / "s.zarr", [np.ones((8, 8), np.uint8)] * 2, labels=labels))
    with pytest.raises(StoreError, match="outside its 2 categories"):
        store.target("stage")


def test_a_store_pickles_as_its_path(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    again = pickle.loads(pickle.dumps(store))
    assert again.header == store.header
    np.testing.assert_array_equal(again.table["rows"], store.table["rows"])
    assert len(pickle.dumps(store)) < 1000


def test_missing_and_foreign_folders(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        open_store(tmp_path / "nothing.zarr")
    with pytest.raises(StoreError, match=r"not a wavestream store: it has no zarr\.json"):
        open_store(tmp_path)
    zarr.open_group(tmp_path / "foreign.zarr", mode="w").attrs["spam"] = 1
    with pytest.raises(StoreError, match="not a wavestream store: expected the attribute"):
        open_store(tmp_path / "foreign.zarr")
    zarr.create_array(tmp_path / "array.zarr", shape=(3,), dtype="u1")
    with pytest.raises(StoreError, match="expected a Zarr v3 group"):
        open_store(tmp_path / "array.zarr")


def test_an_unfinished_ingest_asks_for_ingest_again(copy: Path, tmp_path: Path) -> None:
    edit_json(copy / "zarr.json", lambda value: value["attributes"].pop("wavestream"))
    with pytest.raises(StoreError, match="run ingest again"):
        open_store(copy)
    (tmp_path / "early.zarr").mkdir()
    (tmp_path / "early.zarr.manifest").mkdir()
    with pytest.raises(StoreError, match="run ingest again"):
        open_store(tmp_path / "early.zarr")


def test_a_newer_format_asks_for_a_newer_version(copy: Path) -> None:
    edit_json(copy / "zarr.json", lambda value: value["attributes"].update(wavestream={"format": 3, "new": 1}))
    with pytest.raises(StoreError, match=r"format 3, this version reads up to 2: install a newer wavestream"):
        open_store(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.pop("canvas"),
        lambda header: header.update(canvas=3),
        lambda header: header.update(dtype="float32"),
        lambda header: header.update(count="many"),
        lambda header: header.update(format="1"),
        lambda header: header.update(codec="jpeg"),
        lambda header: header.update(layers=[0.1, 0.01]),
    ],
)
def test_a_damaged_header_is_named(copy: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    edit_json(copy / "zarr.json", lambda value: change(value["attributes"]["wavestream"]))
    with pytest.raises(StoreError, match="damaged header"):
        open_store(copy)


def test_damaged_metadata_and_columns_are_named(copy: Path) -> None:
    store = open_store(copy)
    shutil.rmtree(copy / "table" / "rows")
    edit_json(copy / "table" / "cols" / "zarr.json", lambda value: value.update(shape=[44]))
    with pytest.raises(StoreError, match="table/rows is missing or damaged"):
        store.table["rows"]
    with pytest.raises(StoreError, match=r"table/cols is int32 \(44,\), expected int32 \(45,\)"):
        store.table["cols"]
    (copy / "zarr.json").write_text('{"zarr_format": 3,')
    with pytest.raises(StoreError, match="the store is damaged"):
        open_store(copy)
