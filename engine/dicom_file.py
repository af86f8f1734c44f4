"""Opening a DICOM file without trusting it: its header, and where its pixel data lies."""

from __future__ import annotations

import logging
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from struct import unpack
from typing import BinaryIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from wavestream.engine.limits import Limits
from wavestream.engine.rejection import Reason, Rejected

# Only what is used is read: other elements, names and dates among them, are skipped over and never held.
_WANTED: list[BaseTag | int] = [
    Tag(keyword)
    for keyword in (
        "SOPClassUID",
        "PatientID",
        "SeriesInstanceUID",
        "InstanceNumber",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PlanarConfiguration",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "PixelRepresentation",
        "WindowCenter",
        "WindowWidth",
        "RescaleIntercept",
        "RescaleSlope",
        "VOILUTFunction",
        "RedPaletteColorLookupTableDescriptor",
        "GreenPaletteColorLookupTableDescriptor",
        "BluePaletteColorLookupTableDescriptor",
        "RedPaletteColorLookupTableData",
        "GreenPaletteColorLookupTableData",
        "BluePaletteColorLookupTableData",
        "SegmentedRedPaletteColorLookupTableData",
        "SegmentedGreenPaletteColorLookupTableData",
        "SegmentedBluePaletteColorLookupTableData",
        "ModalityLUTSequence",
        "VOILUTSequence",
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
        "ExtendedOffsetTable",
        "ExtendedOffsetTableLengths",
    )
]
_PIXEL_DATA = 0x7FE00010
_FLOAT_PIXEL_DATA = (0x7FE00008, 0x7FE00009)
_UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_INFLATE_STEP = 1 << 20


@dataclass(frozen=True)
class DicomFile:
    """An open DICOM image.

    Attributes:
        header: the wanted elements, without pixel data.
        stream: the file, or its inflated copy; valid while :func:`open_dicom` is entered.
        pixels_at: offset of the pixel data's value in ``stream``.
        pixels_length: bytes of the value, or None where it is encapsulated.
        pixels_vr: its value representation, ``"OB"`` or ``"OW"``.
        syntax: transfer syntax that decodes it.
    """

    header: Dataset
    stream: BinaryIO
    pixels_at: int
    pixels_length: int | None
    pixels_vr: str
    syntax: UID


