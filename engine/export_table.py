"""The table beside exported files: one row per image, in a CSV that people read and ``wavestream ingest`` takes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

from wavestream.engine.export_source import ExportSource
from wavestream.engine.schema import SPLITS, VOI_FUNCTIONS

_INTEGERS = ("series", "position", "bits_stored", "value_low", "value_high", "inverted")
_REGION = ("roi_row", "roi_col", "roi_rows", "roi_cols")
_NUMBERS = ("slope", "intercept", "window_center", "window_width")
_LEADING = ("file", "index", "rows", "cols")
_TRAILING = ("split", "patient", "offset", *_NUMBERS, "voi_function", *_INTEGERS, *_REGION)


def table_csv(source: ExportSource, files: Sequence[str], offsets: Sequence[int]) -> str:
    """The table as the text of a CSV file.

    Columns: ``file``, ``index``, ``rows``, ``cols``; the labels, categories by name, empty where missing (a label
    named like a column of ours is written as ``label_<name>``); ``split`` by name; ``patient``, the store's salted
    hash in hexadecimal; ``offset``: stored value = value in the file + offset, and modality value = stored value *
    ``slope`` + ``intercept``; the window in modality units; and the other technical columns of the store.

    Args:
        source: the images.
        files: where each image lies, relative to the table.
        offsets: what was subtracted from each image's values.
    """
    labels = {_label_name(name): _label_texts(source, name) for name in source.store.labels}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_LEADING, *labels, *_TRAILING))
    for index, technical in enumerate(_technical_rows(source, offsets)):
        size = (int(source.table["rows"][index]), int(source.table["cols"][index]))
        writer.writerow((files[index], index, *size, *(texts[index] for texts in labels.values()), *technical))
    return text.getvalue()


def _technical_rows(source: ExportSource, offsets: Sequence[int]) -> Iterator[list[Any]]:
    table = source.table
    for index, offset in enumerate(offsets):
        yield [
            SPLITS[table["split"][index]],
            patient_name(int(table["patient"][index])),
            offset,
            *(_number_text(float(table[name][index])) for name in _NUMBERS),
            VOI_FUNCTIONS[table["voi_function"][index]],
            *(int(table[name][index]) for name in (*_INTEGERS, *_REGION)),
        ]


def patient_name(patient: int) -> str:
    """The salted hash of a patient as 16 hexadecimal digits."""
    return f"{patient:016x}"


def _label_name(name: str) -> str:
    return f"label_{name}" if name in (*_LEADING, *_TRAILING) else name


def _label_texts(source: ExportSource, name: str) -> list[str]:
    values, categories = source.store.labels[name].tolist(), source.store.categories(name)
    if categories is None:
        return [_number_text(value) for value in values]
    return [categories[code] if code >= 0 else "" for code in values]


def _number_text(value: float) -> str:
    """The shortest text that reads back as ``value``; empty for NaN."""
    if math.isnan(value):
        return ""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)
