"""The user's label CSV: reading it, and finding the image file that each row is about."""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wavestream.engine.errors import InputError
from wavestream.engine.sources import Sources

FILE_COLUMNS = ("file", "filename", "path", "image")
PATIENT_COLUMNS = ("patient_id", "patient", "PatientID")
_DELIMITERS = ",;\t"
_NAMED = 10


@dataclass(frozen=True)
class LabelFile:
    """A label CSV as text.

    Attributes:
        path: where it came from.
        columns: name -> one string per row, stripped of surrounding blanks.
        lines: line of the CSV that each row ends on, from 1.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def column(self, name: str, what: str) -> list[str]:
        """A column by name; ``what`` says in the error what it was wanted for."""
        if name not in self.columns:
            raise InputError(f"{self.path}: no {what} {name!r}; its columns are {', '.join(self.columns)}")
        return self.columns[name]

    def where(self, rows: Sequence[int]) -> str:
        """Lines of the first rows, for error messages."""
        more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
        return (
            ("line " if len(rows) == 1 else "lines ") + ", ".join(str(self.lines[row]) for row in rows[:_NAMED]) + more
        )


def read_label_file(path: str | Path) -> LabelFile:
    """Read a CSV with a header line; UTF-8, with or without byte order mark; separated by comma, semicolon or tab.

    Raises:
        InputError: missing, empty, not UTF-8, a column named twice or not at all, or a row with too many or too few
            fields; names the line.
    """
    path = Path(os.path.abspath(path))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"label file {path} cannot be read: {error.strerror}") from None
    text = _decode(content, path)
    header, _, _ = text.partition("\n")
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = [name.strip() for name in next(reader, [])]
        _check_names(names, path)
        rows, lines = [], []
        for row in reader:
            if not any(field.strip() for field in row):
                continue
            if len(row) != len(names):
                raise InputError(
                    f"{path}, line {reader.line_num}: expected {len(names)} fields as in the header, got {len(row)}"
                )
            rows.append([field.strip() for field in row])
            lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}") from None
    if not rows:
        raise InputError(f"{path}: expected a header line and a row for each image, got no rows")
    return LabelFile(path, {name: [row[index] for row in rows] for index, name in enumerate(names)}, lines)


def _decode(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8; save the file as UTF-8 (in Excel: CSV UTF-8)") from None


def _check_names(names: list[str], path: Path) -> None:
    if not names:
        raise InputError(f"{path}: the file is empty; expected a header line and a row for each image")
    if "" in names:
        raise InputError(f"{path}: column {names.index('') + 1} has no name in the header line")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: the header names {', '.join(map(repr, twice))} more than once")


def find_column(labels: LabelFile, given: str | None, usual: Sequence[str], what: str) -> str | None:
    """The column ``given``, which must exist; else the first of the ``usual`` names that does, or None."""
    if given is not None:
        labels.column(given, what)
        return given
    return next((name for name in usual if name in labels.columns), None)


def match_files(labels: LabelFile, sources: Sources, file_column: str | None = None) -> dict[int, int]:
    """Find the input file of every row: input index -> row.

    A name is looked for as an absolute path, then relative to the CSV's folder, then to the source folder, then as
    the name of a file in whatever folder, if no two inputs share it.

    Raises:
        InputError: no file column; no match at all; rows without a file; names that fit several files; two rows for
            one file. Lines of the CSV are named.
    """
    column = find_column(labels, file_column, FILE_COLUMNS, "file column")
    if column is None:
        raise InputError(
            f"{labels.path}: no column {', '.join(FILE_COLUMNS)}; its columns are {', '.join(labels.columns)}: "
            "say which one names the image files with file_column"
        )
    names = labels.columns[column]
    by_path = {str(sources.path(index)): index for index in range(len(sources.names))}
    by_name: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(sources.names):
        by_name[name.rpartition("/")[2]].append(number)
    found: dict[int, int] = {}
    unknown: list[int] = []
    for row, name in enumerate(names):
        index = _find(name, labels, sources, by_path, by_name, row)
        if index is None:
            unknown.append(row)
        elif index in found:
            raise InputError(
                f"{labels.path}, {labels.where([found[index], row])}: two rows for the file {sources.names[index]}"
            )
        else:
            found[index] = row
    if not found:
        raise InputError(
            f"{labels.path}: none of its {len(names)} rows names an input file; column {column!r} says for example "
            f"{names[0]!r}, an input file is {str(sources.path(0))!r}"
        )
    if unknown:
        examples = ", ".join(repr(names[row]) for row in unknown[:_NAMED])
        raise InputError(
            f"{labels.path}, {labels.where(unknown)}: {len(unknown)} rows name files that are not among the inputs: "
            f"{examples}; correct the names or remove the rows"
        )
    return found


def _find(
    name: str, labels: LabelFile, sources: Sources, by_path: dict[str, int], by_name: dict[str, list[int]], row: int
) -> int | None:
    if not name:
        return None
    for folder in (labels.path.parent, sources.root):
        index = by_path.get(os.path.normpath(folder / name))
        if index is not None:
            return index
    same_name = by_name.get(os.path.basename(name.rstrip("/")), [])
    if len(same_name) > 1:
        examples = ", ".join(sources.names[index] for index in same_name[:_NAMED])
        raise InputError(
            f"{labels.path}, {labels.where([row])}: {name!r} fits {len(same_name)} input files ({examples}): "
            "write the path relative to the CSV's folder or to the source folder"
        )
    return same_name[0] if same_name else None
