"""From stored values to modality units and the display window: PS3.3 C.11.1 (modality) and C.11.2 (VOI)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset

from wavestream.engine.dicom_header import element, first_number
from wavestream.engine.frame import Note
from wavestream.engine.rejection import Reason, Rejected
from wavestream.engine.schema import VOI_FUNCTIONS


@dataclass(frozen=True)
class GreyScale:
    """How the values of one frame are to be read; see :class:`wavestream.engine.frame.Frame`."""

    slope: float = 1.0
    intercept: float = 0.0
    window: tuple[float, float] | None = None
    function: str = "LINEAR"
    notes: set[Note] = field(default_factory=set)


def read_grey_scale(header: Dataset, frame: int) -> GreyScale:
    """Rescale and window of one frame: from its own functional group, else the shared one, else the file itself.

    A slope of 0, or one that is no finite number, would make every pixel equal; it is read as 1 and noted. A window
    without a positive width is no window. A VOI LUT without a window beside it becomes the window that spans the
    LUT's input. Only the first of several windows is used.
    """
    notes: set[Note] = set()
    if has_modality_lut(header):
        slope, intercept = 1.0, 0.0
    else:
        slope, intercept = _rescale(_scope(header, frame, "PixelValueTransformationSequence"), notes)
    window, function = _window(_scope(header, frame, "FrameVOILUTSequence"), notes)
    return GreyScale(slope, intercept, window, function, notes)


def _scope(header: Dataset, frame: int, sequence: str) -> Dataset:
    """The dataset that holds the macro ``sequence`` for a frame of an enhanced object, or ``header`` itself."""
    for groups, index in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        items = element(header, groups) or []
        inner = element(items[index], sequence) if index < len(items) else None
        if inner:
            return inner[0]
    return header


def _rescale(scope: Dataset, notes: set[Note]) -> tuple[float, float]:
    slope = first_number(scope, "RescaleSlope")
    if not slope:
        if "RescaleSlope" in scope:
            notes.add(Note.SLOPE_REPAIRED)
        slope = 1.0
    return slope, first_number(scope, "RescaleIntercept") or 0.0


def _window(scope: Dataset, notes: set[Note]) -> tuple[tuple[float, float] | None, str]:
    center, width = first_number(scope, "WindowCenter"), first_number(scope, "WindowWidth")
    if center is not None and width is not None and width > 0:
        function = str(element(scope, "VOILUTFunction") or "LINEAR").strip().upper()
        if function not in VOI_FUNCTIONS[:3]:
            function = "LINEAR"
        if function == "LINEAR" and width < 1:
            function = "LINEAR_EXACT"  # LINEAR is defined for widths of 1 and more
        return (center, width), function
    luts = element(scope, "VOILUTSequence") or []
    descriptor = element(luts[0], "LUTDescriptor") if len(luts) else None
    if descriptor is not None and len(descriptor) == 3:
        notes.add(Note.VOI_LUT)
        entries, first = int(descriptor[0]) or 1 << 16, int(descriptor[1])
        # LINEAR reaches black at first and white at first + entries - 1.
        return (first + entries / 2, float(entries)), "LINEAR"
    return None, "LINEAR"


def has_modality_lut(header: Dataset) -> bool:
    """Whether stored values map to modality values through a table rather than a slope."""
    return bool(element(header, "ModalityLUTSequence"))


def modality_lut_bits(header: Dataset) -> int:
    """Bits of the values that the modality LUT yields, 8 to 16, unsigned."""
    return _read_lut(header)[2]


def apply_modality_lut(pixels: np.ndarray, header: Dataset) -> np.ndarray:
    """Map stored values through the modality LUT.

    Args:
        pixels: integers (rows, cols).

    Returns:
        ``uint16`` (rows, cols). Values below the table take its first entry, values above it the last.
    """
    table, first, _ = _read_lut(header)
    index = pixels.astype(np.int32)
    index -= first
    np.clip(index, 0, len(table) - 1, out=index)
    return table[index]


def _read_lut(header: Dataset) -> tuple[np.ndarray, int, int]:
    item = header.ModalityLUTSequence[0]
    descriptor, data = element(item, "LUTDescriptor"), element(item, "LUTData")
    if descriptor is None or len(descriptor) != 3 or data is None:
        raise Rejected(Reason.CONTRADICTORY, "modality LUT without descriptor or data")
    entries, first, bits = int(descriptor[0]) or 1 << 16, int(descriptor[1]), int(descriptor[2])
    if not 8 <= bits <= 16:
        raise Rejected(Reason.CONTRADICTORY, f"modality LUT of {bits} bits")
    if isinstance(data, bytes):
        little = item.original_encoding[1]
        table = np.frombuffer(data[: 2 * entries], "<u2" if little is not False else ">u2").astype(np.uint16)
    else:
        table = np.atleast_1d(np.asarray(data, dtype=np.uint16))[:entries]
    if len(table) < entries:
        raise Rejected(Reason.TRUNCATED, f"modality LUT should have {entries} entries, has {len(table)}")
    if int(table.max()) >> bits:
        raise Rejected(Reason.CONTRADICTORY, f"modality LUT of {bits} bits with larger values")
    return table, first, bits
