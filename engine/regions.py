"""Regions of interest from the label CSV: a box of each image, in pixels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from wavestream.engine.errors import InputError
from wavestream.engine.labels import LabelFile

ROI_COLUMNS = ("roi_row", "roi_col", "roi_rows", "roi_cols")
Box = tuple[int, int, int, int]
_WHOLE = re.compile(r"\d{1,9}(\.0*)?")


def read_regions(labels: LabelFile, sizes: Mapping[int, tuple[int, int]]) -> dict[int, Box]:
    """The region of interest of each row that has one: first row, first column, rows, columns, in pixels.

    Args:
        labels: a CSV with all four columns ``roi_row, roi_col, roi_rows, roi_cols``, or none of them. A row where all
            four are empty means the whole image.
        sizes: CSV row -> (rows, columns) of the image it is about; other rows are not looked at.

    Raises:
        InputError: some of the four columns are missing; a box that is no whole numbers or not inside its image;
            names the line.
    """
    present = [name for name in ROI_COLUMNS if name in labels.columns]
    if not present:
        return {}
    if len(present) < len(ROI_COLUMNS):
        raise InputError(
            f"{labels.path}: a region of interest needs the columns {', '.join(ROI_COLUMNS)}; only "
            f"{', '.join(present)} are there"
        )
    regions = {}
    for row, (rows, cols) in sizes.items():
        fields = [labels.columns[name][row] for name in ROI_COLUMNS]
        if any(fields):
            regions[row] = _box(fields, rows, cols, f"{labels.path}, {labels.where([row])}")
    return regions


def _box(fields: Sequence[str], rows: int, cols: int, where: str) -> Box:
    if not all(_WHOLE.fullmatch(field) for field in fields):
        raise InputError(f"{where}: expected four whole numbers for {', '.join(ROI_COLUMNS)}, got {', '.join(fields)}")
    top, left, height, width = (int(float(field)) for field in fields)
    if height < 1 or width < 1 or top + height > rows or left + width > cols:
        raise InputError(
            f"{where}: the region of {height} x {width} pixels at row {top}, column {left} is not inside its image of "
            f"{rows} x {cols}"
        )
    return top, left, height, width
