"""The frozen split: patient-wise, so that no patient is in two parts, and stratified by a label."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wavestream.engine.errors import InputError
from wavestream.engine.schema import SPLITS

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_PARTS = SPLITS[:3]


def check_fractions(fractions: Sequence[float]) -> None:
    """Raise :class:`InputError` unless ``fractions`` are three shares that sum to 1, of which train's is positive."""
    if len(fractions) != 3 or not all(0 <= share <= 1 for share in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(f"fractions: expected three shares of train, val and test that sum to 1, got {fractions}")
    if fractions[0] == 0:
        raise InputError(f"fractions: expected a positive share for train, got {fractions}")


def patient_split(
    patients: Sequence[str], classes: Sequence[int] | None, fractions: Sequence[float], seed: int
) -> NDArray[np.uint8]:
    """Divide images into train, val and test by patient.

    Patients of one class are shuffled by a hash of the seed and their ID, so that neither the order of the images
    nor patients added in other classes change their order, and dealt out by largest remainder; what rounding owes
    one class is paid back in the next. A class with a patient for each part has one in each part. A patient with images
    of several classes counts for the rarest of them.

    Args:
        patients: patient ID of each image.
        classes: class of each image, or None for a split that is not stratified.
        fractions: shares of the patients for train, val and test; they sum to 1.
        seed: another seed, another split.

    Returns:
        (images,) codes into ``schema.SPLITS``.
    """
    check_fractions(fractions)
    strata: dict[int, list[str]] = defaultdict(list)
    for patient, stratum in _class_of_patients(patients, classes).items():
        strata[stratum].append(patient)
    owed = np.zeros(3)
    part_of: dict[str, int] = {}
    # Large classes last: they can pay any debt without being distorted.
    for stratum in sorted(strata, key=lambda stratum: (len(strata[stratum]), stratum)):
        members = sorted(strata[stratum], key=lambda patient: (_shuffle_key(seed, patient), patient))
        counts = _deal(len(members), np.asarray(fractions, dtype=np.float64), owed)
        for part, chunk in enumerate(np.split(np.array(members, dtype=object), np.cumsum(counts)[:-1])):
            part_of.update(dict.fromkeys(chunk, part))
    return np.array([part_of[patient] for patient in patients], dtype=np.uint8)


def named_split(patients: Sequence[str], names: Sequence[str]) -> NDArray[np.uint8]:
    """The split that the user's column states: (images,) codes into ``schema.SPLITS``; an empty name is ``none``.

    Args:
        patients: patient ID of each image.
        names: ``train``, ``val``, ``valid``, ``validation``, ``test`` or empty, in any case.

    Raises:
        SplitError: a name that is no split, or a patient in two parts; carries the positions of the images.
    """
    codes = np.full(len(names), SPLITS.index("none"), dtype=np.uint8)
    seen: dict[str, int] = {}
    for position, (patient, name) in enumerate(zip(patients, names, strict=True)):
        if not name:
            continue
        if name.lower() not in SPLIT_NAMES:
            raise SplitError(f"expected train, val or test in the split column, got {name!r}", [position])
        codes[position] = SPLITS.index(SPLIT_NAMES[name.lower()])
        first = seen.setdefault(patient, position)
        if codes[first] != codes[position]:
            both = f"{SPLITS[codes[first]]} and {SPLITS[codes[position]]}"
            raise SplitError(f"one patient is in {both}: put all images of a patient into one split", [first, position])
    return codes


class SplitError(InputError):
    """A stated split that cannot be used; ``positions`` says which images are at fault."""

    def __init__(self, message: str, positions: list[int]) -> None:
        super().__init__(message)
        self.message = message
        self.positions = positions


def _class_of_patients(patients: Sequence[str], classes: Sequence[int] | None) -> dict[str, int]:
    if classes is None:
        return dict.fromkeys(patients, 0)
    frequency = Counter(classes)
    chosen: dict[str, int] = {}
    for patient, stratum in zip(patients, classes, strict=True):
        other = chosen.setdefault(patient, stratum)
        chosen[patient] = min(stratum, other, key=lambda value: (frequency[value], value))
    return chosen


def _shuffle_key(seed: int, patient: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{patient}".encode("utf-8", "surrogateescape")).digest()


def _deal(count: int, fractions: NDArray[np.float64], owed: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many of ``count`` patients each part gets; ``owed`` carries the rounding on to the next class."""
    due = np.where(fractions > 0, count * fractions + owed, 0.0)
    counts = np.clip(np.floor(due), 0, None).astype(np.int64)
    while counts.sum() > count:
        counts[np.argmax(np.where(counts > 0, counts - due, -np.inf))] -= 1
    while counts.sum() < count:
        counts[np.argmax(np.where(fractions > 0, due - counts, -np.inf))] += 1
    if count >= np.count_nonzero(fractions):
        for part in np.flatnonzero((fractions > 0) & (counts == 0)):
            counts[np.argmax(counts)] -= 1
            counts[part] += 1
    owed += count * fractions - counts
    return counts
