"""What will be stored: the accepted files in order, each with its label row, patient, and place in its series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wavestream.engine.errors import InputError
from wavestream.engine.frame import Scan
from wavestream.engine.ingest_config import IngestConfig
from wavestream.engine.label_columns import LabelColumn, choose_columns, encode_column
from wavestream.engine.labels import (
    FILE_COLUMNS,
    PATIENT_COLUMNS,
    LabelFile,
    find_column,
    match_files,
    read_label_file,
)
from wavestream.engine.limits import Limits
from wavestream.engine.patients import name_patients
from wavestream.engine.pixel_codecs import Canvas
from wavestream.engine.regions import ROI_COLUMNS, Box, read_regions
from wavestream.engine.rejection import Reason, Rejection
from wavestream.engine.series import place_in_series
from wavestream.engine.sources import Sources
from wavestream.engine.split import SplitError, named_split

_NAMED = 10
_DTYPES = {"uint8": (0, 255), "uint16": (0, 65535), "int16": (-32768, 32767), "int32": (-(2**31), 2**31 - 1)}


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted file.

    Attributes:
        source: its number among the sources.
        row: its row in the label file, or -1.
        patient: patient ID as the user or the file writes it. Never stored.
        series: number of its series.
        position: position of its first image in the series.
        frames: number of its images.
        region: region of interest, or None for the whole image.
    """

    source: int
    row: int
    patient: str
    series: int
    position: int
    frames: int
    region: Box | None


@dataclass(frozen=True)
class Inventory:
    """All that is decided before the first pixel is decoded.

    Attributes:
        entries: accepted files, in the order of the store.
        rejected: source number -> why it will not be stored.
        canvas: size and dtype that hold every image.
        columns: label columns to store.
        strata: column that the split is stratified by, or None.
        split_names: per entry the split that the user stated, or None where a split is to be made.
        messages: what the user should know.
    """

    entries: list[Entry]
    rejected: dict[int, Rejection]
    canvas: Canvas
    columns: list[LabelColumn]
    strata: LabelColumn | None
    split_names: list[str] | None
    messages: list[str]


def take_inventory(
    sources: Sources, scans: Sequence[Scan | Rejection], labels: str | Path | None, config: IngestConfig
) -> Inventory:
    """Join scans and labels.

    Raises:
        InputError: nothing to store; labels that do not fit the files; a patient in two splits; see the messages.
    """
    accepted = {index: scan for index, scan in enumerate(scans) if isinstance(scan, Scan)}
    rejected = {index: scan for index, scan in enumerate(scans) if isinstance(scan, Rejection)}
    if not accepted:
        raise InputError(nothing_stored(rejected.values(), len(sources.names)))
    messages: list[str] = []
    label_file = None if labels is None else read_label_file(labels)
    rows = {} if label_file is None else match_files(label_file, sources, config.file_column)
    if label_file is not None:
        _settle_unlabelled(sources, accepted, rejected, rows, config, messages)
    canvas = plan_canvas(accepted, sources, config.limits)
    patients = name_patients(sources, accepted, label_file, rows, config, messages)
    regions: Mapping[int, Box] = {}
    if label_file is not None:
        sizes = {rows[index]: (scan.rows, scan.cols) for index, scan in accepted.items() if index in rows}
        regions = read_regions(label_file, sizes)
    series = place_in_series(accepted)
    entries = [
        Entry(
            source=index,
            row=rows.get(index, -1),
            patient=patients[index],
            series=series[index][0],
            position=series[index][1],
            frames=scan.frames,
            region=regions.get(rows.get(index, -1)),
        )
        for index, scan in accepted.items()
    ]
    columns, strata, split_names = _label_uses(label_file, entries, config, messages)
    return Inventory(entries, rejected, canvas, columns, strata, split_names, messages)


def nothing_stored(rejections: Iterable[Rejection], files: int) -> str:
    """The message for an ingest that stores no image: how many files were refused, and why."""
    counts = Counter(str(rejection.reason) for rejection in rejections)
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    return f"none of the {files} files can be stored: {reasons}; expected DICOM, PNG, JPEG or NPY images"


