"""One trial of a study: train once, then test at every level. What is done already is read instead of done again."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wavestream.engine.artifacts import Artifacts
from wavestream.trainers.checkpoints import LAST, replace_file
from wavestream.trainers.comparison import LOSSLESS, Scores
from wavestream.trainers.configuration import PLACE_FIELDS, TrainConfig
from wavestream.trainers.evaluate import Evaluation, evaluate
from wavestream.trainers.result import TrainResult
from wavestream.trainers.train import train

TRIAL_VERSION = 1  # raise when the same configuration would no longer give the same scores
ARRAYS = ("labels", "scores", "patients", "index")


@dataclass(frozen=True)
class Trial:
    """A training set and a seed.

    Attributes:
        probability: probability of injection while training.
        training: the training run; its ``out`` lies in the trial's folder.
        folder: of the trial, named by a hash of everything that decides its scores.
    """

    probability: float
    training: TrainConfig
    folder: Path

    @property
    def seed(self) -> int:
        """Seed of the training run."""
        return self.training.seed

    def scores_path(self, keep: float) -> Path:
        """Where the scores of a level are kept."""
        return self.folder / "scores" / f"keep-{keep!r}.npz"


def make_trial(training: TrainConfig, fingerprint: str, domain: str, folder: Path) -> Trial:
    """The trial of a training run inside the folder of a study's trials.

    Args:
        training: the run; its ``out`` is replaced.
        fingerprint: of the store's images, labels and split, so that another store is another trial.
        domain: where test images are compressed, ``source`` or ``input``.
        folder: that holds all trials.
    """
    decisive = {key: value for key, value in training.to_json().items() if key not in (*PLACE_FIELDS, "store")}
    described = {"version": TRIAL_VERSION, "data": fingerprint, "test_domain": domain, **decisive}
    key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]
    probability = training.artifacts.probability if training.artifacts else 0.0
    home = folder / f"injected-{100 * probability:g}-seed-{training.seed}-{key}"
    return Trial(probability, replace(training, out=str(home / "training")), home)


def train_trial(trial: Trial) -> TrainResult:
    """The trial's trained model: trained now, continued, or read when it is there."""
    result = train(trial.training, progress=False)
    # Only needed to continue a run; three times the size of the model, which stays.
    (Path(trial.training.out) / LAST).unlink(missing_ok=True)
    return result


def score_trial(trial: Trial, result: TrainResult, keep: float, domain: str) -> Scores:
    """The scores of the trial's model on the test split compressed to ``keep``, measured now or read."""
    path = trial.scores_path(keep)
    known = read_scores(path)
    if known is not None:
        return known
    if keep == LOSSLESS:
        evaluation = result.test
    else:
        evaluation = evaluate(
            result.checkpoint,
            store=trial.training.store,
            artifacts=Artifacts(probability=1.0, keep=(keep,), domain=domain),
            device=trial.training.device,
            threads=trial.training.threads,
        )
    scores = _scores(evaluation)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda temporary: _write_scores(temporary, scores))
    return scores


def levels_to_score(trial: Trial, levels: Sequence[float]) -> list[float]:
    """The levels whose scores are not there yet."""
    return [level for level in levels if read_scores(trial.scores_path(level)) is None]


def read_scores(path: Path) -> Scores | None:
    """Scores from a file; None when it is missing or unreadable, in which case they are measured again."""
    try:
        with np.load(path) as arrays:
            return Scores(**{name: arrays[name] for name in ARRAYS})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write_scores(path: Path, scores: Scores) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **{name: getattr(scores, name) for name in ARRAYS})


def _scores(evaluation: Evaluation) -> Scores:
    return Scores(evaluation.labels, evaluation.scores, evaluation.patient, evaluation.index)
