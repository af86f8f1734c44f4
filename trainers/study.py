"""The study: models trained with several shares of injected images, each tested at every compression level.

Everything is kept in one folder: a folder per trial, the measured storage, ``results.csv``, plots and ``report.html``.
Run again, it does what is missing and nothing else.
"""

from __future__ import annotations

import traceback
from pathlib import Path

from wavestream.engine.errors import WavestreamError
from wavestream.engine.lock import exclusive
from wavestream.engine.store import Store, open_store
from wavestream.trainers.comparison import Table
from wavestream.trainers.result import TrainResult, write_json
from wavestream.trainers.study_config import StudyConfig as StudyConfig
from wavestream.trainers.study_progress import StudyProgress
from wavestream.trainers.study_results import Finished, write_results
from wavestream.trainers.target import Target, read_target
from wavestream.trainers.trial import Trial, levels_to_score, make_trial, score_trial, train_trial

CONFIG, LOCK = "config.json", ".lock"


class StudyError(WavestreamError):
    """Some trials of a study failed; the others are finished and in the report."""


def study(config: StudyConfig, progress: bool = True) -> Path:
    """Run a study, or what is missing of it, and write its report.

    The folder ``config.out`` gets ``config.json``, ``trials/``, ``storage.json``, ``results.csv`` (a row per training
    set, level and seed), ``summary.csv`` (their means over seeds), ``plots/`` and ``report.html``. A trial that fails
    leaves ``error.txt`` in its folder; the others go on, and it is tried again the next time.

    Args:
        config: what to run; see :class:`StudyConfig`.
        progress: show one progress bar for the whole study, with the time left.

    Returns:
        The path of ``report.html``.

    Raises:
        InputError: the target cannot be learned from this store; the study is going on in another process.
        StoreError: the store cannot be opened.
        StudyError: at the end, when trials failed; names them and the report on the others.
    """
    store = open_store(config.store)
    target = read_target(store, config.target)
    out = Path(config.out)
    (out / "trials").mkdir(parents=True, exist_ok=True)
    with exclusive(out / LOCK, str(out)):
        return _study(config, store, target, out, progress)


def _study(config: StudyConfig, store: Store, target: Target, out: Path, progress: bool) -> Path:
    write_json(out / CONFIG, config.to_json())
    trials = [
        make_trial(config.training(probability, seed), target.fingerprint, config.domain, out / "trials")
        for seed in config.seeds
        for probability in config.probabilities
    ]
    finished, failures = _run_trials(config, trials, target, progress)
    if not finished:
        raise StudyError(f"every trial failed; the first: {failures[0]}")
    report = write_results(config, store, target, finished, failures, progress)
    if failures:
        listed = "".join(f"\n  {failure}" for failure in failures)
        raise StudyError(f"{len(failures)} of {len(trials)} trials failed; {report} has the others.{listed}")
    return report


def _run_trials(
    config: StudyConfig, trials: list[Trial], target: Target, progress: bool
) -> tuple[list[Finished], list[str]]:
    """Run every trial; what the finished ones found, and one line about each that failed."""
    finished, failures = [], []
    with StudyProgress(trials, target, config.levels, config.optimiser.epochs, shown=progress) as bar:
        for trial in trials:
            try:
                finished.append(_run_trial(config, trial, bar))
            except Exception as error:  # noqa: BLE001 - one trial's failure, whatever it is, must not end the others
                failures.append(_record_failure(trial, error))
                bar.trial_failed(failures[-1])
    return finished, failures


def _run_trial(config: StudyConfig, trial: Trial, bar: StudyProgress) -> Finished:
    table: Table = {}
    with bar.training(trial):
        result: TrainResult = train_trial(trial)
    for level in config.levels:
        missing = bool(levels_to_score(trial, [level]))
        table[trial.probability, trial.seed, level] = score_trial(trial, result, level, config.domain)
        if missing:
            bar.level_done()
    (trial.folder / "error.txt").unlink(missing_ok=True)
    return Finished(trial, result, table)


def _record_failure(trial: Trial, error: Exception) -> str:
    trial.folder.mkdir(parents=True, exist_ok=True)
    path = trial.folder / "error.txt"
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return f"{trial.folder.name}: {type(error).__name__}: {error} (see {path})"
