"""Fixtures shared by every suite."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from wavestream.bindings.zarr_codec import LayersCodec
from wavestream.engine.image_metadata import image_metadata
from wavestream.engine.layers import DEFAULT_FRACTIONS, encode_image, segment_ends
from wavestream.engine.pixel_codecs import Canvas, PixelCodec
from wavestream.engine.schema import SPLITS, VOI_FUNCTIONS, StoreHeader
from wavestream.engine.shards import NO_CHUNK, ShardWriter, read_shard_index, shard_path
from wavestream.engine.store import open_store

StoreWriter = Callable[..., Path]

DATA_FOLDERS = (os.environ.get("WAVESTREAM_DATA"), str(Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def medical_data() -> Path:
    """The folder of real medical images, or a skip that says how to provide one."""
    for folder in DATA_FOLDERS:
        if folder and (Path(folder) / "README.md").is_file():
            return Path(folder)
    pytest.skip("no real medical images: set WAVESTREAM_DATA to a folder with nih_cxr/ and dicom_torture/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked gpu where no CUDA device answers."""
    if any("gpu" in item.keywords for item in items):
        import torch

        if not torch.cuda.is_available():
            skip = pytest.mark.skip(reason="no CUDA device here")
            for item in items:
                if "gpu" in item.keywords:
                    item.add_marker(skip)


def write_store_with_zarr(
    path: Path,
    images: Sequence[np.ndarray],
    *,
    labels: dict[str, tuple[Any, Sequence[str] | None]] | None = None,
    shard_images: int = 8,
    codec: str = "zstd",
    fractions: tuple[float, ...] = DEFAULT_FRACTIONS,
    **columns: Any,
) -> Path:
    """Write a finished store by means of zarr-python alone, so that it is an oracle for our own reader.

    ``images``: 2-D integer arrays of one dtype. ``codec``: ``"zstd"``, a store of format 1; or ``"layers"``, one of
    format 2 with these ``fractions``, in which a stream is of the whole canvas, because zarr-python knows no smaller
    images, and an image of zeros has no chunk. ``columns``: table columns by name that differ from the defaults (whole
    image as ROI, slope 1, FULL_RANGE over the dtype's range, one patient each, split train). ``labels``: name ->
    (values, categories or None).
    """
    count, dtype = len(images), images[0].dtype
    rows = np.array([image.shape[0] for image in images])
    cols = np.array([image.shape[1] for image in images])
    canvas = (int(rows.max()), int(cols.max()))
    limits = np.iinfo(dtype)
    defaults: dict[str, Any] = {
        **{"rows": rows, "cols": cols, "roi_rows": rows, "roi_cols": cols, "slope": 1.0, "window_width": 4096.0},
        **{"window_center": 2048.0, "voi_function": VOI_FUNCTIONS.index("FULL_RANGE"), "bits_stored": 12},
        **{"value_low": limits.min, "value_high": limits.max, "series": np.arange(count), "patient": np.arange(count)},
    }
    layered = codec == "layers"
    header = StoreHeader(
        format=2 if layered else 1,
        count=count,
        canvas=canvas,
        dtype=str(dtype),
        codec=codec,
        shard_images=shard_images,
        layers=fractions if layered else (),
        written_by="test",
    )
    root = zarr.open_group(path, mode="w")
    array = root.create_array(
        "images",
        shape=(count, *canvas),
        dtype=dtype,
        chunks=(1, *canvas),
        shards=(shard_images, *canvas),
        serializer=LayersCodec(fractions) if layered else "auto",
        compressors=None if layered else [zarr.codecs.ZstdCodec(level=3, checksum=False)],
        fill_value=0,
    )
    pixels = np.zeros((count, *canvas), dtype)
    for index, image in enumerate(images):
        pixels[index, : image.shape[0], : image.shape[1]] = image
    array[...] = pixels
    table = root.create_group("table")
    if layered:
        columns.setdefault("layer_ends", _layer_ends(path, count, shard_images, len(fractions) + 1))
    for name, column in header.columns.items():
        value = np.zeros((count, *column.shape), column.dtype)
        value[...] = columns.get(name, defaults.get(name, 0))
        if name == "pixel_sha256":
            value[...] = [list(hashlib.sha256(image.tobytes()).digest()) for image in images]
        table.create_array(name, data=value)
    group = root.create_group("labels")
    for name, (values, categories) in (labels or {}).items():
        label = group.create_array(name, data=np.asarray(values, "int16" if categories else "float64"))
        if categories:
            label.attrs["categories"] = list(categories)
    root.attrs["wavestream"] = header.to_json()
    return path


