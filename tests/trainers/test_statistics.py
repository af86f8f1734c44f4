"""AUC and bootstrap against scikit-learn, SciPy, and a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from wavestream.engine.errors import InputError
from wavestream.trainers import statistics
from wavestream.trainers.statistics import auc, bootstrap_auc, paired_bootstrap


def _binary(seed: int, images: int, levels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    labels = draws.integers(2, size=images)
    labels[:2] = (0, 1)
    scores = draws.normal(labels, 1.5)
    return labels, scores if levels is None else np.round(scores * levels) / levels


def _clusters(seed: int, patients: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels per patient, one to five images each, scores that share a patient's own shift; true AUC is Phi(1 / sqrt 2)
    when the total variance is 1: spread**2 + noise**2 = 1."""
    draws = np.random.default_rng(seed)
    label = draws.permutation(np.arange(patients) % 2)
    patient = np.repeat(np.arange(patients), draws.integers(1, 6, size=patients))
    noise = np.sqrt(1 - spread**2)
    scores = label[patient] + (spread * draws.normal(size=patients))[patient] + noise * draws.normal(size=len(patient))
    return label[patient], scores, patient


@pytest.mark.parametrize("levels", [None, 1, 2])
@pytest.mark.parametrize("images", [2, 3, 17, 257])
def test_binary_auc_is_that_of_scikit_learn_ties_included(images: int, levels: int | None) -> None:
    labels, scores = _binary(images, images, levels)
    expected = roc_auc_score(labels, scores)
    assert auc(labels, scores) == pytest.approx(expected, abs=1e-12)
    assert auc(labels, np.stack([-scores, scores], axis=1)) == pytest.approx(expected, abs=1e-12)
    assert auc(labels.astype(bool), scores.astype(np.float32)) == pytest.approx(
        roc_auc_score(labels, scores.astype(np.float32)), abs=1e-12
    )


def test_auc_of_constant_perfect_and_inverted_scores() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    assert auc(labels, np.zeros(5)) == 0.5
    assert auc(labels, labels) == 1.0
    assert auc(labels, -labels) == 0.0


@pytest.mark.parametrize("classes", [3, 7])
def test_multiclass_auc_is_macro_one_against_the_rest(classes: int) -> None:
    draws = np.random.default_rng(classes)
    labels = draws.integers(classes, size=120)
    labels[:classes] = np.arange(classes)
    logits = draws.normal(size=(120, classes)) + 2 * np.eye(classes)[labels]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert auc(labels, scores) == pytest.approx(expected, abs=1e-12)


def test_classes_that_do_not_occur_are_left_out_of_the_mean() -> None:
    draws = np.random.default_rng(5)
    labels = draws.choice([0, 2], size=60)
    scores = draws.normal(size=(60, 3))
    expected = (roc_auc_score(labels == 0, scores[:, 0]) + roc_auc_score(labels == 2, scores[:, 2])) / 2
    assert auc(labels, scores) == pytest.approx(expected, abs=1e-12)


