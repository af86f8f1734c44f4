"""The split: no patient in two parts, classes in proportion, the same whatever the order."""

from __future__ import annotations

import numpy as np
import pytest

from wavestream.engine.errors import InputError
from wavestream.engine.schema import SPLITS
from wavestream.engine.split import SplitError, named_split, patient_split

FRACTIONS = (0.8, 0.1, 0.1)


def cohort(patients: int, seed: int) -> tuple[list[str], list[int]]:
    """Images of patients with one to five each, of three classes, 10 : 3 : 1."""
    random = np.random.default_rng(seed)
    names, classes = [], []
    for patient in range(patients):
        label = int(random.choice(3, p=[10 / 14, 3 / 14, 1 / 14]))
        for _ in range(random.integers(1, 6)):
            names.append(f"p{patient}")
            classes.append(label)
    return names, classes


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fractions", [FRACTIONS, (0.5, 0.25, 0.25), (0.9, 0.1, 0.0), (1.0, 0.0, 0.0)])
def test_patients_stay_together_and_classes_in_proportion(seed: int, fractions: tuple[float, float, float]) -> None:
    patients, classes = cohort(400, seed)
    split = patient_split(patients, classes, fractions, seed)
    part_of = dict(zip(patients, split.tolist(), strict=True))
    assert [part_of[patient] for patient in patients] == split.tolist()
    class_of = dict(zip(patients, classes, strict=True))
    for label in range(3):
        members = [part_of[patient] for patient, of in class_of.items() if of == label]
        counts = np.bincount(members, minlength=3)
        assert np.abs(counts - len(members) * np.array(fractions)).max() <= 2
    counts = np.bincount(list(part_of.values()), minlength=3)
    assert np.abs(counts - 400 * np.array(fractions)).max() <= 2
    assert all(counts[part] == 0 for part in range(3) if fractions[part] == 0)


def test_the_order_of_the_images_does_not_matter() -> None:
    patients, classes = cohort(120, 1)
    split = patient_split(patients, classes, FRACTIONS, 4)
    order = np.random.default_rng(2).permutation(len(patients))
    shuffled = patient_split([patients[i] for i in order], [classes[i] for i in order], FRACTIONS, 4)
    np.testing.assert_array_equal(shuffled, split[order])


def test_seeds_make_different_splits_and_one_seed_one() -> None:
    patients, classes = cohort(120, 1)
    first = patient_split(patients, classes, FRACTIONS, 0)
    np.testing.assert_array_equal(first, patient_split(patients, classes, FRACTIONS, 0))
    assert (first != patient_split(patients, classes, FRACTIONS, 1)).any()


@pytest.mark.parametrize("patients", [3, 4, 5, 9])
def test_every_part_gets_every_class_that_has_a_patient_for_each(patients: int) -> None:
    names = [f"{label}-{number}" for label in range(4) for number in range(patients)]
    classes = [label for label in range(4) for _ in range(patients)]
    split = patient_split(names, classes, FRACTIONS, 0)
    found = {(int(part), label) for part, label in zip(split, classes, strict=True)}
    assert found == {(part, label) for part in range(3) for label in range(4)}


def test_many_tiny_classes_still_fill_every_part() -> None:
    names = [f"p{number}" for number in range(50)]
    counts = np.bincount(patient_split(names, list(range(50)), FRACTIONS, 0), minlength=3)
    assert np.abs(counts - [40, 5, 5]).max() <= 1


def test_a_patient_of_two_classes_counts_for_the_rarer() -> None:
    patients = [*(f"a{number}" for number in range(90)), *(f"b{number}" for number in range(10) for _ in range(2))]
    classes = [0] * 90 + [0, 1] * 10
    split = patient_split(patients, classes, FRACTIONS, 0)
    both = split[90::2]
    assert np.bincount(both, minlength=3).tolist() == [8, 1, 1]


def test_without_classes_the_parts_have_their_shares() -> None:
    split = patient_split([f"p{number}" for number in range(100)], None, FRACTIONS, 0)
    assert np.bincount(split).tolist() == [80, 10, 10]
    assert patient_split(["only"], None, FRACTIONS, 0).tolist() == [SPLITS.index("train")]


@pytest.mark.parametrize("fractions", [(0.8, 0.1), (0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5)])
def test_shares_that_are_none_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="fractions"):
        patient_split(["a"], None, fractions, 0)


def test_a_stated_split_is_taken_as_it_is() -> None:
    names = ["train", "VAL", "valid", "validation", "test", ""]
    split = named_split(list("abcdef"), names)
    assert [SPLITS[code] for code in split] == ["train", "val", "val", "val", "test", "none"]


def test_a_stated_split_must_not_divide_a_patient() -> None:
    with pytest.raises(SplitError, match="one patient is in train and test") as caught:
        named_split(["a", "b", "a"], ["train", "val", "test"])
    assert caught.value.positions == [0, 2]
    with pytest.raises(SplitError, match="got 'holdout'") as caught:
        named_split(["a", "b"], ["train", "holdout"])
    assert caught.value.positions == [1]
    assert named_split(["a", "a"], ["", "test"]).tolist() == [3, 2]
