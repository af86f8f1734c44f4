"""Label columns as codes and numbers, and which are left out for safety."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wavestream.engine.errors import InputError
from wavestream.engine.label_columns import choose_columns, encode_column
from wavestream.engine.labels import LabelFile

MakeCsv = Callable[..., Path]


def label_file(**columns: list[str]) -> LabelFile:
    count = len(next(iter(columns.values())))
    return LabelFile(Path("labels.csv"), columns, list(range(2, 2 + count)))


def test_text_is_coded_in_sorted_order() -> None:
    column = encode_column("sex", label_file(sex=["M", "F", "", "M", "NA"]))
    assert column.categories == ("F", "M")
    assert column.values.dtype == np.int16
    assert column.values.tolist() == [1, 0, -1, 1, -1]


def test_few_integers_are_categories_sorted_by_value() -> None:
    column = encode_column("grade", label_file(grade=["10", "2", "n/a", "2.0", "-1"]))
    assert column.categories == ("-1", "2", "10")
    assert column.values.tolist() == [2, 1, -1, 1, 0]


def test_many_integers_and_fractions_are_numbers() -> None:
    many = encode_column("age", label_file(age=[*map(str, range(65)), "null"]))
    assert (many.categories, many.values.dtype) == (None, np.float64)
    np.testing.assert_array_equal(many.values, [*range(65), np.nan])
    few = encode_column("dose", label_file(dose=["1", "2.5", "1e3", "NaN"]))
    np.testing.assert_array_equal(few.values, [1, 2.5, 1000, np.nan])


@pytest.mark.parametrize("values", [["007", "8"], ["1_000", "2"], ["inf", "1"], ["1e999", "1"], ["0x10", "1"]])
def test_what_only_looks_like_a_number_is_text(values: list[str]) -> None:
    assert encode_column("code", label_file(code=values)).categories == tuple(sorted(values))


def test_a_column_without_values_has_no_categories() -> None:
    column = encode_column("x", label_file(x=["", "NA"]))
    assert (column.categories, column.values.tolist()) == ((), [-1, -1])


@pytest.mark.parametrize("name", ["a/b", "..", "__x", "a\\b", "a\nb"])
def test_names_that_zarr_cannot_hold_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a Zarr array"):
        encode_column(name, label_file(**{name: ["1"]}))


IDENTIFYING = (
    *("Patient Name", "lastName", "MRN", "AccessionNumber", "accession_number", "dob", "BirthDate", "SOPInstanceUID"),
    *("StudyInstanceUID", "study_id", "home_address", "phone", "e-mail", "patient", "PatientID", "path", "study date"),
)
HARMLESS = ("pathology", "nodule", "sex", "age", "view", "diagnosis", "pneumonia", "hidden_mass", "update", "valid")


def test_columns_that_look_like_identifiers_are_left_out() -> None:
    labels = label_file(**{name: ["1", "2"] for name in (*IDENTIFYING, *HARMLESS)})
    chosen, left_out = choose_columns(labels, used=(), wanted=None)
    assert [column.name for column in chosen] == list(HARMLESS)
    assert len(left_out) == len(IDENTIFYING)
    assert "column 'MRN' is not stored: its name looks like an identifier" in left_out


def test_long_lists_of_texts_are_left_out_unless_named() -> None:
    texts = [f"text {number}" for number in range(65)]
    labels = label_file(comment=texts, site=["x"] * 65)
    chosen, left_out = choose_columns(labels, used=(), wanted=None)
    assert [column.name for column in chosen] == ["site"]
    assert left_out == ["column 'comment' is not stored: text with more than 64 different values"]
    named, nothing = choose_columns(labels, used=(), wanted=["comment"])
    assert (len(named[0].categories or ()), nothing) == (65, [])


def test_a_split_column_that_is_not_used_is_left_out() -> None:
    labels = label_file(split=["train", "val"], fold=["1", "2"])
    chosen, left_out = choose_columns(labels, used=(), wanted=None)
    assert [column.name for column in chosen] == ["fold"]
    assert "split_column='split'" in left_out[0]


def test_columns_with_another_use_are_never_stored() -> None:
    labels = label_file(file=["a", "b"], subject=["p", "q"], sex=["M", "F"])
    assert [column.name for column in choose_columns(labels, ("file", "subject"), None)[0]] == ["sex"]
    with pytest.raises(InputError, match="'subject' cannot be stored as a label"):
        choose_columns(labels, ("file", "subject"), ["subject"])
    with pytest.raises(InputError, match="no label column 'gender'; its columns are file, subject, sex"):
        choose_columns(labels, ("file",), ["gender"])
