"""AUC, and its uncertainty over patients.

The unit that is resampled is the patient, not the image: images of one patient resemble each other, and resampling
them one by one makes intervals too narrow (cluster bootstrap; Field & Welsh, J. R. Stat. Soc. B 69, 2007).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wavestream.engine.errors import InputError

CHUNK_ELEMENTS = 4_000_000  # weights held at once while resampling: 32 MB of float64


@dataclass(frozen=True)
class Interval:
    """An estimate with its percentile bootstrap interval.

    Attributes:
        estimate: the value on the sample itself; NaN where it is undefined.
        low: lower end of the interval; NaN when no resample was defined.
        high: upper end of the interval; NaN when no resample was defined.
        level: nominal coverage, in (0, 1).
        resamples: resamples drawn.
        undefined: resamples left out because a class was missing in them.
    """

    estimate: float
    low: float
    high: float
    level: float
    resamples: int
    undefined: int


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve; with more than two classes the mean of one class against the rest.

    The area equals the Mann-Whitney probability that a positive scores above a negative, ties counting one half
    (Hanley & McNeil, Radiology 143, 1982). Several classes: unweighted mean over the classes that occur (macro,
    one against the rest; Provost & Domingos, 2001).

    Args:
        labels: class codes, integers >= 0, (images,).
        scores: (images,) or (images, 1): score of class 1; (images, 2): the second column is used; (images, classes):
            one column per class. Any monotone scale; finite.

    Returns:
        The AUC in [0, 1]; NaN when fewer than two classes occur.

    Raises:
        InputError: lengths differ, a label is out of range, a score is NaN or infinite.
    """
    codes, columns = check_scores(labels, scores)
    return float(weighted_auc(codes, columns)(np.ones((1, len(codes))))[0])


def bootstrap_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike,
    *,
    samples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """AUC with a percentile bootstrap interval over patients.

    Patients are drawn with replacement, each with all its images (Efron & Tibshirani, An Introduction to the
    Bootstrap, 1993, ch. 13; clusters: Field & Welsh 2007). Draws are not stratified by class, so the prevalence varies
    between resamples as it would between cohorts. Resamples in which a class is missing have no AUC and are left out
    and counted: with many of them (rare class, few patients) the interval is conditional on both classes occurring
    and too optimistic. An AUC of exactly 0 or 1 gives an interval of width 0, which the data do not support; the
    percentile interval is in general too short below about 30 patients per class.

    Args:
        labels: class codes, (images,).
        scores: as in :func:`auc`.
        patients: identifier of each image's patient, (images,), any dtype that sorts.
        samples: resamples to draw, >= 1.
        seed: of the draws; the same seed gives the same interval.
        level: coverage, in (0, 1).

    Raises:
        InputError: as :func:`auc`, or ``samples`` or ``level`` out of range.
    """
    codes, columns = check_scores(labels, scores)
    statistic = weighted_auc(codes, columns)
    return percentile_interval(statistic, codes, patients, samples, seed, level)


