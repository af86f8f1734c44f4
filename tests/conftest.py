"""Fixtures shared by every suite."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from wavestream.engine.schema import FORMAT_VERSION, SPLITS, TABLE, VOI_FUNCTIONS, StoreHeader

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
    **columns: Any,
) -> Path:
    """Write a finished store by means of zarr-python alone, so that it is an oracle for our own reader.

    ``images``: 2-D integer arrays of one dtype. ``columns``: table columns by name that differ from the defaults (whole
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
    root = zarr.open_group(path, mode="w")
    array = root.create_array(
        "images",
        shape=(count, *canvas),
        dtype=dtype,
        chunks=(1, *canvas),
        shards=(shard_images, *canvas),
        compressors=[zarr.codecs.ZstdCodec(level=3, checksum=False)],
        fill_value=0,
    )
    pixels = np.zeros((count, *canvas), dtype)
    for index, image in enumerate(images):
        pixels[index, : image.shape[0], : image.shape[1]] = image
    array[...] = pixels
    table = root.create_group("table")
    for name, column in TABLE.items():
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
    header = StoreHeader(FORMAT_VERSION, count, canvas, str(dtype), "zstd", shard_images, written_by="test")
    root.attrs["wavestream"] = header.to_json()
    return path


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