def test_one_class_only_has_no_auc() -> None:
    assert np.isnan(auc([1, 1, 1], [0.1, 0.2, 0.3]))
    assert np.isnan(auc([2, 2], np.ones((2, 3))))
    assert np.isnan(auc(np.zeros(0, dtype=int), np.zeros(0)))
    interval = bootstrap_auc([1, 1, 1], [0.1, 0.2, 0.3], [0, 1, 2], samples=10)
    assert np.isnan([interval.estimate, interval.low, interval.high]).all()
    assert interval.undefined == 10


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [
        ([0, 1], [0.5, np.nan], "first row 1"),
        ([0, 1], [0.5], "one row per label"),
        ([0, 2], [0.5, 0.5], "codes 0 to 1, got 0 to 2"),
        ([-1, 1], [0.5, 0.5], "got -1 to 1"),
        ([0.0, 1.0], [0.5, 0.5], "expected integers"),
        ([[0, 1]], [[0.5, 0.5]], "shape"),
    ],
)
def test_what_cannot_be_scored_is_refused(labels: list[int], scores: list[float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        auc(labels, scores)


@pytest.mark.parametrize(
    ("change", "words"), [({"samples": 0}, "samples"), ({"level": 1.0}, "level"), ({"patients": [0]}, "patients")]
)
def test_bootstrap_arguments_are_checked(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        bootstrap_auc(**({"labels": [0, 1], "scores": [0.1, 0.2], "patients": [0, 1]} | change))


@pytest.mark.parametrize("chunk", [1, 10_000_000])
def test_bootstrap_equals_a_plain_loop_over_drawn_patients(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle concatenates the images of the drawn patients and asks scikit-learn."""
    labels, scores, patient = _clusters(3, patients=23)
    scores = np.round(scores * 4) / 4
    names = np.array([f"patient {number * 7 % 23}" for number in range(23)])[patient]
    monkeypatch.setattr(statistics, "CHUNK_ELEMENTS", chunk)
    interval = bootstrap_auc(labels, scores, names, samples=200, seed=11, level=0.9)

    distinct = np.unique(names)
    draws, areas = np.random.default_rng(11), []
    for drawn in draws.integers(23, size=(200, 23)):
        rows = np.concatenate([np.flatnonzero(names == distinct[number]) for number in drawn])
        areas.append(roc_auc_score(labels[rows], scores[rows]))
    assert interval.estimate == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(areas, [5, 95])), abs=1e-12)
    assert (interval.resamples, interval.undefined, interval.level) == (200, 0, 0.9)


def test_bootstrap_with_one_image_per_patient_is_that_of_scipy() -> None:
    labels, scores = _binary(8, 150)
    ours = bootstrap_auc(labels, scores, np.arange(150), samples=20_000, seed=1)
    theirs = stats.bootstrap(
        (labels, scores),
        roc_auc_score,
        paired=True,
        vectorized=False,
        n_resamples=1500,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_undefined_resamples_are_counted_and_left_out() -> None:
    """Three patients, one of them positive: it is missing from (2/3)**3 of the resamples, alone in (1/3)**3."""
    interval = bootstrap_auc([0, 0, 1], [0.1, 0.4, 0.3], [5, 6, 7], samples=9000, seed=0)
    assert interval.undefined / 9000 == pytest.approx((2 / 3) ** 3 + (1 / 3) ** 3, abs=0.02)
    assert (interval.estimate, interval.low, interval.high) == (0.5, 0.0, 1.0)


def test_multiclass_bootstrap_and_reproducibility() -> None:
    draws = np.random.default_rng(6)
    labels = np.arange(90) % 3
    scores = draws.normal(size=(90, 3)) + np.eye(3)[labels]
    first = bootstrap_auc(labels, scores, np.arange(90) // 2, samples=300, seed=4)
    assert first == bootstrap_auc(labels, scores, np.arange(90) // 2, samples=300, seed=4)
    assert first != bootstrap_auc(labels, scores, np.arange(90) // 2, samples=300, seed=5)
    assert first.low < roc_auc_score(labels, _softmax(scores), multi_class="ovr") + 0.05
    assert first.low < first.estimate < first.high


def _softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_paired_difference_equals_a_plain_loop_and_cancels_what_is_shared() -> None:
    labels, scores, patient = _clusters(9, patients=30)
    other = scores + 0.3 * np.random.default_rng(1).normal(size=len(scores))
    interval = paired_bootstrap(labels, scores, other, patient, samples=150, seed=2)
    draws, differences = np.random.default_rng(2), []
    for drawn in draws.integers(30, size=(150, 30)):
        rows = np.concatenate([np.flatnonzero(patient == number) for number in drawn])
        differences.append(roc_auc_score(labels[rows], other[rows]) - roc_auc_score(labels[rows], scores[rows]))
    assert interval.estimate == pytest.approx(roc_auc_score(labels, other) - roc_auc_score(labels, scores), abs=1e-12)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(differences, [2.5, 97.5])), abs=1e-12)
    same = paired_bootstrap(labels, scores, scores * 2 + 1, patient, samples=50)
    assert (same.estimate, same.low, same.high) == (0.0, 0.0, 0.0)
    alone = bootstrap_auc(labels, scores, patient, samples=150, seed=2)
    assert interval.high - interval.low < alone.high - alone.low


def test_coverage_over_patients_where_images_alone_are_too_sure() -> None:
    """True AUC Phi(1 / sqrt 2); 200 simulated cohorts of 60 patients. 95 % +- 3 standard errors is 0.904 to 0.996."""
    truth = stats.norm.cdf(1 / np.sqrt(2))
    covered = {"patients": 0, "images": 0}
    for cohort in range(200):
        labels, scores, patient = _clusters(1000 + cohort, patients=60, spread=0.9)
        for unit, clusters in (("patients", patient), ("images", np.arange(len(patient)))):
            interval = bootstrap_auc(labels, scores, clusters, samples=300, seed=cohort)
            covered[unit] += interval.low <= truth <= interval.high
    assert 0.9 <= covered["patients"] / 200 <= 0.996
    assert covered["images"] / 200 < 0.8
