"""The report of a study: one HTML page with everything in it, readable without a network."""

from __future__ import annotations

import base64
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import psutil
import torch

from wavestream.engine.store import Store
from wavestream.trainers.comparison import Row
from wavestream.trainers.filesize import SizeGuard
from wavestream.trainers.findings import is_zero_excluded
from wavestream.trainers.plots import injection_label, keep_label
from wavestream.trainers.result import TrainResult
from wavestream.trainers.statistics import Interval
from wavestream.trainers.storage import LevelStorage
from wavestream.trainers.target import Target

TEMPLATE = "report.html"
PACKAGES = (
    "wavestream",
    "torch",
    "torchvision",
    "lightning",
    "nvidia-dali-cuda130",
    "zarr",
    "pydicom",
    "numpy",
    "numba",
    "imagecodecs",
)


@dataclass(frozen=True)
class ReportContent:
    """What a report shows.

    Attributes:
        config: the study's configuration as JSON types.
        store: the store it ran on.
        target: the label column, counted.
        rows: per seed.
        pooled: means over seeds.
        findings: sentences, the headline first.
        storage: measured bytes per level, mild to harsh.
        guard: what file size alone predicts.
        trainings: result of the training of each trial, by name.
        figures: path of the SVG of each figure, by name; a PNG of the same name lies beside it.
        failures: one line per failed trial.
    """

    config: dict[str, Any]
    store: Store
    target: Target
    rows: Sequence[Row]
    pooled: Sequence[Row]
    findings: Sequence[str]
    storage: Sequence[LevelStorage]
    guard: SizeGuard
    trainings: dict[str, TrainResult]
    figures: dict[str, Path]
    failures: Sequence[str]


def write_report(path: Path, content: ReportContent) -> Path:
    """Write the page to ``path``; returns it."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "keep": keep_label,
        "injection": injection_label,
        "interval": interval_text,
        "difference": difference_text,
        "excluded": lambda interval: interval is not None and is_zero_excluded(interval),
        "kilobytes": lambda value: "–" if value != value else f"{value / 1000:.3g}",
        "decibels": lambda value: "bit for bit" if value == float("inf") else f"{value:.1f}",
    }
    template = environment.from_string(files("wavestream.trainers").joinpath("templates", TEMPLATE).read_text("utf-8"))
    page = template.render(
        content=content,
        findings=content.findings,
        header=content.store.header,
        split=_split_table(content.target),
        comparisons=sum(1 for row in content.pooled for item in (row.to_lossless, row.to_clean) if item is not None),
        figures={name: embedded(file, vector=name != "gallery") for name, file in content.figures.items()},
        config_text=json.dumps({**content.config, "store": content.store.path.name, "out": "…"}, indent=2),
        versions=package_versions(),
        machine=describe_machine(content.config["device"]),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        train_seconds=sum(training.seconds for training in content.trainings.values()),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def embedded(svg: Path, vector: bool = True) -> str:
    """A figure as a data URI: the SVG, or the PNG beside it where pixels are the content.

    An image element keeps the identifiers inside one SVG from meeting those of another.
    """
    kind, file = ("svg+xml", svg) if vector else ("png", svg.with_suffix(".png"))
    return f"data:image/{kind};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"


def interval_text(interval: Interval | None) -> str:
    """``0.912 (0.871–0.948)``."""
    if interval is None or interval.estimate != interval.estimate:
        return "–"
    return f"{interval.estimate:.3f} ({interval.low:.3f}–{interval.high:.3f})"


def difference_text(interval: Interval | None) -> str:
    """``+0.012 (−0.004 to +0.031)``."""
    if interval is None or interval.estimate != interval.estimate:
        return "–"
    return f"{interval.estimate:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})".replace("-", "−")


def package_versions() -> dict[str, str]:
    """Installed versions of what computes the numbers."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def describe_machine(device: str) -> dict[str, str]:
    """Processor, memory, accelerator and system, without names of hosts or users."""
    memory = psutil.virtual_memory().total / 2**30
    used = "cpu" if device == "cpu" or not torch.cuda.is_available() else torch.cuda.get_device_name()
    return {
        "processor": _processor(),
        "cores": str(psutil.cpu_count(logical=True)),
        "memory": f"{memory:.0f} GiB",
        "computed on": used,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _split_table(target: Target) -> list[tuple[str, list[int]]]:
    return [(split, list(counts)) for split, counts in target.counts.items()]
