"""From finished trials to the files of a study: results.csv, summary.csv, storage.json, plots and the report."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavestream.engine.errors import InputError
from wavestream.engine.store import Store
from wavestream.trainers import plots
from wavestream.trainers.checkpoints import replace_file
from wavestream.trainers.comparison import Row, Table, compare
from wavestream.trainers.filesize import size_guard
from wavestream.trainers.findings import FINDINGS, findings
from wavestream.trainers.gallery import artifact_gallery
from wavestream.trainers.report import ReportContent, write_report
from wavestream.trainers.result import TrainResult, read_json, write_json
from wavestream.trainers.statistics import Interval
from wavestream.trainers.storage import LevelStorage, measure_storage
from wavestream.trainers.study_config import StudyConfig
from wavestream.trainers.target import Target
from wavestream.trainers.trial import Trial

STORAGE_SAMPLE = 64


@dataclass(frozen=True)
class Finished:
    """A finished trial.

    Attributes:
        trial: what it was.
        training: result of its training.
        table: its scores by level.
    """

    trial: Trial
    training: TrainResult
    table: Table


def write_results(
    config: StudyConfig, store: Store, target: Target, finished: Sequence[Finished], failures: list[str], progress: bool
) -> Path:
    """Write everything that a study leaves beside its trials; the path of the report."""
    out = Path(config.out)
    table: Table = {}
    for one in finished:
        table |= one.table
    rows, pooled = compare(table, pooled=False), compare(table, pooled=True)
    storage = known_storage(out / "storage.json", store, target.fingerprint, config, progress)
    guard = size_guard(store, target.name)
    write_rows(out / "results.csv", rows, storage, guard.auc, finished)
    write_rows(out / "summary.csv", pooled, storage, guard.auc, finished)
    histories = {
        f"{plots.injection_label(one.trial.probability)}, seed {one.trial.seed}": one.training.history
        for one in finished
    }
    figures = {
        "auc_by_level": plots.auc_by_level(pooled, guard.auc),
        "auc_by_bytes": plots.auc_by_bytes(pooled, storage),
        "auc_by_probability": plots.auc_by_probability(pooled),
        "storage": plots.storage_bars(storage),
        "training": plots.training_curves(histories),
        "gallery": artifact_gallery(store, target.name, config.levels),
    }
    drawn = {name: plots.save_figure(figure, out / "plots", name) for name, figure in figures.items()}
    sentences = findings(pooled, storage, config.margin)
    replace_file(out / FINDINGS, lambda path: path.write_text("".join(f"{line}\n" for line in sentences), "utf-8"))
    content = ReportContent(
        config=config.to_json(),
        store=store,
        target=target,
        rows=rows,
        pooled=pooled,
        findings=sentences,
        storage=storage,
        guard=guard,
        trainings={one.trial.folder.name: one.training for one in finished},
        figures=drawn,
        failures=failures,
    )
    return write_report(out / "report.html", content)


def known_storage(
    path: Path, store: Store, fingerprint: str, config: StudyConfig, progress: bool
) -> list[LevelStorage]:
    """The measured storage, from the file when it was measured on the same images and levels before."""
    key = {"data": fingerprint, "levels": list(config.levels), "sample": STORAGE_SAMPLE}
    if path.is_file():
        try:
            known = read_json(path)
            if {name: known.get(name) for name in key} == key:
                return [LevelStorage.from_json(row) for row in known["rows"]]
        except (InputError, KeyError, TypeError):
            path.unlink()  # damaged: measured again below
    rows = measure_storage(store, config.levels, STORAGE_SAMPLE, threads=config.threads, progress=progress)
    write_json(path, {**key, "rows": [row.to_json() for row in rows]})
    return rows


def write_rows(
    path: Path, rows: Sequence[Row], storage: Sequence[LevelStorage], bytes_only: float, finished: Sequence[Finished]
) -> None:
    """Write rows as CSV, one line each; empty cells where a value does not exist."""
    sizes = {level.keep: level for level in storage}
    trials = {(one.trial.probability, one.trial.seed): one for one in finished}
    lines = [
        _line(row, sizes[row.keep], bytes_only, [trials[row.probability, seed] for seed in row.seeds]) for row in rows
    ]

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)

    replace_file(path, write)


def _line(row: Row, size: LevelStorage, bytes_only: float, trials: Sequence[Finished]) -> dict[str, Any]:
    line: dict[str, Any] = {
        "probability": row.probability,
        "keep": row.keep,
        "seed": " ".join(str(seed) for seed in row.seeds),
        "images": row.images,
        "patients": row.patients,
        **_interval("auc", row.auc),
        **_interval("difference_to_lossless", row.to_lossless),
        **_interval("difference_to_clean_training", row.to_clean),
        "bytes_only_auc": bytes_only,
        "zstd_bytes": size.zstd_bytes,
        "png_bytes": size.png_bytes,
        "sparse_bytes": size.sparse_bytes,
        "bits_per_pixel": size.bits_per_pixel,
        "psnr_db": size.psnr_db,
        "best_epoch": " ".join(str(one.training.best_epoch) for one in trials),
        "epochs": " ".join(str(one.training.epochs_run) for one in trials),
        "val_auc": sum(one.training.val_auc for one in trials) / len(trials),
        "train_seconds": sum(one.training.seconds for one in trials),
        "trial": " ".join(one.trial.folder.name for one in trials),
    }
    return {key: "" if isinstance(value, float) and math.isnan(value) else value for key, value in line.items()}


def _interval(name: str, interval: Interval | None) -> dict[str, float]:
    values = (math.nan,) * 3 if interval is None else (interval.estimate, interval.low, interval.high)
    names = ("auc", "ci_low", "ci_high") if name == "auc" else (name, f"{name}_low", f"{name}_high")
    return dict(zip(names, values, strict=True))
