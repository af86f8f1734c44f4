"""Real chest X-rays, from DICOM files through ingest and loader, against pydicom and torchvision."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from pydicom.pixels import apply_modality_lut, apply_windowing
from torchvision.transforms.v2.functional import resize

from wavestream.bindings.loader import DataLoader
from wavestream.engine.ingest import IngestConfig, ingest
from wavestream.engine.store import Store, open_store
from wavestream.engine.transform import Transform


@pytest.fixture(scope="module")
def files(medical_data: Path) -> list[Path]:
    """Twelve chest X-rays, of both photometric interpretations."""
    everything = sorted((medical_data / "nih_cxr" / "dicom").glob("*.dcm"))
    headers = {path: pydicom.dcmread(path, stop_before_pixels=True) for path in everything[:60]}
    inverted = [path for path, header in headers.items() if header.PhotometricInterpretation == "MONOCHROME1"]
    return (inverted[:3] + [path for path in everything if path not in inverted])[:12]


@pytest.fixture(scope="module")
def store(files: list[Path], medical_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("medical")
    names = {path.name for path in files}
    with (medical_data / "nih_cxr" / "labels.csv").open() as source, (folder / "labels.csv").open("w") as target:
        reader = csv.DictReader(source)
        writer = csv.DictWriter(target, reader.fieldnames or [])
        writer.writeheader()
        writer.writerows({**row, "split": "train"} for row in reader if Path(row["file"]).name in names)
    config = IngestConfig(label_columns=["sex"], split_column="split", workers=1)
    ingest(files, folder / "cxr.zarr", folder / "labels.csv", config=config, progress=False)
    return open_store(folder / "cxr.zarr")


def shown_by_pydicom(path: Path) -> np.ndarray:
    """Rescaled, windowed and inverted, in [0, 1]."""
    dataset = pydicom.dcmread(path)
    pixels = apply_modality_lut(dataset.pixel_array, dataset)
    if "WindowCenter" in dataset:
        shown = apply_windowing(pixels, dataset).astype(np.float64)
        limits = apply_modality_lut(np.array([0, 2**dataset.BitsStored - 1]), dataset)
    else:
        shown, limits = pixels.astype(np.float64), np.array([pixels.min(), pixels.max()])
    shown = (shown - limits[0]) / (limits[1] - limits[0])
    return 1 - shown if dataset.PhotometricInterpretation == "MONOCHROME1" else shown


def test_images_and_labels_equal_pydicom_torchvision_and_the_csv(
    store: Store, files: list[Path], medical_data: Path
) -> None:
    transform = Transform((160, 176), mean=0.0, std=1.0)
    loader = DataLoader(store, batch_size=5, target="sex", transform=transform, extras=("index",), threads=2)
    by_hash = {hashlib.sha256(path.read_bytes()).digest(): path for path in files}
    with (medical_data / "nih_cxr" / "labels.csv").open() as source:
        sex = {Path(row["file"]).name: row["sex"] for row in csv.DictReader(source)}
    seen = 0
    for images, labels, extras in loader:
        for image, label, index in zip(images, labels, extras["index"], strict=True):
            path = by_hash[store.table["source_sha256"][index].tobytes()]
            table: dict[str, Any] = {name: int(store.table[name][index]) for name in ("roi_row", "roi_col")}
            rows, cols = int(store.table["roi_rows"][index]), int(store.table["roi_cols"][index])
            shown = shown_by_pydicom(path)[table["roi_row"] :, table["roi_col"] :][:rows, :cols]
            expected = resize(torch.from_numpy(shown)[None], [160, 176], antialias=True)
            # The outermost pixels aside, where torchvision leaves out what DALI repeats.
            difference = (image.double() - expected).abs()[:, 2:-2, 2:-2]
            assert difference.max() < 1e-4, path.name
            assert loader.dataset.categories[label] == sex[path.name]
            seen += 1
    assert seen == len(files) == 12
