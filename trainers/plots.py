"""The figures of a study, each as SVG and PNG; drawn off screen, colours distinguishable with colour-blindness.

Colours are those of Okabe & Ito (Color Universal Design, 2008); every series also has its own marker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from wavestream.trainers.comparison import Row
from wavestream.trainers.storage import LevelStorage

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#666666"
MOST_BANDS = 2  # more shaded bands than this hide each other; the bars stay
STYLE: dict[Any, Any] = {
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "wavestream",
}


def keep_label(keep: float) -> str:
    """A level in words: ``lossless``, ``10 %``, ``0.01 %``."""
    return "lossless" if keep == 1 else f"{100 * keep:.10g} %"


def injection_label(probability: float) -> str:
    """A training set in words: ``clean`` or ``75 % injected``."""
    return "clean" if probability == 0 else f"{100 * probability:.10g} % injected"


def save_figure(figure: Figure, folder: Path, name: str) -> Path:
    """Write ``name.svg`` and ``name.png`` into ``folder``; the path of the SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
        figure.savefig(folder / f"{name}.png", dpi=160, metadata={"Software": None}, bbox_inches="tight")
    return folder / f"{name}.svg"


def auc_by_level(rows: Sequence[Row], bytes_only_auc: float | None = None) -> Figure:
    """AUC against the level of the test images, a line and its interval per training set."""
    levels = sorted({row.keep for row in rows}, reverse=True)
    figure, axes = _axes("AUC on compressed test images", "coefficients kept in the test images")
    sets = _by_probability(rows)
    for number, (probability, mine) in enumerate(sets.items()):
        # Side by side, so that intervals at the same level can be told apart.
        shift = 0.09 * (number - (len(sets) - 1) / 2)
        places = [levels.index(row.keep) + shift for row in mine]
        _line_with_interval(axes, places, mine, number, injection_label(probability), band=len(sets) <= MOST_BANDS)
    axes.set_xticks(range(len(levels)), [keep_label(level) for level in levels])
    _auc_axis(axes, bytes_only_auc)
    return figure


def auc_by_bytes(rows: Sequence[Row], storage: Sequence[LevelStorage]) -> Figure:
    """AUC against the measured bytes of the kept coefficients per image, a line and its interval per training set."""
    kilobytes = {level.keep: level.sparse_bytes / 1000 for level in storage}
    figure, axes = _axes("AUC against storage", "measured size of the kept coefficients, kB per image")
    sets = _by_probability(rows)
    for number, (probability, mine) in enumerate(sets.items()):
        measured = [row for row in mine if row.keep in kilobytes]
        places = [kilobytes[row.keep] * 1.05 ** (number - (len(sets) - 1) / 2) for row in measured]
        label = injection_label(probability)
        _line_with_interval(axes, places, measured, number, label, band=len(sets) <= MOST_BANDS)
    axes.set_xscale("log")
    axes.set_xticks(list(kilobytes.values()), [f"{value:.3g}\n{keep_label(keep)}" for keep, value in kilobytes.items()])
    axes.xaxis.set_minor_locator(NullLocator())
    _auc_axis(axes)
    return figure


def auc_by_probability(rows: Sequence[Row]) -> Figure:
    """AUC against the probability of injection while training, a line per level of the test images."""
    figure, axes = _axes("AUC by share of injected training images", "probability of injection while training")
    levels = sorted({row.keep for row in rows}, reverse=True)
    for number, level in enumerate(levels):
        mine = sorted((row for row in rows if row.keep == level), key=lambda row: row.probability)
        shift = 0.008 * (number - (len(levels) - 1) / 2)
        places = [row.probability + shift for row in mine]
        _line_with_interval(axes, places, mine, number, keep_label(level), band=False)
    axes.set_xticks(sorted({row.probability for row in rows}))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
    _auc_axis(axes, legend="test images")
    return figure


