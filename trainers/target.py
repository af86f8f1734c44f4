"""What is predicted: the classes of a label column, and whether the splits have enough of them to learn and to test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from wavestream.bindings.dataset import SplitDataset
from wavestream.engine.errors import InputError
from wavestream.engine.store import Store

LEARNED_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Target:
    """A label column of a store, counted.

    Attributes:
        name: of the label column.
        categories: names of the classes; the class code is the position.
        counts: images of each class, by split (``train``, ``val``, ``test``).
        fingerprint: hash over the splits, the labels and the hashes of the pixels: equal means the same data.
    """

    name: str
    categories: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    fingerprint: str

    def class_weights(self) -> tuple[float, ...]:
        """Weight of each class in the loss: n / (classes * n_class) over the train split, 0 for a class without images.

        Inverse frequency, scaled so that the weights of all train images average 1 (King & Zeng, Logistic regression
        in rare events data, 2001; scikit-learn's ``class_weight="balanced"``).
        """
        counts = np.array(self.counts["train"], dtype=np.float64)
        occurring = counts > 0
        weights = np.zeros(len(counts))
        weights[occurring] = counts.sum() / (occurring.sum() * counts[occurring])
        return tuple(weights.tolist())


def read_target(store: Store, name: str | None) -> Target:
    """Count the classes of a label column, and refuse what cannot be trained, validated and tested.

    Args:
        store: an open store.
        name: label column; None: the only one there is.

    Raises:
        InputError: no labels, or several and no name; an empty split; an image without a label; one class only; a class
            of validation or test that the train split lacks; a split with fewer than two classes.
    """
    if not len(store.labels):
        raise InputError(f"{store.path} has no labels: ingest it again with a label CSV (wavestream ingest --labels)")
    splits = {split: SplitDataset(store, split, name) for split in LEARNED_SPLITS}
    train = splits["train"]
    counts = {
        split: tuple(np.bincount(dataset.labels, minlength=len(train.categories)).tolist())
        for split, dataset in splits.items()
    }
    assert train.target is not None
    target = Target(train.target, train.categories, counts, _fingerprint(store, splits))
    _refuse_unlearnable(target)
    return target


def _refuse_unlearnable(target: Target) -> None:
    """Refuse before any training what would fail, or mean nothing, after it."""
    table = "; ".join(
        f"{split}: " + (", ".join(f"{c} {n}" for c, n in zip(target.categories, counts, strict=True)) or "no classes")
        for split, counts in target.counts.items()
    )
    label = f"label {target.name!r}"
    occurring = {split: {c for c, n in enumerate(counts) if n} for split, counts in target.counts.items()}
    if len(set().union(*occurring.values())) < 2:
        raise InputError(f"{label}: expected at least two classes with images, got {table}; choose another target")
    for split in LEARNED_SPLITS:
        if len(occurring[split]) < 2:
            raise InputError(
                f"{label}: expected at least two classes in the {split} split, got {table}; "
                f"ingest again, stratified by {target.name!r} (--stratify), with other fractions, or more images"
            )
    for split in ("val", "test"):
        unseen = [target.categories[c] for c in sorted(occurring[split] - occurring["train"])]
        if unseen:
            raise InputError(
                f"{label}: the {split} split has {', '.join(unseen)}, which the train split has not ({table}); "
                f"ingest again, stratified by {target.name!r} (--stratify), or merge rare classes in the CSV"
            )


def _fingerprint(store: Store, splits: dict[str, SplitDataset]) -> str:
    digest = hashlib.sha256("\0".join(splits["train"].categories).encode())
    for dataset in splits.values():
        for array in (dataset.indices, dataset.labels, store.table["pixel_sha256"][dataset.indices]):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
