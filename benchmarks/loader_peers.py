"""What the loader replaces, as peers for its benchmark: precomputed PNG folders, and PyWavelets in the dataset."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pywt
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wavestream.engine.artifacts import Artifacts
from wavestream.engine.pipeline import Pipeline
from wavestream.engine.reader import Reader
from wavestream.engine.store import Store
from wavestream.engine.transform import Transform
from wavestream.kernels import inject

WAVELET = "bior4.4"


def write_png_folders(store: Store, folder: Path, keeps: tuple[float, ...], size: tuple[int, int] | None) -> list[Path]:
    """Write the dataset that this project replaces: one folder of 8-bit PNG files for each compression level.

    Args:
        store: where the images come from (its split ``train``).
        folder: to write into.
        keeps: levels; 1.0 is the uncompressed one.
        size: (rows, cols) to resize to; None: each as large as its region of interest.

    Returns:
        one folder per level; file names count the images.
    """
    indices = store.split_indices("train")
    table = store.table
    rows, cols = table["rows"][indices], table["cols"][indices]
    regions = np.column_stack([table["roi_rows"][indices], table["roi_cols"][indices]])
    reader = Reader(store, 1)
    folders = []

    @cache
    def pipeline(size: tuple[int, int]) -> Pipeline:
        return Pipeline(store, Transform(size), device_id=None, threads=1, normalise=False)

    for level in keeps:
        target = folder / f"keep_{level:g}"
        target.mkdir(parents=True)
        folders.append(target)
        for number, index in enumerate(indices):
            one = np.array([index])
            stored = reader.read(one)
            if level < 1:
                stored = inject(stored, level, WAVELET, sizes=[[rows[number], cols[number]]])
            height, width = size or regions[number].tolist()
            shown = np.asarray(pipeline((height, width)).run(stored, one, Transform().sample(0, 0, one)))[0, ..., 0]
            Image.fromarray(np.rint(shown.clip(0, 1) * 255).astype(np.uint8)).save(target / f"{number}.png")
    return folders


class PngFolders(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Opens a PNG file of the level that is drawn for the sample, resizes and normalises it.

    Args:
        folders: one per level, the uncompressed one first.
        size: (rows, cols) of the network's input.
        probability: of taking one of the compressed levels.
    """

    def __init__(self, folders: list[Path], size: tuple[int, int], probability: float) -> None:
        self._folders = folders
        self._size = size
        self._probability = probability
        self._count = sum(1 for _ in folders[0].iterdir())

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        level = 0
        if torch.rand(()) < self._probability:
            level = int(torch.randint(1, len(self._folders), ()))
        with Image.open(self._folders[level] / f"{number}.png") as picture:
            pixels = picture.resize(self._size[::-1], Image.Resampling.BILINEAR)
        return _normalised(np.asarray(pixels, np.float32) / np.float32(255)), -1


class PyWaveletsOnTheFly(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Takes a raw image from memory, compresses it with PyWavelets where drawn, windows, resizes and normalises it.

    Reading costs nothing here, which favours this peer.
    """

    def __init__(self, store: Store, size: tuple[int, int], artifacts: Artifacts) -> None:
        indices = store.split_indices("train")
        table = store.table
        raw = Reader(store, 1).read(indices)
        sizes = zip(raw, table["rows"][indices], table["cols"][indices], strict=True)
        self._images = [image[:rows, :cols].copy() for image, rows, cols in sizes]
        self._windows = np.column_stack([table["window_center"][indices], table["window_width"][indices]])
        self._size = size
        self._artifacts = artifacts

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        pixels: NDArray[Any] = self._images[number].astype(np.float32)
        if torch.rand(()) < self._artifacts.probability:
            level = int(torch.randint(len(self._artifacts.keep), ()))
            pixels = compress(pixels, self._artifacts.keep[level])
        center, width = self._windows[number]
        shown = ((pixels - (center - width / 2)) / width).clip(0, 1).astype(np.float32)
        picture = Image.fromarray(shown).resize(self._size[::-1], Image.Resampling.BILINEAR)
        return _normalised(np.asarray(picture, np.float32)), -1


def compress(pixels: NDArray[Any], keep: float) -> NDArray[Any]:
    """Keep the largest ``keep`` of an image's wavelet coefficients, as one would write it with PyWavelets."""
    depth = min(5, pywt.dwt_max_level(min(pixels.shape), WAVELET))
    flat, where = pywt.coeffs_to_array(pywt.wavedec2(pixels, WAVELET, mode="periodization", level=depth))
    magnitudes = np.abs(flat)
    count = max(1, round(keep * pixels.size))
    threshold = np.partition(magnitudes, magnitudes.size - count, axis=None)[magnitudes.size - count]
    flat[magnitudes < threshold] = 0
    kept = pywt.array_to_coeffs(flat, where, output_format="wavedec2")
    return pywt.waverec2(kept, WAVELET, mode="periodization")[: pixels.shape[0], : pixels.shape[1]]


def _normalised(pixels: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy((pixels - np.float32(0.5)) / np.float32(0.25))[None]
