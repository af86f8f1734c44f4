"""Label columns as arrays: which columns of the CSV are stored, and how text becomes codes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.engine.errors import InputError
from wavestream.engine.labels import FILE_COLUMNS, PATIENT_COLUMNS, LabelFile
from wavestream.engine.split import SPLIT_NAMES

MAX_CATEGORIES = 64
_MISSING = frozenset({"", "na", "n/a", "nan", "null"})
# Words of a column's name that announce what identifies a person.
_IDENTIFYING = frozenset(
    {"accession", "address", "birth", "birthday", "birthdate", "city", "date", "dob", "email", "id", "identifier"}
    | {"ids", "mail", "mrn", "name", "names", "nhs", "phone", "postcode", "ssn", "street", "surname", "tel"}
    | {"telephone", "uid", "uids", "uuid", "zip"}
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_INTEGER = re.compile(r"[+-]?\d+(\.0*)?")
_NUMBER = re.compile(r"[+-]?(?!0\d)(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class LabelColumn:
    """One label column.

    Attributes:
        name: as in the CSV's header.
        values: per CSV row: ``int16`` codes, -1 missing; or ``float64``, NaN missing.
        categories: what the codes stand for; None for numbers.
    """

    name: str
    values: NDArray[Any]
    categories: tuple[str, ...] | None

    @property
    def missing(self) -> Any:
        """The value that stands for none."""
        return np.nan if self.categories is None else np.int16(-1)


def choose_columns(
    labels: LabelFile, used: Sequence[str], wanted: Sequence[str] | None
) -> tuple[list[LabelColumn], list[str]]:
    """The label columns to store, and a message for each column left out for safety.

    Args:
        labels: the CSV.
        used: columns that serve another purpose and are never stored: file, patient, split, region of interest.
        wanted: columns to store, and no others; None: all but those that look as if they identified someone, by
            their name or by more than 64 different texts.

    Raises:
        InputError: a wanted column is not there, is one of ``used``, or cannot be stored under its name.
    """
    if wanted is not None:
        for name in wanted:
            labels.column(name, "label column")
            if name in used:
                raise InputError(f"{labels.path}: column {name!r} cannot be stored as a label: it has another use")
        return [encode_column(name, labels) for name in wanted], []
    chosen, left_out = [], []
    for name, values in labels.columns.items():
        if name in used:
            continue
        if name in (*FILE_COLUMNS, *PATIENT_COLUMNS):
            left_out.append(f"column {name!r} is not stored: its name says that it holds files or patients")
        elif name == "split" and _distinct(values) <= set(SPLIT_NAMES):
            left_out.append(
                "column 'split' is not stored: to use the split that it describes, give split_column='split'"
            )
        elif _IDENTIFYING.intersection(word.lower() for word in _WORD.findall(name)):
            left_out.append(f"column {name!r} is not stored: its name looks like an identifier")
        elif _numbers(values) is None and len(_distinct(values)) > MAX_CATEGORIES:
            left_out.append(f"column {name!r} is not stored: text with more than {MAX_CATEGORIES} different values")
        else:
            chosen.append(encode_column(name, labels))
    return chosen, left_out


def encode_column(name: str, labels: LabelFile) -> LabelColumn:
    """One column as codes or numbers.

    Integers with at most 64 different values, and text, are categories: sorted, integers by value. Other numbers
    stay numbers. Empty fields, ``NA``, ``N/A``, ``NaN`` and ``null`` are missing.
    """
    if "/" in name or "\\" in name or name in (".", "..") or name.startswith("__") or not name.isprintable():
        raise InputError(f"{labels.path}: column {name!r} cannot be the name of a Zarr array: rename it in the CSV")
    values = labels.columns[name]
    numbers = _numbers(values)
    distinct = _distinct(values)
    if numbers is not None:
        integers = all(_INTEGER.fullmatch(value) for value in distinct)
        categories = [str(number) for number in sorted({int(float(value)) for value in distinct})] if integers else []
        if not integers or len(categories) > MAX_CATEGORIES:
            return LabelColumn(name, numbers, None)
        keys = ["" if math.isnan(number) else str(int(number)) for number in numbers]
    else:
        categories = sorted(distinct)
        keys = values
    if len(categories) > np.iinfo(np.int16).max:
        raise InputError(f"{labels.path}: column {name!r} has {len(categories)} different texts; at most 32767 fit")
    codes = {category: code for code, category in enumerate(categories)}
    encoded = np.array([codes.get(key, -1) for key in keys], dtype=np.int16)
    return LabelColumn(name, encoded, tuple(categories))


def _distinct(values: list[str]) -> set[str]:
    return {value for value in values if value.lower() not in _MISSING}


def _numbers(values: list[str]) -> NDArray[np.float64] | None:
    """The column as float64 with NaN for missing, or None where some value is no finite number, or all are missing.

    Digits after a leading 0 make a code, not a number.
    """
    distinct = _distinct(values)
    if not distinct or not all(_NUMBER.fullmatch(value) and math.isfinite(float(value)) for value in distinct):
        return None
    return np.array([float(value) if value in distinct else np.nan for value in values])
