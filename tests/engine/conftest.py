"""DICOM files and label CSVs made for the tests of the engine."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from wavestream.engine.dicom_file import quiet_pydicom

# Siblings are not importable under pytest's importlib mode.
sys.path.insert(0, str(Path(__file__).parent))

_NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
MakeDicom = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    quiet_pydicom()


@pytest.fixture
def make_dicom() -> MakeDicom:
    """A function that writes a DICOM file of given pixels: (rows, cols[, 3]) or, with frames=True, (frames, ...)."""
    return write_dicom


def write_dicom(
    path: Path,
    pixels: np.ndarray,
    *,
    syntax: str = ExplicitVRLittleEndian,
    frames: bool = False,
    encoder: dict[str, Any] | None = None,
    **elements: Any,
) -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax if syntax in _NATIVE else ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    shape = pixels.shape[1:] if frames else pixels.shape
    if frames:
        dataset.NumberOfFrames = pixels.shape[0]
    dataset.Rows, dataset.Columns = shape[:2]
    dataset.SamplesPerPixel = 3 if len(shape) == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if len(shape) == 3 else "MONOCHROME2"
    if len(shape) == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    stored = pixels.astype(pixels.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<"))
    value = stored.tobytes()
    dataset.PixelData = value + b"\0" * (len(value) % 2)
    dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for keyword, item in elements.items():
        setattr(dataset, keyword, item)
    dataset.HighBit = dataset.BitsStored - 1
    if syntax not in _NATIVE:
        dataset.compress(syntax, generate_instance_uid=False, **(encoder or {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def make_csv(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a label CSV: header, then rows."""

    def write(header: Sequence[str], *rows: Sequence[Any], name: str = "labels.csv") -> Path:
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        return path

    return write


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a folder of small 12-bit DICOM files ``0.dcm``, ``1.dcm``, ... of as many patients."""

    def write(count: int, folder: str = "study", **elements: Any) -> Path:
        random = np.random.default_rng(7)
        for number in range(count):
            pixels = random.integers(0, 4096, (9 + number % 3, 7), dtype=np.uint16)
            facts = {"BitsStored": 12, "PatientID": f"P{number}", "WindowCenter": 40, "WindowWidth": 400, **elements}
            write_dicom(tmp_path / folder / f"{number}.dcm", pixels, **facts)
        return tmp_path / folder

    return write
