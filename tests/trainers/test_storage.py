"""Measured storage: every number against what an independent program makes of the same bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from PIL import Image

from wavestream.engine.errors import InputError, StoreError
from wavestream.engine.store import open_store
from wavestream.kernels import forward, hard_threshold, inject, inverse, kth_magnitude
from wavestream.trainers.filesize import SizeGuard, size_guard, stored_bytes
from wavestream.trainers.sparse import pack_sparse, unpack_sparse
from wavestream.trainers.storage import LevelStorage, encode_png, measure_storage, sample_indices

LEVELS = (1.0, 0.1, 0.01)


def zarr_chunk_lengths(store: Path) -> list[int]:
    """Bytes of each image as zarr-python's own sharding index decodes them, through a store that only it opens."""
    root = zarr.open_group(store, mode="r")
    array: Any = root["images"]
    per_shard = array.shards[0]
    lengths = []
    for index in range(array.shape[0]):
        raw = (store / "images" / "c" / str(index // per_shard) / "0" / "0").read_bytes()
        entry = raw[-(16 * per_shard + 4) :][16 * (index % per_shard) :][:16]
        lengths.append(int.from_bytes(entry[8:], "little"))
    return [0 if length == 2**64 - 1 else length for length in lengths]


@pytest.mark.parametrize("density", [0.0, 0.001, 0.3, 1.0])
def test_sparse_bytes_hold_the_coefficients(density: float) -> None:
    rng = np.random.default_rng(1)
    coefficients = rng.integers(-(2**20), 2**20, 5003).astype(np.int32)
    coefficients[rng.random(5003) >= density] = 0
    np.testing.assert_array_equal(unpack_sparse(pack_sparse(coefficients)), coefficients)
    extremes = np.array([0, -(2**31), 2**31 - 1, -1, 0, 1], np.int32)
    np.testing.assert_array_equal(unpack_sparse(pack_sparse(extremes)), extremes)


@pytest.mark.parametrize("keep", [0.1, 0.003])
def test_the_kept_coefficients_are_the_reconstruction(keep: float) -> None:
    """Unpacked and transformed back they give the image that ``inject`` gives: the bytes counted are the image."""
    image = np.random.default_rng(0).integers(0, 4096, (61, 47)).astype(np.uint16)
    coefficients = forward(image[None], "cdf53")
    threshold = kth_magnitude(coefficients, keep, image.shape, "cdf53")
    kept = hard_threshold(coefficients, threshold, image.shape, "cdf53")
    back = inverse(unpack_sparse(pack_sparse(kept[0]))[None], image.shape, "cdf53")
    expected = inject(image, keep, "cdf53", value_range=(0, 4095))
    np.testing.assert_array_equal(np.clip(np.asarray(back)[0], 0, 4095), expected)


def test_pillow_reads_the_png_that_is_counted() -> None:
    rng = np.random.default_rng(2)
    wide = rng.integers(0, 65536, (33, 21)).astype(np.uint16)
    signed = rng.integers(-1024, 3000, (33, 21)).astype(np.int16)
    narrow = rng.integers(0, 256, (33, 21)).astype(np.uint8)
    for pixels, low, high, shift in ((wide, 0, 65535, 0), (signed, -1024, 3000, 1024), (narrow, 0, 255, 0)):
        content = encode_png(pixels, low, high)
        assert content is not None
        with Image.open(io.BytesIO(content)) as image:
            assert image.format == "PNG"
            np.testing.assert_array_equal(np.asarray(image).astype(int), pixels.astype(int) + shift)
    assert encode_png(signed.astype(np.int32), -70000, 70000) is None


def test_the_lossless_level_costs_what_the_store_holds(tiny_store: Path) -> None:
    lossless, tenth, hundredth = measure_storage(tiny_store, LEVELS, progress=False)
    held = zarr_chunk_lengths(tiny_store)
    assert lossless.images == len(held) == 45
    # zarr-python's zstd and ours may be of different versions.
    assert lossless.zstd_bytes == pytest.approx(np.mean(held), rel=0.02)
    assert lossless.psnr_db == np.inf
    assert lossless.sparse_bytes > tenth.sparse_bytes > hundredth.sparse_bytes > 0
    assert lossless.png_bytes > hundredth.png_bytes
    assert np.inf > tenth.psnr_db > hundredth.psnr_db > 10
    store = open_store(tiny_store)
    assert lossless.pixels == np.mean(store.table["rows"] * store.table["cols"])
    assert lossless.raw_bytes == 2 * lossless.pixels
    assert tenth.bits_per_pixel == 8 * tenth.sparse_bytes / tenth.pixels


def test_measured_psnr_is_that_of_the_reconstructions(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    pixels: Any = zarr.open_array(tiny_store / "images", mode="r")[...]
    errors = []
    for image, rows, cols in zip(pixels, store.table["rows"], store.table["cols"], strict=True):
        original = np.ascontiguousarray(image[:rows, :cols])
        rebuilt = inject(original, 0.01, "cdf53", value_range=(0, 4095))
        errors.append(np.mean((rebuilt.astype(float) - original) ** 2))
    (row,) = measure_storage(tiny_store, (0.01,), progress=False)
    assert row.psnr_db == pytest.approx(10 * np.log10(4095**2 / np.mean(errors)))


def test_a_sample_is_drawn_by_seed_and_threads_do_not_matter(tiny_store: Path) -> None:
    one = measure_storage(tiny_store, LEVELS, sample=10, threads=1, progress=False)
    two = measure_storage(tiny_store, LEVELS, sample=10, threads=3, progress=False)
    assert one == two
    assert one[0].images == 10
    assert sample_indices(45, 10, 0).tolist() != sample_indices(45, 10, 1).tolist()
    assert len(set(sample_indices(45, 10, 0).tolist())) == 10
    assert sample_indices(45, 45, 0).tolist() == list(range(45))


def test_rows_survive_json(tiny_store: Path) -> None:
    rows = measure_storage(tiny_store, LEVELS, sample=3, progress=False)
    assert [LevelStorage.from_json(row.to_json()) for row in rows] == rows
    assert rows[0].to_json()["psnr_db"] is None


@pytest.mark.parametrize("options", [{"levels": (1.0, 0.0)}, {"levels": ()}, {"levels": (1.5,)}, {"sample": 0}])
def test_impossible_measurements_are_refused(tiny_store: Path, options: dict) -> None:
    with pytest.raises(InputError, match="levels in"):
        measure_storage(tiny_store, **options, progress=False)


def test_stored_bytes_are_those_of_the_shard_indexes(tiny_store: Path) -> None:
    assert stored_bytes(open_store(tiny_store)).tolist() == zarr_chunk_lengths(tiny_store)


def test_stored_bytes_name_a_missing_shard(write_store: Any, tmp_path: Path) -> None:
    images = [np.full((8, 8), value, np.uint8) for value in range(10)]
    store = write_store(tmp_path / "s.zarr", images, labels={"y": (np.arange(10) % 2, ("a", "b"))})
    (store / "images" / "c" / "1" / "0" / "0").unlink()
    with pytest.raises(StoreError, match=r"images/c/1/0/0.*verify"):
        stored_bytes(open_store(store))


def make_sized_store(write_store: Any, path: Path, telling: bool) -> Path:
    """40 images, half noise (large) and half flat (small); the label follows that, or does not."""
    rng = np.random.default_rng(0)
    noisy = np.arange(40) % 2 == 0
    images = [rng.integers(0, 4096 if loud else 3, (32, 32)).astype(np.uint16) for loud in noisy]
    label = ~noisy if telling else np.arange(40) // 2 % 2
    split = np.repeat([0, 2, 1], [20, 16, 4])
    return write_store(path, images, labels={"y": (label.astype(int), ("a", "b"))}, split=split)


def test_the_guard_sees_a_label_that_size_gives_away(write_store: Any, tmp_path: Path) -> None:
    guard = size_guard(open_store(make_sized_store(write_store, tmp_path / "a.zarr", telling=True)), "y")
    assert (guard.auc, guard.auc_everywhere, guard.images) == (1.0, 1.0, 16)
    assert "1.00" in guard.warning


def test_the_guard_is_silent_when_size_says_nothing(write_store: Any, tmp_path: Path) -> None:
    guard = size_guard(open_store(make_sized_store(write_store, tmp_path / "b.zarr", telling=False)), "y")
    assert guard.ci_low < 0.5 < guard.ci_high
    assert SizeGuard(0.55, 0.4, 0.7, 0.58, 16).warning == ""
    assert SizeGuard(0.61, 0.5, 0.7, 0.5, 16).warning
