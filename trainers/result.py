"""The result of a run, and its files: ``result.json`` with the numbers, ``test.npz`` with the test split's scores."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wavestream.engine.errors import InputError
from wavestream.trainers.checkpoints import BEST, replace_file
from wavestream.trainers.evaluate import Evaluation, read_model

RESULT, SCORES = "result.json", "test.npz"
_SCORE_ARRAYS = ("scores", "labels", "patient", "index")
_TEST_NUMBERS = ("auc", "ci_low", "ci_high", "count", "patients", "loss")


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What a finished run found.

    Attributes:
        checkpoint: ``best.ckpt``, for :func:`wavestream.trainers.evaluate.evaluate`.
        best_epoch: the epoch with the highest validation AUC, of equals that with the lowest validation loss; from 1.
        epochs_run: epochs trained before the end or early stopping.
        val_auc: validation AUC of the best epoch.
        test: the best epoch's model on the clean test split.
        seconds: spent fitting, validation included, over all sessions of the run.
        images_per_second: train images per second of training, loading included and validation not.
        history: per epoch: epoch, train_loss, val_loss, val_auc, learning_rate, seconds, images_per_second, bytes_read.
    """

    checkpoint: Path
    best_epoch: int
    epochs_run: int
    val_auc: float
    test: Evaluation
    seconds: float
    images_per_second: float
    history: list[dict[str, float]]

    def __str__(self) -> str:
        return (
            f"test {self.test}\nbest epoch {self.best_epoch} of {self.epochs_run}, validation AUC {self.val_auc:.4f}; "
            f"{self.seconds:.0f} s, {self.images_per_second:.1f} images/s\n{self.checkpoint}"
        )


def write_result(out: Path, history: list[dict[str, float]], seconds: float, test: Evaluation) -> TrainResult:
    """Write ``test.npz``, then ``result.json``, whose presence says that the run is finished.

    Args:
        out: folder of the run, with its ``best.ckpt``.
        history: one entry per epoch.
        seconds: spent fitting.
        test: of the best epoch's model.
    """
    best, _ = read_model(out / BEST)
    training = sum(entry["seconds"] for entry in history)
    images = sum(entry["seconds"] * entry["images_per_second"] for entry in history)
    arrays = {name: getattr(test, name) for name in _SCORE_ARRAYS}

    def write_arrays(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    replace_file(out / SCORES, write_arrays)
    summary = {
        "best_epoch": best["epoch"],
        "epochs_run": len(history),
        "val_auc": best["val_auc"],
        "seconds": seconds,
        "images_per_second": images / training,
        "test": {name: getattr(test, name) for name in _TEST_NUMBERS},
        "history": history,
    }
    write_json(out / RESULT, summary)
    return _result(out, summary)


def read_result(out: Path) -> TrainResult | None:
    """The result in the folder of a run; None while the run is not finished.

    Raises:
        InputError: a file of it is missing or damaged.
    """
    if not (out / RESULT).is_file():
        return None
    return _result(out, read_json(out / RESULT))


def _result(out: Path, summary: dict[str, Any]) -> TrainResult:
    parts = dict(summary)
    try:
        with np.load(out / SCORES) as arrays:
            test = Evaluation(**parts.pop("test"), **{name: arrays[name] for name in _SCORE_ARRAYS})
        return TrainResult(checkpoint=out / BEST, test=test, **parts)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"the result in {out} cannot be read ({error!r}): delete {out} to start over") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a run.

    Raises:
        InputError: missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): delete {path.parent} to start over") from error


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Put a JSON file in place, whole."""
    replace_file(path, lambda temporary: temporary.write_text(json.dumps(value, indent=2) + "\n"))
