"""Verify finds every kind of damage, names the images, and says nothing about sound stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from wavestream.engine.errors import StoreError
from wavestream.engine.ingest import IngestConfig, ingest
from wavestream.engine.shards import shard_path
from wavestream.engine.verify import verify

MakeStudy = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path, make_study: MakeStudy) -> Path:
    config = IngestConfig(shard_images=4, workers=1)
    ingest(make_study(10), tmp_path / "s.zarr", config=config, progress=False)
    return tmp_path / "s.zarr"


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def test_a_sound_store(store: Path) -> None:
    report = verify(store, progress=False)
    assert (report.ok, report.images, report.damaged, report.problems) == (True, 10, {}, ())
    assert str(report) == f"{store}: 10 images verified, nothing wrong"


def test_a_flipped_byte_in_any_chunk_is_found(store: Path) -> None:
    index = np.frombuffer(shard_path(store, 1).read_bytes()[-(16 * 4 + 4) : -4], "<u8").reshape(4, 2)
    for number, (offset, length) in enumerate(index.tolist()):
        for place in (0, length // 2, length - 1):
            flip(shard_path(store, 1), offset + place)
            assert set(verify(store, progress=False).damaged) == {4 + number}
            flip(shard_path(store, 1), offset + place)
    assert verify(store, progress=False).ok


@pytest.mark.parametrize("offset", [-1, -4, -5, -60])
def test_a_flipped_byte_in_an_index_condemns_its_shard(store: Path, offset: int) -> None:
    flip(shard_path(store, 2), offset)
    report = verify(store, progress=False)
    assert set(report.damaged) == {8, 9}
    assert "checksum" in report.damaged[8]
    assert "2 of 10 images damaged" in str(report)


def test_missing_and_short_shards(store: Path) -> None:
    shard_path(store, 0).unlink()
    shard_path(store, 1).write_bytes(shard_path(store, 1).read_bytes()[:-7])
    report = verify(store, progress=False)
    assert set(report.damaged) == set(range(8))
    assert "image 0:" in str(report)


def test_a_chunk_that_decodes_to_other_pixels_is_found(store: Path) -> None:
    images = zarr.open_array(store / "images", mode="r+")
    changed = images[:]
    changed[3, 0, 0] += 1
    changed[7, -1, -1] = 5  # on the canvas, outside the image
    images[:] = changed
    report = verify(store, progress=False)
    assert {index: what.split(" ")[0] for index, what in report.damaged.items()} == {3: "its", 7: "the"}


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("table/split", 9, "table/split holds codes outside its 4 categories"),
        ("table/rows", 99, "larger than the canvas of 11 x 7"),
        ("table/roi_cols", 8, "regions outside their images"),
        ("table/voi_function", 4, "table/voi_function holds codes outside"),
    ],
)
def test_impossible_values_in_the_table_are_found(store: Path, column: str, value: int, problem: str) -> None:
    zarr.open_array(store / column, mode="r+")[2] = value
    report = verify(store, progress=False)
    assert not report.ok
    assert problem in " ".join(report.problems)


def test_a_patient_in_two_parts_is_found(store: Path) -> None:
    split = zarr.open_array(store / "table/split", mode="r")[:]
    patient = zarr.open_array(store / "table/patient", mode="r+")
    other = int(np.flatnonzero(split != split[0])[0])
    patient[other] = patient[0]
    assert verify(store, progress=False).problems == ("1 patients are in more than one part of the split",)


def test_columns_of_the_wrong_length_and_unfinished_stores_raise(store: Path) -> None:
    zarr.create_array(store / "table/slope", shape=(3,), dtype="float64", overwrite=True)
    with pytest.raises(StoreError, match="table/slope is float64"):
        verify(store, progress=False)
    (store / "zarr.json").unlink()
    with pytest.raises(StoreError, match="did not finish"):
        verify(store, progress=False)
