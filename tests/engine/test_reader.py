"""Reader against zarr-python, and on damaged shards, threads, forks and pickles."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr

from wavestream.engine.errors import StoreError
from wavestream.engine.reader import Reader
from wavestream.engine.store import open_store


@pytest.fixture
def copy(tiny_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_store, tmp_path / "copy.zarr"))


def shard_file(store: Path, number: int) -> Path:
    return store / "images" / "c" / str(number) / "0" / "0"


@pytest.mark.parametrize("threads", [1, 4])
def test_equals_zarr_python_in_any_order(tiny_store: Path, threads: int) -> None:
    oracle = zarr.open_array(tiny_store / "images", mode="r")[...]
    reader = Reader(open_store(tiny_store), threads)
    order = np.random.default_rng(1).integers(0, 45, 100)
    np.testing.assert_array_equal(reader.read(order), oracle[order])
    np.testing.assert_array_equal(reader.read(range(45)), oracle)
    assert reader.read([]).shape == (0, 64, 80)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
def test_every_dtype_and_one_image_shards(write_store: Any, tmp_path: Path, dtype: str) -> None:
    limits = np.iinfo(dtype)
    random = np.random.default_rng(2)
    images = [random.integers(limits.min, limits.max, (5, 7), dtype, endpoint=True) for _ in range(3)]
    path = write_store(tmp_path / "s.zarr", images, shard_images=1)
    read = Reader(open_store(path), 2).read([2, 0, 1])
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, np.stack(images)[[2, 0, 1]])


def test_big_endian_pixels_are_swapped(tmp_path: Path, write_store: Any) -> None:
    images = [np.arange(40, dtype=np.uint16).reshape(5, 8)] * 2
    path = write_store(tmp_path / "s.zarr", images)
    shutil.rmtree(path / "images")
    codec = zarr.codecs.BytesCodec(endian="big")
    options: dict[str, Any] = {"chunks": (1, 5, 8), "shards": (8, 5, 8), "serializer": codec}
    options["compressors"] = [zarr.codecs.ZstdCodec(level=3, checksum=False)]
    array = zarr.create_array(path / "images", shape=(2, 5, 8), dtype="uint16", fill_value=0, **options)
    array[...] = np.stack(images)
    np.testing.assert_array_equal(Reader(open_store(path)).read([1, 0]), np.stack(images))


def test_a_missing_chunk_is_the_fill_value(tiny_store: Path) -> None:
    reader = Reader(open_store(tiny_store), 1)
    out = np.full((1, 64, 80), 77, np.uint16)
    assert reader.read([5], out=out) is out
    assert not out.any()
    assert reader.bytes_read == 0


def test_bytes_read_counts_the_chunks(tiny_store: Path) -> None:
    file = shard_file(tiny_store, 0)
    index = np.frombuffer(file.read_bytes()[-(16 * 8 + 4) : -4], "<u8").reshape(8, 2)
    reader = Reader(open_store(tiny_store), 2)
    reader.read([0, 3, 3])
    assert reader.bytes_read == index[0, 1] + 2 * index[3, 1]


def test_out_must_fit(tiny_store: Path) -> None:
    reader = Reader(open_store(tiny_store), 1)
    for out in (
        np.empty((2, 64, 80), np.int16),
        np.empty((1, 64, 80), np.uint16),
        np.empty((2, 64, 160), "u2")[..., ::2],
        np.empty((2, 63, 80), np.uint16),
        np.empty((2, 64, 81), np.uint16),
        np.empty((2, 64), np.uint16),
    ):
        with pytest.raises(ValueError, match="out must "):
            reader.read([0, 1], out=out)
    for indices in ([45], [-1, 3]):
        with pytest.raises(IndexError, match=r"must lie in \[0, 45\)"):
            reader.read(indices)


def flip_byte(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 0xFF
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: flip_byte(file, -10), "checksum of the shard's index is wrong"),
        (lambda file: flip_byte(file, -1), "checksum of the shard's index is wrong"),
        (lambda file: flip_byte(file, 0), "cannot be decoded"),
        (lambda file: file.unlink(), "shard file is missing"),
        (lambda file: file.write_bytes(b""), "has 0 bytes, too few for its index"),
        (lambda file: file.write_bytes(file.read_bytes()[-20:]), "has 20 bytes, too few for its index"),
        (lambda file: file.write_bytes(file.read_bytes()[-132:]), "lie beyond the end of the file"),
    ],
)
def test_damage_names_image_and_shard(copy: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(shard_file(copy, 2))
    reader = Reader(open_store(copy), 2)
    reader.read([0, 44])
    with pytest.raises(StoreError, match=rf"image 16 \(shard 2, .*{message}.*verify"):
        reader.read([16])


@pytest.mark.parametrize("entry", [(0, 2**63), (2**64 - 2, 40), (2**63, 2**63), (2**62, 1), (1, 2**64 - 1)])
def test_an_index_that_points_anywhere_is_damage(copy: Path, entry: tuple[int, int]) -> None:
    file = shard_file(copy, 0)
    data = file.read_bytes()
    index = np.frombuffer(data[-132:-4], "<u8").reshape(8, 2).copy()
    index[2] = entry
    checksum = google_crc32c.value(index.tobytes()).to_bytes(4, "little")
    file.write_bytes(data[:-132] + index.tobytes() + checksum)
    reader = Reader(open_store(copy), 1)
    reader.read([1, 3])
    with pytest.raises(StoreError, match=r"image 2 \(shard 0, .*lie beyond the end of the file of \d+; run"):
        reader.read([2])


def test_a_short_payload_is_damage(write_store: Any, tmp_path: Path) -> None:
    path = write_store(tmp_path / "s.zarr", [np.ones((4, 4), np.uint16)])
    file = path / "images" / "zarr.json"
    value = json.loads(file.read_text())
    value["shape"] = [1, 4, 5]
    value["chunk_grid"]["configuration"]["chunk_shape"] = [8, 4, 5]
    value["codecs"][0]["configuration"]["chunk_shape"] = [1, 4, 5]
    file.write_text(json.dumps(value))
    header = json.loads((path / "zarr.json").read_text())
    header["attributes"]["wavestream"]["canvas"] = [4, 5]
    (path / "zarr.json").write_text(json.dumps(header))
    with pytest.raises(StoreError, match="decode to fewer than 40 bytes"):
        Reader(open_store(path)).read([0])


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value["codecs"][0]["configuration"].update(index_location="start"),
        lambda value: value["codecs"][0]["configuration"]["codecs"].pop(),
        lambda value: value.update(codecs=[]),
        lambda value: value.update(data_type="int16"),
        lambda value: value["shape"].__setitem__(0, 46),
        lambda value: value.pop("chunk_grid"),
    ],
)
def test_a_foreign_layout_is_refused(copy: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    file = copy / "images" / "zarr.json"
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))
    with pytest.raises(StoreError, match=r"images/zarr\.json"):
        Reader(open_store(copy))


def test_many_threads_may_share_a_reader(tiny_store: Path) -> None:
    oracle = zarr.open_array(tiny_store / "images", mode="r")[...]
    reader = Reader(open_store(tiny_store), 2)
    with ThreadPoolExecutor(8) as pool:
        orders = [np.random.default_rng(seed).integers(0, 45, 20) for seed in range(32)]
        for order, read in zip(orders, pool.map(reader.read, orders), strict=True):
            np.testing.assert_array_equal(read, oracle[order])
    single = Reader(open_store(tiny_store), 1)
    single.read(np.concatenate(orders))
    assert reader.bytes_read == single.bytes_read


def test_reads_after_a_fork(tiny_store: Path) -> None:
    reader = Reader(open_store(tiny_store), 2)
    expected = reader.read([1, 2, 44])

    def child(answers: Any) -> None:
        answers.put(reader.read([1, 2, 44]))

    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=child, args=(answers,))
    process.start()
    np.testing.assert_array_equal(answers.get(timeout=60), expected)
    process.join(60)
    assert process.exitcode == 0


def test_pickles_to_another_process(tiny_store: Path, tmp_path: Path) -> None:
    reader = Reader(open_store(tiny_store), 2)
    expected = reader.read([1, 2, 44])
    (tmp_path / "reader.pickle").write_bytes(pickle.dumps(reader))
    program = """import pickle, sys, numpy
reader = pickle.load(open(sys.argv[1], "rb"))
numpy.save(sys.argv[2], reader.read([1, 2, 44]))"""
    subprocess.run([sys.executable, "-c", program, tmp_path / "reader.pickle", tmp_path / "read.npy"], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "read.npy"), expected)


def test_close_and_garbage_collection_leave_no_threads(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    before = threading.active_count()
    reader = Reader(store, 3)
    reader.read(range(10))
    assert threading.active_count() > before
    reader.close()
    assert threading.active_count() == before
    np.testing.assert_array_equal(reader.read([3]), Reader(store, 1).read([3]))