def _layer_ends(store: Path, count: int, shard_images: int, layers: int) -> np.ndarray:
    ends = np.zeros((count, layers, 4), np.uint32)
    for index in range(count):
        path = shard_path(store, index // shard_images)
        if path.exists():
            offset, length = read_shard_index(path, shard_images)[index % shard_images]
            if offset != NO_CHUNK:
                ends[index] = segment_ends(path.read_bytes()[int(offset) : int(offset + length)])
    return ends


def copy_in_layers(store: Path, target: Path, fractions: tuple[float, ...] = DEFAULT_FRACTIONS) -> Path:
    """A copy of a store in the codec ``layers``: every stream of its image's own size, as ingest writes it."""
    shutil.copytree(store, target, ignore=shutil.ignore_patterns("images"))
    opened, pixels = open_store(store), zarr.open_array(store / "images", mode="r")
    header, table = opened.header, opened.table
    names = ("rows", "cols", "value_low", "value_high")
    ends, sizes = [], np.column_stack([table[name] for name in names]).tolist()
    for first in range(0, header.count, header.shard_images):
        writer = ShardWriter(shard_path(target, first // header.shard_images), header.shard_images)
        for index in range(first, min(first + header.shard_images, header.count)):
            rows, cols, low, high = sizes[index]
            stream = encode_image(np.asarray(pixels[index, :rows, :cols]), (low, high), fractions=fractions)
            ends.append(segment_ends(stream))
            writer.append(stream)
        writer.finish()
    canvas, codec = Canvas(*header.canvas, header.dtype), PixelCodec("layers", fractions)
    (target / "images" / "zarr.json").write_bytes(image_metadata(header.count, canvas, header.shard_images, codec))
    root = zarr.open_group(target, mode="r+")
    root.create_array("table/layer_ends", data=np.array(ends, np.uint32), overwrite=True)
    labels = tuple(opened.labels)
    root.attrs["wavestream"] = replace(header, format=2, codec="layers", layers=fractions, labels=labels).to_json()
    return target


@pytest.fixture(scope="session")
def in_layers() -> StoreWriter:
    """The function :func:`copy_in_layers`."""
    return copy_in_layers


@pytest.fixture(scope="session")
def layered_store(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of ``tiny_store`` in layers. Read it only."""
    return copy_in_layers(tiny_store, tmp_path_factory.mktemp("layers") / "tiny.zarr")


@pytest.fixture(scope="session")
def write_store() -> StoreWriter:
    """The function :func:`write_store_with_zarr`."""
    return write_store_with_zarr


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 45 smooth 12-bit images of unequal size, hostile on purpose. Read it only.

    Shards of 8 (45 is no multiple), one image all zero, every VOI function, both inversions, slopes of both signs, ROIs
    inside the image, splits train 27 / val 9 / test 9, one label column ``sex`` that can be seen in the pixels.
    """
    count = 45
    random = np.random.default_rng(7)
    sex = random.integers(0, 2, count)
    sex[:4] = [0, 1, 0, 1]
    images = []
    for index in range(count):
        rows, cols = (64, 80) if index == 0 else (int(random.integers(48, 65)), int(random.integers(56, 81)))
        row, col = np.mgrid[0:rows, 0:cols]
        wave = np.sin(row / random.uniform(3, 9)) + np.cos(col / random.uniform(3, 9)) + (1.5 if sex[index] else -1.5)
        noise = random.normal(0, 0.05, (rows, cols))
        images.append(np.clip((wave + noise + 4) * 500, 0, 4095).astype(np.uint16))
    images[5][...] = 0
    rows, cols = (np.array([image.shape[axis] for image in images]) for axis in (0, 1))
    slope = np.where(np.arange(count) % 7 == 3, -1.0, np.where(np.arange(count) % 5 == 1, 0.5, 1.0))
    center = 2048.0 * slope - 100.0
    width = 3000.0 * np.abs(slope)
    split = np.array([SPLITS.index(name) for name in ("train", "train", "train", "val", "test")] * (count // 5))
    return write_store_with_zarr(
        tmp_path_factory.mktemp("store") / "tiny.zarr",
        images,
        labels={"sex": (sex, ("F", "M"))},
        slope=slope,
        intercept=-100.0,
        window_center=center,
        window_width=width,
        voi_function=np.arange(count) % 4,
        value_low=0,
        value_high=4095,
        inverted=np.arange(count) % 3 == 2,
        roi_row=np.arange(count) % 4,
        roi_col=np.arange(count) % 3,
        roi_rows=rows - 8,
        roi_cols=cols - 6,
        patient=np.arange(count, dtype=np.uint64) // np.uint64(2) + np.uint64(1 << 63),
        split=split,
    )
