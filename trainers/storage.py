"""What each compression level costs to store, measured on the images themselves, never computed from ``keep``.

Per level and image three numbers of bytes are measured:

- ``zstd``: the reconstructed image in the store's own codec, on the store's canvas; what a second store would hold.
- ``png``: the reconstructed image as a PNG file; what a precomputed dataset of that level keeps on disk.
- ``sparse``: the kept ``cdf53`` coefficients themselves (:mod:`wavestream.trainers.sparse`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from wavestream.engine.errors import InputError
from wavestream.engine.reader import Reader
from wavestream.engine.store import Store, open_store
from wavestream.kernels import forward, hard_threshold, inject, kth_magnitude
from wavestream.trainers.sparse import ZSTD, pack_sparse

WAVELET = "cdf53"
PNG_LEVEL = 6  # zlib level of a PNG, the default of most programs


@dataclass(frozen=True)
class LevelStorage:
    """One row: a compression level and its measured cost; bytes are means per image.

    Attributes:
        keep: fraction of coefficients kept; 1 is lossless.
        images: images measured.
        pixels: mean pixels per image, without the canvas around it.
        raw_bytes: bytes of the image's pixels in the store's dtype, uncompressed.
        zstd_bytes: bytes of the reconstruction in the store's codec.
        png_bytes: bytes of the reconstruction as a PNG file; NaN where a PNG cannot hold the range of values.
        sparse_bytes: bytes of the kept coefficients.
        psnr_db: peak signal-to-noise ratio of the reconstruction in dB: peak is the image's value range, error the mean
            over images of the squared error relative to it; infinite when lossless.
    """

    keep: float
    images: int
    pixels: float
    raw_bytes: float
    zstd_bytes: float
    png_bytes: float
    sparse_bytes: float
    psnr_db: float

    @property
    def bits_per_pixel(self) -> float:
        """Bits per pixel of the kept coefficients."""
        return 8 * self.sparse_bytes / self.pixels

    def to_json(self) -> dict[str, float | None]:
        """The row as JSON types; values that are not finite become None."""
        return {name: value if np.isfinite(value) else None for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: dict[str, float | None]) -> LevelStorage:
        """The row from what :meth:`to_json` wrote."""
        absent = {"psnr_db": np.inf, "png_bytes": np.nan}
        known = {item.name: value[item.name] for item in fields(cls)}
        filled: dict[str, Any] = {
            name: absent.get(name, np.nan) if item is None else item for name, item in known.items()
        }
        return cls(**filled)


@dataclass(frozen=True)
class StoredImage:
    """One image on its canvas.

    Attributes:
        canvas: ``(H, W)`` stored integers; the image lies in the top-left corner.
        size: (rows, cols) of the image.
        value_range: lowest and highest value the image may take.
    """

    canvas: NDArray[np.integer]
    size: tuple[int, int]
    value_range: tuple[int, int]


def measure_image(image: StoredImage, keep: float) -> NDArray[np.float64]:
    """Measure one image at one level: zstd bytes, PNG bytes, sparse bytes, squared error relative to the value range.

    Returns:
        float64 ``(4,)``; PNG bytes are NaN when the values span more than 16 bits.
    """
    rows, cols = image.size
    low, high = image.value_range
    original = np.ascontiguousarray(image.canvas[:rows, :cols])
    rebuilt = inject(original, keep, WAVELET, value_range=(low, high), threads=1)
    canvas = image.canvas.copy()
    canvas[:rows, :cols] = rebuilt
    coefficients = forward(original[None], WAVELET, threads=1)
    if keep < 1:
        threshold = kth_magnitude(coefficients, keep, (rows, cols), WAVELET, threads=1)
        coefficients = hard_threshold(coefficients, threshold, (rows, cols), WAVELET, threads=1)
    error = (rebuilt.astype(np.float64) - original) / max(1, high - low)
    png = encode_png(rebuilt, low, high)
    png_bytes = np.nan if png is None else len(png)
    return np.array([len(ZSTD.encode(canvas)), png_bytes, len(pack_sparse(coefficients[0])), np.mean(error**2)])


def encode_png(pixels: NDArray[np.integer], low: int, high: int) -> bytes | None:
    """A greyscale PNG of pixels between ``low`` and ``high``, shifted to start at 0 where ``low`` is negative.

    Returns:
        The file, 8 bits for uint8 pixels and else 16; None when the values span more than 16 bits.
    """
    shift = min(low, 0)
    if high - shift > 65535:
        return None
    dtype = np.uint8 if pixels.dtype == np.uint8 else np.uint16
    return bytes(imagecodecs.png_encode((pixels.astype(np.int64) - shift).astype(dtype), level=PNG_LEVEL))


def measure_storage(
    store: Store | str | Path,
    levels: Sequence[float] = (1.0, 0.1, 0.01, 0.001, 0.0001),
    sample: int = 64,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = True,
) -> list[LevelStorage]:
    """Measure every level on the store's images, or on a random sample of them when there are more than ``sample``.

    Args:
        store: the store or its path.
        levels: fractions of coefficients to keep, in (0, 1].
        sample: most images to measure; each costs a fraction of a second per level.
        seed: of the sample.
        threads: CPU threads; None for all.
        progress: show a progress bar.

    Returns:
        One row per level, in the order given.

    Raises:
        InputError: a level outside (0, 1], or ``sample`` below 1.
        StoreError: the store cannot be read.
    """
    if sample < 1 or not levels or not all(0 < level <= 1 for level in levels):
        raise InputError(f"expected levels in (0, 1] and sample >= 1, got levels={tuple(levels)} and sample={sample}")
    opened = store if isinstance(store, Store) else open_store(store)
    indices = sample_indices(opened.header.count, sample, seed)
    workers = threads or os.cpu_count() or 1
    totals = np.zeros((len(levels), 4))
    pixels = 0
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(indices) * len(levels), desc="measuring storage", unit="image", disable=not progress) as bar,
    ):
        for images in _batches(opened, indices, 4 * workers):
            pixels += sum(rows * cols for rows, cols in (image.size for image in images))
            for row, level in enumerate(levels):
                totals[row] += sum(pool.map(measure_image, images, [level] * len(images)))
                bar.update(len(images))
    means, mean_pixels = totals / len(indices), pixels / len(indices)
    raw = mean_pixels * np.dtype(opened.header.dtype).itemsize
    return [
        LevelStorage(
            float(level), len(indices), mean_pixels, raw, zstd, png, sparse, -10 * np.log10(error) if error else np.inf
        )
        for level, (zstd, png, sparse, error) in zip(levels, means.tolist(), strict=True)
    ]


def sample_indices(count: int, sample: int, seed: int) -> NDArray[np.int64]:
    """Which images are measured: all of ``count``, or ``sample`` of them drawn without replacement; sorted."""
    if count <= sample:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, sample, replace=False))


def _batches(store: Store, indices: NDArray[np.int64], size: int) -> Iterator[list[StoredImage]]:
    table = store.table
    reader = Reader(store, threads=1)
    for start in range(0, len(indices), size):
        batch = indices[start : start + size]
        canvases = reader.read(batch)
        yield [
            StoredImage(
                canvas,
                (int(table["rows"][index]), int(table["cols"][index])),
                (int(table["value_low"][index]), int(table["value_high"][index])),
            )
            for canvas, index in zip(canvases, batch, strict=True)
        ]
