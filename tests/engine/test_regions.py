"""Regions of interest from the label CSV."""

from __future__ import annotations

from pathlib import Path

import pytest

from wavestream.engine.errors import InputError
from wavestream.engine.labels import LabelFile
from wavestream.engine.regions import ROI_COLUMNS, read_regions

SIZES = {0: (100, 80), 1: (100, 80)}


def label_file(*rows: tuple[str, str, str, str], columns: tuple[str, ...] = ROI_COLUMNS) -> LabelFile:
    values = {name: [row[index] for row in rows] for index, name in enumerate(columns)}
    return LabelFile(Path("l.csv"), values, list(range(2, 2 + len(rows))))


def test_boxes_and_rows_without_one() -> None:
    assert read_regions(label_file(("0", "0.0", "100", "80"), ("", "", "", "")), SIZES) == {0: (0, 0, 100, 80)}
    assert read_regions(label_file(("", "", "", ""), ("7", "8", "93", "72")), SIZES) == {1: (7, 8, 93, 72)}
    assert read_regions(label_file(("x", "x", "x", "x"), columns=("a", "b", "c", "d")), SIZES) == {}


def test_rows_about_files_that_are_not_stored_are_not_looked_at() -> None:
    assert read_regions(label_file(("0", "0", "1", "1"), ("9", "9", "999", "9")), {0: (5, 5)}) == {0: (0, 0, 1, 1)}


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (
            ("0", "0", "101", "80"),
            "line 2: the region of 101 x 80 pixels at row 0, column 0 is not inside its image of 100",
        ),
        (("50", "1", "50", "80"), "not inside"),
        (("0", "0", "0", "5"), "not inside"),
        (("-1", "0", "5", "5"), "line 2: expected four whole numbers"),
        (("1.5", "0", "5", "5"), "got 1.5, 0, 5, 5"),
        (("1", "", "5", "5"), "expected four whole numbers"),
    ],
)
def test_boxes_that_are_not_inside_are_refused(box: tuple[str, str, str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_regions(label_file(box), {0: SIZES[0]})


def test_some_of_the_four_columns_are_not_enough() -> None:
    labels = LabelFile(Path("l.csv"), {"roi_row": ["1"], "roi_cols": ["1"]}, [2])
    with pytest.raises(InputError, match="only roi_row, roi_cols are there"):
        read_regions(labels, SIZES)
