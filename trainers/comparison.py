"""The rows of a study: AUC of each training set at each test level, and paired differences, over patients and seeds.

All intervals are 95 % percentile bootstraps over patients. With several seeds the estimate is the mean over them, and
each resample of patients is scored by every seed's model, so an interval says what other patients would change; it
does not widen with the scatter between seeds, which the rows per seed show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wavestream.engine.errors import InputError
from wavestream.trainers.statistics import Interval, Statistic, check_scores, percentile_interval, weighted_auc

LOSSLESS = 1.0
CLEAN = 0.0


@dataclass(frozen=True)
class Scores:
    """What one trained model said about the test split at one level.

    Attributes:
        labels: class codes, ``(images,)``.
        scores: ``(images, classes)`` or ``(images,)``, as :func:`wavestream.trainers.statistics.auc` takes them.
        patients: salted hash of each image's patient, ``(images,)``.
        index: index of each image in the store, ``(images,)``.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    patients: NDArray[np.uint64]
    index: NDArray[np.int64]


# Scores by (probability of injection while training, seed, keep of the test images).
Table = dict[tuple[float, int, float], Scores]


@dataclass(frozen=True)
class Row:
    """One training set at one test level, for one seed or as the mean over all.

    Attributes:
        probability: probability of injection while training; 0 is clean training.
        keep: fraction of coefficients that the test images kept; 1 is lossless.
        seeds: the seeds it covers.
        images: test images.
        patients: test patients.
        auc: AUC with its interval.
        to_lossless: AUC minus that of the same models on lossless test images; None in the lossless row.
        to_clean: AUC minus that of clean-trained models at the same level; None for clean training, or without one.
    """

    probability: float
    keep: float
    seeds: tuple[int, ...]
    images: int
    patients: int
    auc: Interval
    to_lossless: Interval | None
    to_clean: Interval | None


def compare(table: Table, pooled: bool) -> list[Row]:
    """The rows of a study, sorted by probability, seed and level from mild to harsh.

    Args:
        table: the scores of every finished trial and level.
        pooled: one row per training set and level, the mean over the seeds that have it, instead of one per seed. A
            difference uses the seeds that both sides have.

    Raises:
        InputError: two entries were not measured on the same test images.
    """
    _require_same_images(table)
    groups: dict[tuple[float, tuple[int, ...]], None] = {}
    for probability in sorted({key[0] for key in table}):
        seeds = sorted({key[1] for key in table if key[0] == probability})
        for group in [tuple(seeds)] if pooled else [(seed,) for seed in seeds]:
            groups[probability, group] = None
    levels = sorted({key[2] for key in table}, reverse=True)
    rows = [_row(table, probability, seeds, level) for probability, seeds in groups for level in levels]
    return [row for row in rows if row is not None]


def safe_level(rows: Sequence[Row], probability: float, margin: float) -> float | None:
    """The harshest level at which a training set's AUC is not inferior to its own lossless AUC.

    Levels are tested from mild to harsh and the first failure stops, which keeps the error rate of the whole sequence
    at that of one test (fixed-sequence procedure; Maurer et al. 1995). Not inferior: the lower end of the interval of
    the difference lies above ``-margin``.

    Returns:
        The level; 1.0 when already the mildest fails; None when there is no lossless row to compare with.
    """
    mine = sorted((row for row in rows if row.probability == probability), key=lambda row: -row.keep)
    if not any(row.keep == LOSSLESS for row in mine):
        return None
    safe = LOSSLESS
    for row in mine:
        if row.to_lossless is None:
            continue
        if not row.to_lossless.low > -margin:
            break
        safe = row.keep
    return safe


def _row(table: Table, probability: float, seeds: tuple[int, ...], level: float) -> Row | None:
    mine = {seed: table[probability, seed, level] for seed in seeds if (probability, seed, level) in table}
    if not mine:
        return None
    any_scores = next(iter(mine.values()))
    return Row(
        probability=probability,
        keep=level,
        seeds=tuple(mine),
        images=len(any_scores.labels),
        patients=len(np.unique(any_scores.patients)),
        auc=mean_auc(list(mine.values())),
        to_lossless=None if level == LOSSLESS else _difference(table, mine, (probability, LOSSLESS)),
        to_clean=None if probability == CLEAN else _difference(table, mine, (CLEAN, level)),
    )


def _difference(table: Table, mine: dict[int, Scores], reference: tuple[float, float]) -> Interval | None:
    probability, level = reference
    shared = [seed for seed in mine if (probability, seed, level) in table]
    if not shared:
        return None
    return mean_difference([table[probability, seed, level] for seed in shared], [mine[seed] for seed in shared])


def mean_auc(models: Sequence[Scores]) -> Interval:
    """Mean AUC of models on the same images, with an interval over patients; one model: as ``bootstrap_auc``."""
    return _interval(models, _mean(models))


def mean_difference(reference: Sequence[Scores], models: Sequence[Scores]) -> Interval:
    """Mean AUC of ``models`` minus that of ``reference`` on the same images; one each: as ``paired_bootstrap``."""
    of_models, of_reference = _mean(models), _mean(reference)
    return _interval(models, lambda weights: of_models(weights) - of_reference(weights))


def _mean(models: Sequence[Scores]) -> Statistic:
    statistics = [weighted_auc(*check_scores(model.labels, model.scores)) for model in models]
    return lambda weights: np.mean([statistic(weights) for statistic in statistics], axis=0)


def _interval(models: Sequence[Scores], statistic: Statistic) -> Interval:
    return percentile_interval(statistic, models[0].labels, models[0].patients, samples=2000, seed=0, level=0.95)


def _require_same_images(table: Table) -> None:
    first: Scores | None = None
    for (probability, seed, level), scores in table.items():
        first = first or scores
        if not (np.array_equal(scores.index, first.index) and np.array_equal(scores.labels, first.labels)):
            raise InputError(
                f"expected every model to be tested on the same images, but the scores of probability {probability}, "
                f"seed {seed}, keep {level} are of others; delete the study folder and run it again"
            )