def training_curves(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Training loss and validation AUC by epoch, a line per trial.

    Args:
        histories: trial name -> one dictionary per epoch with ``epoch``, ``train_loss`` and ``val_auc``.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        panels = figure.subplots(1, 2)
        titles = (("train_loss", "Training loss", "cross-entropy"), ("val_auc", "Validation AUC (clean images)", "AUC"))
        for axes, (key, title, label) in zip(panels, titles, strict=True):
            for number, (name, history) in enumerate(histories.items()):
                points = [(epoch["epoch"], epoch[key]) for epoch in history if key in epoch]
                axes.plot(*np.array(points).reshape(-1, 2).T, label=name, **_look(number), markersize=3.5)
            axes.set(title=title, xlabel="epoch", ylabel=label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[0].set_ylim(bottom=0)
        panels[1].axhline(0.5, color=GREY, linestyle="--", linewidth=1)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def storage_bars(storage: Sequence[LevelStorage]) -> Figure:
    """Measured bytes per image of each level, a bar per way to store it, logarithmic."""
    figure, axes = _axes("Measured storage per image", "coefficients kept")
    kinds = (
        ("PNG of the reconstruction", "png_bytes"),
        ("zstd of the reconstruction", "zstd_bytes"),
        ("kept coefficients", "sparse_bytes"),
    )
    with matplotlib.rc_context(STYLE):
        for number, (name, field) in enumerate(kinds):
            heights = [getattr(level, field) / 1000 for level in storage]
            places = np.arange(len(storage)) + 0.27 * (number - 1)
            bars = axes.bar(places, heights, 0.25, label=name, color=COLOURS[number])
            axes.bar_label(bars, [_short(height) for height in heights], fontsize=8, padding=2)
        axes.axhline(storage[0].raw_bytes / 1000, color=GREY, linestyle="--", linewidth=1, label="uncompressed pixels")
        axes.set_yscale("log")
        axes.set_ylabel("kB per image")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        axes.set_xticks(range(len(storage)), [keep_label(level.keep) for level in storage])
        axes.grid(axis="x", visible=False)
        _legend_below(axes, columns=2)
    return figure


def _axes(title: str, xlabel: str) -> tuple[Figure, Axes]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.set(title=title, xlabel=xlabel)
    return figure, axes


def _by_probability(rows: Iterable[Row]) -> dict[float, list[Row]]:
    sets: dict[float, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.probability, -row.keep)):
        sets.setdefault(row.probability, []).append(row)
    return sets


def _look(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def _line_with_interval(
    axes: Axes, places: Sequence[float], rows: Sequence[Row], number: int, label: str, band: bool = True
) -> None:
    values, lows, highs = (np.array([getattr(row.auc, name) for row in rows]) for name in ("estimate", "low", "high"))
    look = _look(number)
    with matplotlib.rc_context(STYLE):
        axes.plot(places, values, label=label, linewidth=1.8, markersize=5.5, **look)
        if band:
            axes.fill_between(places, lows, highs, color=look["color"], alpha=0.13, linewidth=0)
        axes.vlines(places, lows, highs, color=look["color"], linewidth=1.2)


def _auc_axis(axes: Axes, bytes_only_auc: float | None = None, legend: str = "training images") -> None:
    with matplotlib.rc_context(STYLE):
        axes.axhline(0.5, color=GREY, linestyle="--", linewidth=1, label="chance")
        if bytes_only_auc is not None and np.isfinite(bytes_only_auc):
            axes.axhline(bytes_only_auc, color=GREY, linestyle=":", linewidth=1.4, label="file size alone")
        low = min(0.45, axes.get_ylim()[0])
        axes.set_ylim(max(0.0, low), 1.005)
        axes.set_ylabel("AUC (95 % interval over patients)")
        _legend_below(axes, legend)


def _legend_below(axes: Axes, title: str | None = None, columns: int = 3) -> None:
    axes.figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns, title=title, fontsize=9
    )


def _short(value: float) -> str:
    """Three significant digits, without an exponent."""
    return "" if not np.isfinite(value) else np.format_float_positional(value, precision=3, fractional=False, trim="-")