def paired_bootstrap(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    patients: ArrayLike,
    *,
    samples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Difference ``auc(second) - auc(first)`` of two models on the same images, with an interval over patients.

    Every resample scores both models on the same patients, so what they share cancels (Efron & Tibshirani 1993;
    clusters: Field & Welsh 2007). Caveats as in :func:`bootstrap_auc`.

    Args:
        labels: class codes, (images,).
        first: scores of the reference model, as in :func:`auc`.
        second: scores of the other model, of the same images in the same order.
        patients: identifier of each image's patient, (images,).
        samples: resamples to draw, >= 1.
        seed: of the draws.
        level: coverage, in (0, 1).

    Raises:
        InputError: as :func:`bootstrap_auc`.
    """
    codes, reference = check_scores(labels, first)
    _, other = check_scores(labels, second)
    of_reference, of_other = weighted_auc(codes, reference), weighted_auc(codes, other)
    return percentile_interval(lambda w: of_other(w) - of_reference(w), codes, patients, samples, seed, level)


Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def check_scores(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels as int64 (images,) and scores as float64 (images, columns); one column for a two-class problem."""
    codes, columns = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if codes.ndim != 1 or not (np.issubdtype(codes.dtype, np.integer) or codes.dtype == np.bool_):
        raise InputError(f"labels: expected integers of shape (images,), got {codes.dtype} of shape {codes.shape}")
    codes = codes.astype(np.int64)
    if columns.ndim == 1:
        columns = columns[:, None]
    if columns.ndim != 2 or len(columns) != len(codes) or columns.shape[1] == 0:
        raise InputError(
            f"scores: expected one row per label, ({len(codes)},) or ({len(codes)}, classes), got {np.shape(scores)}"
        )
    if not np.isfinite(columns).all():
        bad = np.flatnonzero(~np.isfinite(columns).all(axis=1))
        raise InputError(f"scores: expected finite numbers, got NaN or infinity in {len(bad)} rows, first row {bad[0]}")
    if columns.shape[1] == 2:
        columns = columns[:, 1:]
    classes = max(2, columns.shape[1])
    if len(codes) and (codes.min() < 0 or codes.max() >= classes):
        raise InputError(f"labels: expected codes 0 to {classes - 1}, got {codes.min()} to {codes.max()}")
    return codes, columns


def weighted_auc(codes: NDArray[np.int64], columns: NDArray[np.float64]) -> Statistic:
    """The function that takes weights (resamples, images) to AUCs (resamples,), NaN where a class has no weight.

    An image of weight w counts as w identical images. Scores are sorted once here; each call is then linear.
    """
    positive_class = [1] if columns.shape[1] == 1 else [c for c in range(columns.shape[1]) if (codes == c).any()]
    tasks = [
        _sorted_task(codes == c, columns[:, 0 if columns.shape[1] == 1 else c]) for c in positive_class if len(codes)
    ]

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        if not tasks:
            return np.full(len(weights), np.nan)
        return np.mean([_area(weights, *task) for task in tasks], axis=0)

    return statistic


def _sorted_task(
    positive: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.intp]]:
    """Order of the scores, the positives in that order, and where each run of equal scores starts."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    return order, positive[order], starts


def _area(
    weights: NDArray[np.float64],
    order: NDArray[np.intp],
    positive: NDArray[np.bool_],
    starts: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Weighted Mann-Whitney areas (resamples,) of one two-class task."""
    ranked = weights[:, order]
    ups = np.add.reduceat(ranked * positive, starts, axis=1)
    downs = np.add.reduceat(ranked * ~positive, starts, axis=1)
    below = np.cumsum(downs, axis=1) - 0.5 * downs
    pairs = ups.sum(axis=1) * downs.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, (ups * below).sum(axis=1) / pairs, np.nan)


def _patient_weights(patients: NDArray[np.intp], samples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each image occurs in each resample, (chunk, images), in chunks of bounded memory."""
    count = int(patients.max()) + 1
    draws = np.random.default_rng(seed)
    chunk = max(1, CHUNK_ELEMENTS // max(len(patients), count))
    for start in range(0, samples, chunk):
        rows = min(chunk, samples - start)
        drawn = draws.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        yield times[:, patients].astype(np.float64)


def percentile_interval(
    statistic: Statistic, codes: NDArray[np.int64], patients: ArrayLike, samples: int, seed: int, level: float
) -> Interval:
    """The statistic with unit weights, and percentiles of it over resampled patients."""
    if samples < 1:
        raise InputError(f"samples: expected at least 1 resample, got {samples}")
    if not 0 < level < 1:
        raise InputError(f"level: expected a coverage between 0 and 1, such as 0.95, got {level}")
    identifiers = np.asarray(patients)
    if identifiers.shape != codes.shape:
        raise InputError(f"patients: expected one per label, shape {codes.shape}, got {identifiers.shape}")
    if len(codes) == 0:
        return Interval(np.nan, np.nan, np.nan, level, samples, samples)
    estimate = float(statistic(np.ones((1, len(codes))))[0])
    _, inverse = np.unique(identifiers, return_inverse=True)
    values = np.concatenate([statistic(weights) for weights in _patient_weights(inverse, samples, seed)])
    defined = values[~np.isnan(values)]
    if len(defined) == 0:
        return Interval(estimate, np.nan, np.nan, level, samples, samples)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level, samples, samples - len(defined))
