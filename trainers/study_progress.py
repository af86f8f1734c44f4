"""One progress bar for a whole study, in images passed through a network, with the time left."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from wavestream.trainers.checkpoints import HISTORY
from wavestream.trainers.plots import injection_label
from wavestream.trainers.result import RESULT
from wavestream.trainers.target import Target
from wavestream.trainers.trial import Trial, levels_to_score

BACKWARD = 3  # a training image costs about three forward passes
POLL_SECONDS = 0.5


class StudyProgress:
    """Counts what is left of a study and shows it. A context manager.

    Training is followed through the ``history.csv`` that a run writes after each epoch, so the bar moves by epochs.

    Args:
        trials: of the study.
        target: counted classes, for the number of images.
        levels: test levels of each trial.
        epochs: of each training, at most.
        shown: show the bar.
    """

    def __init__(
        self, trials: Sequence[Trial], target: Target, levels: Sequence[float], epochs: int, shown: bool
    ) -> None:
        self._epochs = epochs
        self._per_epoch = BACKWARD * sum(target.counts["train"]) + sum(target.counts["val"])
        self._per_level = sum(target.counts["test"])
        self._count = len(trials)
        self._started = 0
        total = sum(
            self._epochs_left(trial) * self._per_epoch + len(levels_to_score(trial, levels)) * self._per_level
            for trial in trials
        )
        self._bar = tqdm(total=total, desc="study", unit="image", unit_scale=True, disable=not shown, smoothing=0.1)

    def __enter__(self) -> StudyProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    @contextmanager
    def training(self, trial: Trial) -> Iterator[None]:
        """Follow the training of a trial inside the block; epochs that early stopping saves leave the total."""
        self._started += 1
        self._bar.set_description(
            f"study: trial {self._started} of {self._count} ({injection_label(trial.probability)}, seed {trial.seed})"
        )
        left = self._epochs_left(trial)
        stop = threading.Event()
        follower = threading.Thread(target=self._follow, args=(trial, stop), daemon=True)
        follower.start()
        seen = epochs_run(trial)
        try:
            yield
        finally:
            stop.set()
            follower.join()
            saved = left - (epochs_run(trial) - seen)
            if self._bar.total is not None:
                self._bar.total -= saved * self._per_epoch
            self._bar.refresh()

    def level_done(self) -> None:
        """One level of a trial was tested."""
        self._bar.update(self._per_level)

    def trial_failed(self, message: str) -> None:
        """Say so above the bar."""
        if not self._bar.disable:
            self._bar.write(f"failed: {message}")

    def _epochs_left(self, trial: Trial) -> int:
        return 0 if (Path(trial.training.out) / RESULT).is_file() else self._epochs - epochs_run(trial)

    def _follow(self, trial: Trial, stop: threading.Event) -> None:
        done = epochs_run(trial)
        while True:
            last = stop.wait(POLL_SECONDS)
            now = epochs_run(trial)
            if now > done:
                self._bar.update((now - done) * self._per_epoch)
                done = now
            if last:
                return


def epochs_run(trial: Trial) -> int:
    """Epochs that the trial's training has finished."""
    try:
        return max(0, len((Path(trial.training.out) / HISTORY).read_text().splitlines()) - 1)
    except OSError:
        return 0