def plan_canvas(accepted: Mapping[int, Scan], sources: Sources, limits: Limits) -> Canvas:
    """The smallest canvas and dtype that hold every image.

    Raises:
        InputError: the canvas would be larger than the largest image allowed; names the extremes.
    """
    tallest = max(accepted, key=lambda index: accepted[index].rows)
    widest = max(accepted, key=lambda index: accepted[index].cols)
    rows, cols = accepted[tallest].rows, accepted[widest].cols
    if rows * cols > limits.max_pixels:
        raise InputError(
            f"all images share one canvas, which would be {rows} x {cols} because of {sources.names[tallest]} "
            f"({accepted[tallest].rows} x {accepted[tallest].cols}) and {sources.names[widest]} "
            f"({accepted[widest].rows} x {accepted[widest].cols}); limits.max_pixels is {limits.max_pixels}: "
            "ingest such images into another store"
        )
    low = min(scan.low for scan in accepted.values())
    high = max(scan.high for scan in accepted.values())
    dtype = next(name for name, (least, most) in _DTYPES.items() if least <= low and high <= most)
    return Canvas(rows, cols, dtype)


def _settle_unlabelled(
    sources: Sources,
    accepted: dict[int, Scan],
    rejected: dict[int, Rejection],
    rows: Mapping[int, int],
    config: IngestConfig,
    messages: list[str],
) -> None:
    without = [index for index in accepted if index not in rows]
    if not without:
        return
    if config.unlabelled == "error":
        examples = ", ".join(sources.names[index] for index in without[:_NAMED])
        raise InputError(
            f"{len(without)} images have no row in the label file: {examples}; add rows, or choose unlabelled='keep' "
            "to store them without labels or unlabelled='skip' to leave them out"
        )
    if config.unlabelled == "keep":
        messages.append(f"{len(without)} images have no row in the label file and are stored without labels")
        return
    for index in without:
        del accepted[index]
        rejected[index] = Rejection(Reason.UNLABELLED)
    if not accepted:
        raise InputError(nothing_stored(rejected.values(), len(sources.names)))


def _label_uses(
    labels: LabelFile | None, entries: Sequence[Entry], config: IngestConfig, messages: list[str]
) -> tuple[list[LabelColumn], LabelColumn | None, list[str] | None]:
    if labels is None:
        for name in ("label_columns", "split_column", "file_column"):
            if getattr(config, name):
                raise InputError(f"{name} {getattr(config, name)!r} is given, but no label file")
        if config.stratify not in (None, "none"):
            raise InputError(f"stratify {config.stratify!r} is given, but no label file")
        return [], None, None
    file_column = find_column(labels, config.file_column, FILE_COLUMNS, "file column")
    patient_column = find_column(labels, config.patient_column, PATIENT_COLUMNS, "patient column")
    used = [name for name in (file_column, patient_column, config.split_column, *ROI_COLUMNS) if name]
    columns, left_out = choose_columns(labels, used, config.label_columns)
    messages += left_out
    split_names = None
    if config.split_column is not None:
        stated = labels.column(config.split_column, "split column")
        split_names = ["" if entry.row < 0 else stated[entry.row] for entry in entries]
        _check_split(labels, entries, split_names)
    strata = None if split_names is not None else _strata(labels, columns, config)
    if strata is not None:
        found = {int(strata.values[entry.row]) for entry in entries if entry.row >= 0} - {-1}
        if len(found) < 2:
            messages.append(f"label column {strata.name!r} has only one class among the images: nothing to learn there")
    return columns, strata, split_names


def _strata(labels: LabelFile, columns: Sequence[LabelColumn], config: IngestConfig) -> LabelColumn | None:
    if config.stratify == "none":
        return None
    if config.stratify is None:
        return next((column for column in columns if column.categories is not None), None)
    labels.column(config.stratify, "stratify column")
    column = encode_column(config.stratify, labels)
    if column.categories is None:
        raise InputError(f"{labels.path}: cannot stratify by {column.name!r}: it holds numbers, not categories")
    return column


def _check_split(labels: LabelFile, entries: Sequence[Entry], names: Sequence[str]) -> None:
    try:
        named_split([entry.patient for entry in entries], names)
    except SplitError as error:
        rows = [entries[position].row for position in error.positions]
        raise InputError(f"{labels.path}, {labels.where(rows)}: {error.message}") from None