def quiet_pydicom() -> None:
    """Silence pydicom in this process: its warnings quote element values, and there is one for every odd file."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")


def looks_like_dicom(head: bytes) -> bool:
    """Whether a file that starts with ``head`` (132 bytes or more) may be DICOM, with or without its preamble."""
    if head[128:132] == b"DICM":
        return True
    # Without preamble a dataset starts with group 2 or 8, little or big endian, and a low element number.
    return head[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08") and len(head) >= 8 and 0 in (head[2], head[3])


@contextmanager
def open_dicom(path: Path, limits: Limits) -> Iterator[DicomFile]:
    """Open ``path`` as a DICOM image; raise :class:`Rejected` where it is none, is cut short, or expands too far."""
    with path.open("rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        stream, end, meta = _inflated(raw, size, limits)
        header: Dataset
        if meta is None:
            header = dcmread(stream, stop_before_pixels=True, force=True, specific_tags=list(_WANTED))
            meta = getattr(header, "file_meta", Dataset())
        else:
            header = _read_inflated(stream)
        storage = str(meta.get("MediaStorageSOPClassUID", ""))
        if storage == MediaStorageDirectoryStorage:
            raise Rejected(Reason.MEDIA_DIRECTORY)
        syntax = _syntax(meta, header)
        yield _locate_pixels(header, stream, end, syntax)


def _not_in_meta_group(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag >> 16 != 2


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag == _PIXEL_DATA or tag in _FLOAT_PIXEL_DATA


def _inflated(raw: BinaryIO, size: int, limits: Limits) -> tuple[BinaryIO, int, Dataset | None]:
    """``raw`` itself; or, for the deflated transfer syntax, a bounded copy of its dataset and the file meta group.

    pydicom inflates such a file whole, to any size, before it looks at a single element.
    """
    start = 132 if raw.read(132)[128:] == b"DICM" else 0
    raw.seek(start)
    meta = read_dataset(raw, False, True, stop_when=_not_in_meta_group)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        raw.seek(0)
        return raw, size, None
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = BytesIO()
    waiting = raw.read(_INFLATE_STEP)
    while waiting and not inflater.eof:
        try:
            inflated.write(inflater.decompress(waiting, _INFLATE_STEP))
        except zlib.error:
            raise Rejected(Reason.DAMAGED, "the deflated dataset does not inflate") from None
        if inflated.tell() > limits.max_inflated:
            raise Rejected(Reason.TOO_LARGE, f"the deflated dataset is more than {limits.max_inflated} bytes")
        waiting = inflater.unconsumed_tail or raw.read(_INFLATE_STEP)
    if not inflater.eof:
        raise Rejected(Reason.TRUNCATED, "the deflated dataset ends early")
    end = inflated.tell()
    inflated.seek(0)
    return inflated, end, meta


def _read_inflated(stream: BinaryIO) -> Dataset:
    return read_dataset(stream, False, True, stop_when=_at_pixels, specific_tags=list(_WANTED))


def _syntax(meta: Dataset, header: Dataset) -> UID:
    stated = meta.get("TransferSyntaxUID")
    if stated == DeflatedExplicitVRLittleEndian:
        return ExplicitVRLittleEndian  # inflated already
    if stated:
        return UID(str(stated))
    implicit, little = header.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _locate_pixels(header: Dataset, stream: BinaryIO, end: int, syntax: UID) -> DicomFile:
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    head = stream.read(12)
    if len(head) < 8:
        raise Rejected(Reason.NO_PIXELS, _class_name(header))
    group, element = unpack(f"{order}HH", head[:4])
    tag = group << 16 | element
    if tag in _FLOAT_PIXEL_DATA:
        raise Rejected(Reason.FLOATING_POINT)
    if tag != _PIXEL_DATA:
        raise Rejected(Reason.DAMAGED, "no element can be read where the pixel data should start")
    # pydicom reads files that switch to implicit VR although their transfer syntax is explicit.
    explicit = syntax != ImplicitVRLittleEndian and head[4:6] in (b"OB", b"OW", b"UN")
    vr = head[4:6].decode("ascii") if explicit else "OW"
    at = stream.tell() - len(head) + (12 if explicit else 8)
    (length,) = unpack(f"{order}L", head[8:12] if explicit else head[4:8])
    if length == _UNDEFINED_LENGTH:
        if not _encapsulated(syntax):
            raise Rejected(Reason.CONTRADICTORY, "encapsulated pixel data in a transfer syntax without any")
        _check_fragments(stream, at)
        return DicomFile(header, stream, at, None, vr, syntax)
    if _encapsulated(syntax):
        raise Rejected(Reason.CONTRADICTORY, "pixel data is not encapsulated, but its transfer syntax is")
    if at + length > end:
        raise Rejected(Reason.TRUNCATED, f"pixel data should be {length} bytes, {max(0, end - at)} are there")
    return DicomFile(header, stream, at, length, vr, syntax)


def _encapsulated(syntax: UID) -> bool:
    return syntax not in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)


def _check_fragments(stream: BinaryIO, at: int) -> None:
    """Walk the fragments from item to item (PS3.5 A.4); raise :class:`Rejected` where the file ends before they do."""
    position = at
    while True:
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8:
            raise Rejected(Reason.TRUNCATED, "the encapsulated pixel data has no end")
        if head[:4] == _DELIMITER:
            return
        if head[:4] != _ITEM:
            raise Rejected(Reason.DAMAGED, "something else where a fragment of pixel data should start")
        position += 8 + int(unpack("<L", head[4:])[0])


def _class_name(header: Dataset) -> str:
    """Name of the SOP class from pydicom's dictionary; never the value itself, which could be anything."""
    uid = UID(str(header.get("SOPClassUID", "")))
    name = uid.name
    return name if name != str(uid) else ""
