"""Shards, read back by zarr-python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from numcodecs.zstd import Zstd
from zarr.codecs import ZstdCodec

from wavestream.engine.errors import StoreError
from wavestream.engine.shards import NO_CHUNK, ShardWriter, read_shard_index, shard_path

RANDOM = np.random.default_rng(2)


def write(store: Path, images: np.ndarray, capacity: int) -> None:
    codec = Zstd(level=3)
    for number in range(0, len(images), capacity):
        writer = ShardWriter(shard_path(store, number // capacity), capacity)
        for image in images[number : number + capacity]:
            writer.append(codec.encode(np.ascontiguousarray(image)))
        writer.finish()


def declare(store: Path, images: np.ndarray, capacity: int) -> zarr.Array:
    return zarr.create_array(
        store / "images",
        shape=images.shape,
        chunks=(1, *images.shape[1:]),
        shards=(capacity, *images.shape[1:]),
        dtype=images.dtype,
        compressors=ZstdCodec(level=3),
        filters=None,
        fill_value=0,
    )


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32"])
@pytest.mark.parametrize(("count", "capacity"), [(1, 1), (7, 3), (6, 3), (2, 256)])
def test_zarr_reads_what_was_written(tmp_path: Path, dtype: str, count: int, capacity: int) -> None:
    info = np.iinfo(dtype)
    images = RANDOM.integers(info.min, info.max, (count, 5, 7), dtype=dtype, endpoint=True)
    images[0] = 0  # an empty image is a chunk like any other
    write(tmp_path, images, capacity)
    array = declare(tmp_path, images, capacity)
    np.testing.assert_array_equal(array[:], images)
    np.testing.assert_array_equal(array[count - 1], images[-1])


def test_bytes_are_those_that_zarr_itself_writes(tmp_path: Path) -> None:
    images = RANDOM.integers(1, 4096, (5, 6, 4), dtype=np.uint16)
    write(tmp_path / "ours", images, 5)
    declare(tmp_path / "theirs", images, 5)[:] = images
    ours, theirs = (shard_path(tmp_path / who, 0).read_bytes() for who in ("ours", "theirs"))
    assert ours == theirs


def test_the_index_is_read_as_zarr_wrote_it(tmp_path: Path) -> None:
    images = RANDOM.integers(1, 4096, (5, 6, 4), dtype=np.uint16)
    images[1] = 0  # zarr writes no chunk of fill values
    declare(tmp_path, images, 8)[:] = images
    index = read_shard_index(shard_path(tmp_path, 0), 8)
    assert (index.shape, index.dtype) == ((8, 2), np.uint64)
    assert (index == NO_CHUNK).all(axis=1).tolist() == [False, True, False, False, False, True, True, True]
    shard = shard_path(tmp_path, 0).read_bytes()
    for number in (0, 2, 3, 4):
        offset, length = index[number].tolist()
        assert Zstd().decode(shard[offset : offset + length]) == images[number].tobytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda shard: shard[:-1] + b"?", "checksum of the shard's index is wrong"),
        (lambda shard: shard[:-20] + b"?" + shard[-19:], "checksum of the shard's index is wrong"),
        (lambda shard: shard[-35:], r"expected an index of 36 bytes, got a shard of 35 bytes"),
        (lambda shard: shard[-36:], "points outside the shard"),
    ],
)
def test_a_damaged_index_is_named(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    writer = ShardWriter(shard_path(tmp_path, 0), 2)
    writer.append(b"one")
    writer.finish()
    assert read_shard_index(shard_path(tmp_path, 0), 2)[0].tolist() == [0, 3]
    shard_path(tmp_path, 0).write_bytes(damage(shard_path(tmp_path, 0).read_bytes()))
    with pytest.raises(StoreError, match=f"images/c/0/0/0.*{message}"):
        read_shard_index(shard_path(tmp_path, 0), 2)
    with pytest.raises(StoreError, match="cannot be read"):
        read_shard_index(shard_path(tmp_path, 1), 2)


def test_a_shard_appears_only_when_it_is_finished(tmp_path: Path) -> None:
    path = shard_path(tmp_path, 0)
    writer = ShardWriter(path, 2)
    writer.append(b"one")
    assert not writer.full
    writer.append(b"two")
    assert (writer.full, path.exists()) == (True, False)
    writer.finish()
    assert path.read_bytes().startswith(b"onetwo")
    given_up = ShardWriter(shard_path(tmp_path, 1), 2)
    given_up.append(b"one")
    given_up.close()
    assert [file.name for file in (tmp_path / "images/c").rglob("*") if file.is_file()] == ["0"]
