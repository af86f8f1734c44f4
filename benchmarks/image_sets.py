"""The images that codecs are measured on: radiographs and CT slices from DICOM files, and synthetic ones."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from wavestream.benchmarks.cases import Case
from wavestream.engine.dicom import read_dicom, scan_dicom
from wavestream.engine.dicom_file import quiet_pydicom
from wavestream.engine.errors import InputError
from wavestream.engine.frame import bounds
from wavestream.engine.limits import Limits
from wavestream.engine.rejection import Rejected

T = TypeVar("T")
_LEAST_SIDE = 64
_LIMITS = Limits()


@dataclass(frozen=True)
class Image:
    """One image.

    Attributes:
        pixels: (rows, cols) stored integers: uint8, int8, uint16 or int16.
        value_range: lowest and highest value that it may take: of its bits stored, widened to its own.
    """

    pixels: NDArray[Any]
    value_range: tuple[int, int]


def synthetic(folder: Path | None, count: int) -> list[Image]:
    """12-bit radiographs as far as their spectrum goes, 512 x 512."""
    return [Image(pixels, (0, 4095)) for pixels in Case(512, 512, "cdf53", batch=count).images()]


def nih_512(folder: Path, count: int) -> list[Image]:
    """8-bit chest radiographs, 512 x 512."""
    return _sample(_of_size(folder / "nih_cxr" / "dicom", 512), count)


def nih_1024(folder: Path, count: int) -> list[Image]:
    """8-bit chest radiographs, 1024 x 1024."""
    return _sample(_of_size(folder / "nih_cxr" / "dicom", 1024), count)


def torture_16(folder: Path, count: int, lossy: bool = False) -> list[Image]:
    """The CR and CT files of the torture set with 16 bits allocated: each image once, none below 64 pixels a side.

    Args:
        folder: with ``dicom_torture/`` in it.
        count: at most.
        lossy: those whose header says that they have been compressed with loss before, instead of the others: what is
            left of them is easy for the codec that did it.
    """
    index = folder / "dicom_torture" / "index.csv"
    with index.open(newline="", encoding="utf-8") as file:
        rows = [
            row for row in csv.DictReader(file) if row["modality"] in ("CR", "CT") and row["bits_allocated"] == "16"
        ]
    found: dict[bytes, Image] = {}
    for row in rows:
        path = index.parent / row["file"]
        if row["origin"] != "derived" and row["pixel_decode_any_ok"] == "yes" and _was_lossy(path) == lossy:
            for image in _images(path):
                if min(image.pixels.shape) >= _LEAST_SIDE:
                    found.setdefault(hashlib.sha256(image.pixels.tobytes()).digest(), image)
    return spread(list(found.values()), count)


IMAGE_SETS: dict[str, Callable[[Any, int], list[Image]]] = {
    "synthetic": synthetic,
    "nih_cxr_512": nih_512,
    "nih_cxr_1024": nih_1024,
    "dicom_torture_16": torture_16,
    "dicom_torture_16_lossy": partial(torture_16, lossy=True),
}


def find_data(given: Path | None) -> Path:
    """The folder of real images: as given, or ``$WAVESTREAM_DATA``, or ``../shared/data`` beside the checkout.

    Raises:
        InputError: it is not there.
    """
    named = given or os.environ.get("WAVESTREAM_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(named)
    if not (folder / "nih_cxr").is_dir():
        raise InputError(
            f"expected a folder with nih_cxr/ and dicom_torture/, got {folder}: give it with --data or in "
            "WAVESTREAM_DATA, or measure --sets synthetic"
        )
    return folder


def _of_size(folder: Path, side: int) -> list[Path]:
    quiet_pydicom()
    paths = sorted(folder.iterdir())
    return [path for path in paths if (scan := scan_dicom(path, _LIMITS)).rows == side and scan.cols == side]


def _was_lossy(path: Path) -> bool:
    header = dcmread(path, stop_before_pixels=True, force=True, specific_tags=["LossyImageCompression"])
    return bool(header.get("LossyImageCompression") == "01")


def _sample(paths: list[Path], count: int) -> list[Image]:
    return [image for path in spread(paths, count) for image in _images(path)]


def spread(found: list[T], count: int) -> list[T]:
    """At most ``count`` of them, spread evenly, the first and the last among them."""
    if len(found) <= count:
        return found
    return [found[place] for place in np.linspace(0, len(found) - 1, count).round().astype(int)]


def _images(path: Path) -> Iterator[Image]:
    """The grey images of a file; none where it cannot be read."""
    quiet_pydicom()
    try:
        for frame in read_dicom(path, _LIMITS):
            low, high = bounds(frame.bits_stored, frame.signed)
            pixels = np.ascontiguousarray(frame.pixels)
            yield Image(pixels, (min(low, int(pixels.min())), max(high, int(pixels.max()))))
    except Rejected:
        return
