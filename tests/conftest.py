"""Fixtures shared by every suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
