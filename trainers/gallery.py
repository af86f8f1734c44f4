"""The artifact gallery: the same images at every compression level, as a reader would see them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wavestream.engine.reader import Reader
from wavestream.engine.store import Store
from wavestream.kernels import inject
from wavestream.trainers.plots import STYLE, keep_label
from wavestream.trainers.storage import WAVELET

MOST_SAMPLES = 2  # the images may be of real patients: a report shows few of them


def choose_samples(store: Store, target: str) -> list[int]:
    """One test image of each of the first two classes that the test split has, as indices into the store."""
    codes, _ = store.target(target)
    test = store.split_indices("test")
    present = np.unique(codes[test][codes[test] >= 0])[:MOST_SAMPLES]
    return [int(test[codes[test] == code][0]) for code in present]


def artifact_gallery(store: Store, target: str, levels: Sequence[float]) -> Figure:
    """A row per sample, a column per level; the caption gives the signal-to-noise ratio against the lossless image."""
    codes, categories = store.target(target)
    samples = choose_samples(store, target)
    canvases = Reader(store, threads=1).read(samples)
    shapes = [(int(store.table["rows"][index]), int(store.table["cols"][index])) for index in samples]
    with matplotlib.rc_context(STYLE):
        height = 2.35 * sum(rows / cols for rows, cols in shapes) + 0.5 * len(samples)
        figure = Figure(figsize=(2.35 * len(levels), height), layout="constrained")
        grid = figure.subplots(
            len(samples), len(levels), squeeze=False, height_ratios=[rows / cols for rows, cols in shapes]
        )
        for line, (index, canvas, (rows, cols)) in enumerate(zip(samples, canvases, shapes, strict=True)):
            original = np.ascontiguousarray(canvas[:rows, :cols])
            value_range = (int(store.table["value_low"][index]), int(store.table["value_high"][index]))
            for column, level in enumerate(levels):
                axes = grid[line, column]
                rebuilt = inject(original, level, WAVELET, value_range=value_range, threads=1)
                axes.imshow(as_shown(store, index, rebuilt), cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
                axes.set(xticks=[], yticks=[])
                axes.grid(visible=False)
                for spine in axes.spines.values():
                    spine.set_visible(False)
                if line == 0:
                    axes.set_title(keep_label(level), loc="center")
                if column == 0:
                    axes.set_ylabel(f"{target}: {categories[codes[index]]}")
                axes.set_xlabel(_quality(original, rebuilt, value_range), fontsize=9)
    return figure


def as_shown(store: Store, index: int, pixels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Stored pixels ``(rows, cols)`` through rescale, a linear window and the inversion: 0 black to 1 white."""
    table = store.table
    center, width = float(table["window_center"][index]), max(float(table["window_width"][index]), 1.0)
    modality = pixels * float(table["slope"][index]) + float(table["intercept"][index])
    grey = np.clip((modality - (center - width / 2)) / width, 0, 1).astype(np.float32)
    return 1 - grey if table["inverted"][index] else grey


def _quality(original: NDArray[np.integer], rebuilt: NDArray[np.integer], value_range: tuple[int, int]) -> str:
    error = np.mean((rebuilt.astype(np.float64) - original) ** 2) / max(1, value_range[1] - value_range[0]) ** 2
    return f"PSNR {-10 * np.log10(error):.1f} dB" if error else "bit for bit"
