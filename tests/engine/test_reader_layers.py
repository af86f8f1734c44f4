"""Parts of layered images: pixels against the injection kernel, bytes against the table, damage by every byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from wavestream.engine.bytesource import LocalFile
from wavestream.engine.errors import InputError, StoreError
from wavestream.engine.layers import DEFAULT_FRACTIONS, decode_image, needed_ranges
from wavestream.engine.reader import Reader
from wavestream.engine.shards import read_shard_index, shard_path
from wavestream.engine.store import Store, open_store
from wavestream.kernels import inject
from wavestream.kernels.dwt import forward, inverse
from wavestream.kernels.layout import layout_of
from wavestream.kernels.select import kth_magnitude
from wavestream.kernels.threshold import hard_threshold
from wavestream.kernels.wavelets import default_levels

# The layers' own, between two of them, below the first and above the last.
KEEPS = (1.0, *DEFAULT_FRACTIONS, 0.05, 0.00005, 0.5)


def pixels_of(store: Path) -> NDArray[Any]:
    return np.asarray(zarr.open_array(store / "images", mode="r")[...])


def sizes_of(store: Store) -> NDArray[np.int64]:
    return np.column_stack([store.table["rows"], store.table["cols"]]).astype(np.int64)


def test_whole_images_equal_zarr_python(tiny_store: Path, layered_store: Path) -> None:
    oracle, order = pixels_of(tiny_store), np.random.default_rng(1).integers(0, 45, 100)
    for threads in (1, 4):
        reader = Reader(open_store(layered_store), threads)
        np.testing.assert_array_equal(reader.read(order), oracle[order])
        np.testing.assert_array_equal(reader.read([3, 4], [1.0, 1.0]), oracle[[3, 4]])
    assert reader.read([]).shape == (0, 64, 80)


def test_a_keep_reads_what_injecting_makes_of_the_whole_image(tiny_store: Path, layered_store: Path) -> None:
    store = open_store(layered_store)
    images, sizes = pixels_of(tiny_store), sizes_of(store)
    keep = np.resize(KEEPS, 45)
    expected = inject(images, keep, "cdf53", sizes=sizes, value_range=(0, 4095))
    np.testing.assert_array_equal(Reader(store, 3).read(range(45), keep), expected)
    assert not np.array_equal(expected, images)
    one = inject(images, 0.01, "cdf53", sizes=sizes, value_range=(0, 4095))
    np.testing.assert_array_equal(Reader(store, 1).read(range(45), 0.01), one)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
def test_every_dtype_of_hostile_sizes(write_store: Any, in_layers: Any, tmp_path: Path, dtype: str) -> None:
    random = np.random.default_rng(4)
    high = min(np.iinfo(dtype).max, 3000)
    shapes = [(1, 1), (1, 37), (41, 1), (13, 17), (33, 32)]
    images = [random.integers(0, high, shape, dtype, endpoint=True) for shape in shapes]
    store = write_store(tmp_path / "s.zarr", images, shard_images=2, value_low=0, value_high=high)
    layered = in_layers(store, tmp_path / "l.zarr", (0.02, 0.2))
    keep = [1.0, 0.2, 0.02, 0.1, 0.9]
    canvases, sizes = pixels_of(store), np.array(shapes)
    np.testing.assert_array_equal(Reader(open_store(layered), 2).read(range(5)), canvases)
    expected = inject(canvases, keep, "cdf53", sizes=sizes, value_range=(0, high))
    np.testing.assert_array_equal(Reader(open_store(layered), 2).read(range(5), keep), expected)


def low_pass(image: NDArray[Any], keep: float, reduction: int) -> NDArray[np.int64]:
    """The kept coefficients of the whole transform, inverted by ``reduction`` levels fewer, in 0 to 4095."""
    rows, cols = image.shape
    levels = default_levels(rows, cols, "cdf53")
    packed = forward(image[None], "cdf53", levels)
    threshold = kth_magnitude(packed, keep, (rows, cols), "cdf53", levels)
    kept = hard_threshold(packed, threshold, (rows, cols), "cdf53", levels)[0]
    height, width = layout_of(rows, cols, "cdf53", levels).low_shapes[reduction].tolist()
    start = kept[: height * width]
    if levels > reduction:
        start = inverse(start[None].copy(), (height, width), "cdf53", levels - reduction)
    return np.clip(start.reshape(height, width), 0, 4095)


@pytest.mark.parametrize("reduction", [1, 2, 3])
@pytest.mark.parametrize("keep", [1.0, 0.1, 0.03, 0.001])
def test_a_reduction_reads_the_low_pass(tiny_store: Path, layered_store: Path, reduction: int, keep: float) -> None:
    store, canvases = open_store(layered_store), pixels_of(tiny_store)
    found = Reader(store, 2).read(range(45), keep, reduction)
    assert found.shape == (45, -(-64 // 2**reduction), -(-80 // 2**reduction))
    for canvas, image, (rows, cols) in zip(found, canvases, sizes_of(store).tolist(), strict=True):
        expected = low_pass(image[:rows, :cols], keep, reduction)
        np.testing.assert_array_equal(canvas[: len(expected), : expected.shape[1]], expected)
        assert not canvas[len(expected) :].any()
        assert not canvas[:, expected.shape[1] :].any()


@pytest.mark.parametrize("reduction", [0, 1, 3])
@pytest.mark.parametrize("keep", KEEPS)
def test_exactly_the_needed_ranges_are_used_and_counted(
    layered_store: Path, monkeypatch: pytest.MonkeyPatch, reduction: int, keep: float
) -> None:
    store = open_store(layered_store)
    reader = Reader(store, 2)
    expected = reader.read(range(45), keep, reduction)
    asked: list[tuple[int, int]] = []
    whole_read = LocalFile.read

    def only_these(self: LocalFile, start: int, ranges: Any) -> memoryview:
        """Everything else is rubbish."""
        data = whole_read(self, start, [(0, ranges[-1][1])])
        spoilt = np.full(len(data), 0xA5, np.uint8)
        for low, high in ranges:
            spoilt[low:high] = np.frombuffer(data[low:high], np.uint8)
        asked.extend(ranges)
        return memoryview(spoilt)

    monkeypatch.setattr(LocalFile, "read", only_these)
    np.testing.assert_array_equal(reader.read(range(45), keep, reduction), expected)
    ends = store.table["layer_ends"]
    needed = [needed_ranges(ends[index], DEFAULT_FRACTIONS, keep, reduction) for index in range(45)]
    assert sorted(asked) == sorted(piece for ranges in needed for piece in ranges)
    count = sum(high - low for ranges in needed for low, high in ranges)
    assert reader.bytes_read == 2 * count
    whole = int(ends[:, -1, -1].sum())
    assert count == whole if keep == 0.5 or (keep == 1.0 and not reduction) else count < whole


def test_a_batch_counts_its_own_bytes(layered_store: Path) -> None:
    store = open_store(layered_store)
    ends = store.table["layer_ends"].astype(int)
    reader = Reader(store, 2)
    out = [np.empty((64, 80), np.uint16) for _ in range(4)]
    assert reader.read_into(out, [0, 3, 3, 44], [1.0, 0.1, 0.001, 0.01]) == sum(
        (ends[0, 4, 3], ends[3, 3, 3], ends[3, 1, 3], ends[44, 2, 3])
    )
    assert reader.read_into(out[:1], [9]) == ends[9, 4, 3]
    assert reader.read_into([], []) == 0


def test_used_memory_is_cleared_around_the_image(layered_store: Path, tiny_store: Path) -> None:
    for path in (layered_store, tiny_store):
        store = open_store(path)
        out = np.full((5, 62, 80), 7777, np.uint16)
        indices = np.flatnonzero(store.table["rows"] <= 60)[:5]
        np.testing.assert_array_equal(Reader(store, 2).read(indices, out=out), pixels_of(tiny_store)[indices, :62])


def test_arrays_as_large_as_their_images(layered_store: Path, tiny_store: Path) -> None:
    for path in (layered_store, tiny_store):
        reader = Reader(open_store(path), 2)
        for reduction in (0, 2) if path == layered_store else (0,):
            out = [np.full(size, 7, np.uint16) for size in reader.sizes(range(45), reduction)]
            reader.read_into(out, range(45), reduction=reduction)
            whole = reader.read(range(45), reduction=reduction)
            for image, canvas in zip(out, whole, strict=True):
                np.testing.assert_array_equal(image, canvas[: image.shape[0], : image.shape[1]])


def test_what_cannot_be_read_is_refused(
    layered_store: Path, tiny_store: Path, write_store: Any, in_layers: Any
) -> None:
    reader = Reader(open_store(layered_store), 1)
    for keep in (0.0, 1.5, [1.0, -0.1], np.nan):
        with pytest.raises(ValueError, match=r"keep must lie in \(0, 1\]"):
            reader.read([0, 1], keep)
    for reduction in (-1, 4, 0.5):
        with pytest.raises(ValueError, match="reduction must be a whole number from 0 to 3"):
            reader.read([0], reduction=reduction)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="out must be"):
        reader.read([0], reduction=1, out=np.empty((1, 64, 80), np.uint16))
    plain = Reader(open_store(tiny_store), 1)
    for part in ({"keep": 0.5}, {"keep": [1.0, 0.1]}, {"reduction": 1}):
        with pytest.raises(InputError, match=r"tiny\.zarr can be read whole only, as its codec is zstd: ingest again"):
            plain.read([0, 1], **part)  # type: ignore[arg-type]
    np.testing.assert_array_equal(plain.read([0, 1], keep=1.0), pixels_of(tiny_store)[:2])


def test_an_image_too_small_to_be_halved_so_often_is_named(write_store: Any, in_layers: Any, tmp_path: Path) -> None:
    images = [np.arange(rows, dtype=np.uint8)[:, None] for rows in (9, 4, 2, 1)]
    store = in_layers(write_store(tmp_path / "s.zarr", images), tmp_path / "l.zarr")
    reader = Reader(open_store(store), 1)
    for index, most in enumerate((3, 2, 1, 1)):
        for reduction in range(most + 1):
            found = reader.read([index], reduction=reduction)[0]
            expected = low_pass(images[index], 1.0, reduction)
            np.testing.assert_array_equal(found[: len(expected)], expected)
        for reduction in range(most + 1, 4):
            with pytest.raises(ValueError, match=rf"image {index} of \d+x1 pixels is too small for a reduction of"):
                reader.read([index], reduction=reduction)


def test_every_flipped_byte_is_found_where_it_is_read(write_store: Any, in_layers: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    row = np.arange(24)[:, None]
    images = [(80 + 60 * np.sin(row / 5) + 9 * random.random((24, 31))).astype(np.uint8) for _ in range(3)]
    store = in_layers(write_store(tmp_path / "s.zarr", images, shard_images=4), tmp_path / "l.zarr")
    file = shard_path(store, 0)
    sound, index = file.read_bytes(), read_shard_index(file, 4)[:3].astype(int)
    opened = open_store(store)
    ends = opened.table["layer_ends"]
    intact = Reader(opened, 1).read(range(3), 0.01, 1)
    for position in range(len(sound)):
        damaged = bytearray(sound)
        damaged[position] ^= 1 << int(random.integers(8))
        file.write_bytes(damaged)
        hit = [number for number, (start, size) in enumerate(index.tolist()) if start <= position < start + size]
        reader = Reader(opened, 1)
        with pytest.raises(StoreError, match=rf"image {hit[0] if hit else 0} \(shard 0, .*images/c/0/0/0.*verify"):
            reader.read(range(3))
        if hit:
            ranges = needed_ranges(ends[hit[0]], DEFAULT_FRACTIONS, 0.01, 1)
            if any(low <= position - index[hit[0], 0] < high for low, high in ranges):
                with pytest.raises(StoreError, match=rf"image {hit[0]} \(shard 0"):
                    reader.read(range(3), 0.01, 1)
            else:
                np.testing.assert_array_equal(reader.read(range(3), 0.01, 1), intact)
    file.write_bytes(sound)
    np.testing.assert_array_equal(Reader(opened, 1).read(range(3)), np.stack(images))


@pytest.fixture
def copy(layered_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(layered_store, tmp_path / "copy.zarr"))


@pytest.mark.parametrize(
    "change",
    [
        lambda codec: codec["configuration"].update(fractions=[0.001, 0.01]),
        lambda codec: codec["configuration"].update(fractions="all"),
        lambda codec: codec.pop("configuration"),
        lambda codec: codec.update(name="numcodecs.layers"),
        lambda codec: codec.update(name="zstd"),
    ],
)
def test_a_foreign_layout_is_refused(copy: Path, change: Any) -> None:
    file = copy / "images" / "zarr.json"
    value = json.loads(file.read_text())
    change(value["codecs"][0]["configuration"]["codecs"][0])
    file.write_text(json.dumps(value))
    with pytest.raises(StoreError, match=r"images/zarr\.json"):
        Reader(open_store(copy), 1)


def change_column(store: Path, name: str, change: Any) -> None:
    array = zarr.open_array(store / "table" / name, mode="r+")
    values = np.asarray(array[...])
    change(values)
    array[...] = values


def test_a_table_that_disagrees_with_the_chunks_is_damage(copy: Path) -> None:
    sizes = sizes_of(open_store(copy))
    change_column(copy, "layer_ends", lambda ends: ends.__setitem__((7, -1, -1), ends[7, -1, -1] + 1))
    with pytest.raises(StoreError, match=r"image 7 \(shard 0.*expected a chunk of \d+ bytes, as the table says, found"):
        Reader(open_store(copy), 1).read([6, 7])
    rows = int(sizes[9, 0])
    change_column(copy, "rows", lambda column: column.__setitem__(9, rows - 1))
    message = rf"image 9 \(shard 1.*expected {rows - 1}x{sizes[9, 1]} pixels of uint16.*found a stream of {rows}x"
    with pytest.raises(StoreError, match=message):
        Reader(open_store(copy), 1).read([9])
    change_column(copy, "cols", lambda column: column.__setitem__(12, 100))
    with pytest.raises(StoreError, match=r"image 12 \(shard 1.*expected \d+x100 pixels of uint16"):
        Reader(open_store(copy), 1).read([12])
    change_column(copy, "layer_ends", lambda ends: ends.__setitem__((11, 2, 1), 1))
    with pytest.raises(StoreError, match="image 11: its layers in table/layer_ends do not ascend"):
        Reader(open_store(copy), 1)


def test_an_image_larger_than_the_canvas_is_damage(write_store: Any, in_layers: Any, tmp_path: Path) -> None:
    plain = write_store(tmp_path / "s.zarr", [np.ones((9, 40), np.uint8), np.ones((20, 30), np.uint8)])
    store = in_layers(plain, tmp_path / "l.zarr")
    for name, canvas in (("zarr.json", [20, 30]), ("images/zarr.json", [20, 30])):
        text = json.loads((store / name).read_text())
        if name == "zarr.json":
            text["attributes"]["wavestream"]["canvas"] = canvas
        else:
            text["shape"][1:] = canvas
            text["chunk_grid"]["configuration"]["chunk_shape"][1:] = canvas
            text["codecs"][0]["configuration"]["chunk_shape"][1:] = canvas
        (store / name).write_text(json.dumps(text))
    reader = Reader(open_store(store), 1)
    assert reader.read([1])[0].all()
    with pytest.raises(StoreError, match=r"image 0 \(shard 0, .*: its 9x40 pixels do not fit onto the store's canvas"):
        reader.read([0])


def test_an_image_without_a_chunk_is_the_fill_value(copy: Path) -> None:
    file = shard_path(copy, 0)
    data = bytearray(file.read_bytes())
    index = read_shard_index(file, 8)
    index[3] = np.uint64(2**64 - 1)
    import google_crc32c

    table = index.astype("<u8").tobytes()
    file.write_bytes(bytes(data[: -len(table) - 4]) + table + google_crc32c.value(table).to_bytes(4, "little"))
    with pytest.raises(StoreError, match=r"image 3 .*expected a chunk of \d+ bytes, as the table says, found one of 0"):
        Reader(open_store(copy), 1).read([3])
    change_column(copy, "layer_ends", lambda ends: ends.__setitem__(3, 0))
    reader = Reader(open_store(copy), 1)
    assert not reader.read([3], 0.1, out=np.full((1, 64, 80), 9, np.uint16)).any()
    assert reader.bytes_read == 0


def test_the_stream_of_another_store_decodes_alone(layered_store: Path) -> None:
    """What the reader hands to the decoder is what the format says: a prefix of the image's own stream."""
    file, store = shard_path(layered_store, 0), open_store(layered_store)
    start, size = read_shard_index(file, 8)[2].astype(int).tolist()
    stream = file.read_bytes()[start : start + size]
    (stop,) = {high for _, high in needed_ranges(store.table["layer_ends"][2], DEFAULT_FRACTIONS, 0.001)}
    rows, cols = sizes_of(store)[2]
    found = Reader(store, 1).read([2], 0.001)[0, :rows, :cols]
    np.testing.assert_array_equal(found, decode_image(stream[:stop], 0.001))
