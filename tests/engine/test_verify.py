"""Verify finds every kind of damage, names the images, and says nothing about sound stores."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr

from wavestream.engine.errors import StoreError
from wavestream.engine.ingest import IngestConfig, ingest
from wavestream.engine.layers import DEFAULT_FRACTIONS, decode_image, encode_image
from wavestream.engine.shards import read_shard_index, shard_path
from wavestream.engine.store import open_store
from wavestream.engine.verify import verify

MakeStudy = Callable[..., Path]
Span = tuple[int, int]
NOTHING = (2**64 - 1, 2**64 - 1)


@pytest.fixture(params=["layers", "zstd"])
def store(tmp_path: Path, make_study: MakeStudy, request: pytest.FixtureRequest) -> Path:
    return make_store(tmp_path, make_study, request.param)


@pytest.fixture
def layered(tmp_path: Path, make_study: MakeStudy) -> Path:
    return make_store(tmp_path, make_study, "layers")


def make_store(folder: Path, make_study: MakeStudy, codec: Any) -> Path:
    config = IngestConfig(shard_images=4, workers=1, codec=codec)
    ingest(make_study(10), folder / "s.zarr", config=config, progress=False)
    return folder / "s.zarr"


def take_apart(path: Path) -> tuple[bytes, list[Span]]:
    """The part of a shard of four that holds chunks, and offset and length of each."""
    spans = [(offset, length) for offset, length in read_shard_index(path, 4).tolist()]
    return path.read_bytes()[: -(16 * 4 + 4)], spans


def put_together(path: Path, content: bytes, spans: list[Span]) -> None:
    index = np.array(spans, "<u8").tobytes()
    path.write_bytes(content + index + google_crc32c.value(index).to_bytes(4, "little"))


def replace_chunk(store: Path, index: int, change: Callable[[bytes], bytes]) -> None:
    path = shard_path(store, index // 4)
    content, spans = take_apart(path)
    chunks = [b"" if span == NOTHING else content[span[0] : sum(span)] for span in spans]
    chunks[index % 4] = change(chunks[index % 4])
    starts = np.cumsum([0, *map(len, chunks)]).tolist()
    put_together(path, b"".join(chunks), [(start, len(chunk)) for start, chunk in zip(starts, chunks, strict=False)])


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


@pytest.mark.slow
def test_every_byte_of_a_shard_in_layers_is_looked_at(tmp_path: Path, make_study: MakeStudy) -> None:
    config = IngestConfig(shard_images=5, workers=1)
    ingest(make_study(3), tmp_path / "s.zarr", config=config, progress=False)
    shard = shard_path(tmp_path / "s.zarr", 0)
    spans = read_shard_index(shard, 5).tolist()[:3]
    for place in np.linspace(0, shard.stat().st_size - 1, 300).astype(int).tolist():
        flip(shard, place)
        here = {number for number, (offset, length) in enumerate(spans) if offset <= place < offset + length}
        assert set(verify(tmp_path / "s.zarr", progress=False).damaged) == (here or {0, 1, 2})
        flip(shard, place)
    assert verify(tmp_path / "s.zarr", progress=False).ok


def test_bytes_of_no_image_and_of_two_are_found(store: Path) -> None:
    content, spans = take_apart(shard_path(store, 1))
    (_, first), (second, length) = spans[:2]
    moved = [spans[0], *((offset + 3, size) for offset, size in spans[1:])]
    for changed, places, problem in [
        (content + b"??", spans, f"shard 1: bytes {len(content)} to {len(content) + 2} belong to no image"),
        (
            content[:first] + b"???" + content[first:],
            moved,
            f"shard 1: bytes {first} to {first + 3} belong to no image",
        ),
        (
            content[:second] + content[second + length :],
            [spans[0], spans[0], *((offset - length, size) for offset, size in spans[2:])],
            f"shard 1: bytes 0 to {first} belong to more than one image",
        ),
    ]:
        put_together(shard_path(store, 1), changed, places)
        report = verify(store, progress=False)
        assert not report.ok
        assert problem in report.problems


def test_an_index_that_lists_more_images_than_there_are_is_found(store: Path) -> None:
    content, spans = take_apart(shard_path(store, 2))
    put_together(shard_path(store, 2), content, [*spans[:2], (len(content), 0), spans[3]])
    assert verify(store, progress=False).problems == ("shard 2: its index lists images beyond the last of the store",)


def test_streams_of_other_pixels_are_found(layered: Path) -> None:
    header = open_store(layered).header
    replace_chunk(layered, 3, lambda chunk: encode_image(decode_image(chunk) ^ 1, (0, 4095)))
    assert header.layers == DEFAULT_FRACTIONS
    report = verify(layered, progress=False)
    assert report.damaged.keys() == {3}
    assert not report.problems


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda chunk: encode_image(decode_image(chunk)), r"expected value range \(0, 4095\).*got \(0, 65535\)"),
        (
            lambda chunk: encode_image(decode_image(chunk), (0, 4095), fractions=(0.5,)),
            r"expected layers \(0.0001, 0.001, 0.01, 0.1\).*got \(0.5,\)",
        ),
    ],
)
def test_streams_of_the_same_pixels_but_other_layers_are_found(
    layered: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    replace_chunk(layered, 6, change)
    ends = zarr.open_array(layered / "table/layer_ends", mode="r+")
    ends[6, -1, -1] = read_shard_index(shard_path(layered, 1), 4)[2, 1]
    report = verify(layered, progress=False)
    assert report.damaged.keys() == {6}
    assert re.search(said, report.damaged[6])


def test_bytes_after_a_stream_are_found(layered: Path) -> None:
    replace_chunk(layered, 6, lambda chunk: chunk + b"??")
    report = verify(layered, progress=False)
    assert report.damaged.keys() == {6}
    assert re.search(r"expected a .* of \d+ bytes.* of \d+", report.damaged[6])


def test_layer_ends_that_are_not_those_of_the_stream_are_found(layered: Path) -> None:
    ends = zarr.open_array(layered / "table/layer_ends", mode="r+")
    ends[8, 1, 0] += 1
    report = verify(layered, progress=False)
    assert report.damaged == {8: "table/layer_ends does not say where the segments of its stream end"}


def test_a_store_in_layers_that_zarr_python_wrote_is_sound(tmp_path: Path, write_store: Callable[..., Path]) -> None:
    images = [np.random.default_rng(number).integers(0, 99, (20, 30), np.uint8) for number in range(6)]
    images[4][...] = 0  # zarr-python writes no chunk of it
    store = write_store(tmp_path / "s.zarr", images, codec="layers", shard_images=4)
    assert str(verify(store, progress=False)) == f"{store}: 6 images verified, nothing wrong"
    zarr.open_array(store / "table/layer_ends", mode="r+")[4, 0, 0] = 7
    assert verify(store, progress=False).damaged.keys() == {4}


def test_canvases_of_other_pixels_are_found(tmp_path: Path, make_study: MakeStudy) -> None:
    store = make_store(tmp_path, make_study, "zstd")
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
