"""DICOM files as images: facts from the header, then frames of stored integers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from struct import unpack
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut

from wavestream.engine.codestream import check_codestream, read_codestream
from wavestream.engine.dicom_decoders import find_decoder
from wavestream.engine.dicom_file import DicomFile, open_dicom
from wavestream.engine.dicom_grey import (
    GreyScale,
    apply_modality_lut,
    has_modality_lut,
    modality_lut_bits,
    read_grey_scale,
)
from wavestream.engine.dicom_header import (
    ImageHeader,
    distance_along_normal,
    element,
    first_number,
    read_image_header,
    series_digest,
)
from wavestream.engine.frame import Frame, Frames, Note, Scan, bounds, luma
from wavestream.engine.limits import Limits
from wavestream.engine.rejection import Reason, Rejected

_CODESTREAM_HEAD = 1 << 16


def scan_dicom(path: Path, limits: Limits) -> Scan:
    """Facts about a DICOM image, from its header and the head of its first frame.

    Raises:
        Rejected: it is no image, not supported, cut short, or larger than ``limits``.
    """
    with open_dicom(path, limits) as file:
        image = _read_checked_header(file, limits)
        low, high = bounds(*_value_bits(file, image))
        patient = str(element(file.header, "PatientID") or "").strip(" \0")
        instance = first_number(file.header, "InstanceNumber")
        return Scan(
            rows=image.rows,
            cols=image.cols,
            frames=image.frames,
            low=low,
            high=high,
            patient=patient or None,
            series=series_digest(file.header),
            instance=None if instance is None else int(instance),
            along=distance_along_normal(file.header),
        )


def read_dicom(path: Path, limits: Limits) -> Frames:
    """The frames of a DICOM image, one at a time; raises like :func:`scan_dicom`, and where a frame does not decode."""
    with open_dicom(path, limits) as file:
        image = _read_checked_header(file, limits)
        bits, signed = _value_bits(file, image)
        decoded = _native_frames(file, image) if file.pixels_length is not None else _coded_frames(file, image)
        for index, (samples, photometric) in enumerate(decoded):
            pixels, notes = _to_grey(samples, photometric, file.header, image)
            grey = GreyScale() if Note.COLOUR in notes else read_grey_scale(file.header, index)
            yield Frame(
                pixels=pixels,
                bits_stored=bits,
                signed=signed,
                slope=grey.slope,
                intercept=grey.intercept,
                window=grey.window,
                function=grey.function,
                notes=frozenset(notes | grey.notes),
            )


def _read_checked_header(file: DicomFile, limits: Limits) -> ImageHeader:
    image = read_image_header(file.header, limits)
    if file.pixels_length is None:
        if find_decoder(str(file.syntax)) is None:
            raise Rejected(Reason.UNSUPPORTED, f"transfer syntax {file.syntax.name}" if file.syntax.type else "")
        return image
    expected = math.ceil(image.frame_bits * image.frames / 8)
    if file.pixels_length < expected:
        raise Rejected(
            Reason.TRUNCATED, f"{image.frames} frames need {expected} bytes, pixel data has {file.pixels_length}"
        )
    if file.pixels_length >= math.ceil(image.frame_bits * (image.frames + 1) / 8) + 1:
        raise Rejected(
            Reason.CONTRADICTORY, f"{image.frames} frames are {expected} bytes, pixel data has {file.pixels_length}"
        )
    return image


def _value_bits(file: DicomFile, image: ImageHeader) -> tuple[int, bool]:
    """Bits and signedness of what decoding yields, which may be more than the header says."""
    if image.palette:
        return (8 if _palette_bits(file.header) <= 8 else 16), False
    if image.samples == 1 and has_modality_lut(file.header):
        return modality_lut_bits(file.header), False
    bits = image.bits_stored
    if file.pixels_length is None:
        # pydicom masks the unused bits of every syntax but JPEG 2000 and JPEG-LS; there the codestream decides.
        file.stream.seek(file.pixels_at)
        offsets_length = unpack("<4xL", file.stream.read(8))[0]
        file.stream.seek(file.pixels_at + 8 + offsets_length)
        (length,) = unpack("<4xL", file.stream.read(8))
        found = read_codestream(file.stream.read(min(length, _CODESTREAM_HEAD)))
        bits = max(bits, found.precision) if found else bits
    if bits > 16:
        raise Rejected(Reason.TOO_DEEP, f"{bits} bits in the codestream")
    return bits, image.signed


def _options(file: DicomFile, image: ImageHeader, frames: int) -> dict[str, Any]:
    return {
        "number_of_frames": frames,
        "rows": image.rows,
        "columns": image.cols,
        "samples_per_pixel": image.samples,
        "photometric_interpretation": image.photometric,
        "bits_allocated": image.bits_allocated,
        "bits_stored": image.bits_stored,
        "pixel_representation": int(image.signed),
        "planar_configuration": image.planar,
        "pixel_keyword": "PixelData",
        "pixel_vr": file.pixels_vr,
        "allow_excess_frames": False,
    }


def _native_frames(file: DicomFile, image: ImageHeader) -> Iterator[tuple[np.ndarray, str]]:
    decoder = get_decoder(file.syntax)
    options = _options(file, image, image.frames)
    for index in range(image.frames):
        file.stream.seek(file.pixels_at)
        samples, facts = decoder.as_array(file.stream, index=index, raw=True, **options)
        yield samples.astype(samples.dtype.newbyteorder("="), copy=False), str(facts["photometric_interpretation"])


def _coded_frames(file: DicomFile, image: ImageHeader) -> Iterator[tuple[np.ndarray, str]]:
    found = find_decoder(str(file.syntax))
    assert found is not None  # checked with the header
    decoder, plugin = found
    options = _options(file, image, 1)
    count = 0
    for source in _coded_sources(file, image):
        if count == image.frames:
            raise Rejected(Reason.CONTRADICTORY, f"more than the {image.frames} frames that the header states")
        check_codestream(source, image.rows, image.cols, image.samples, image.bits_allocated)
        try:
            samples, facts = decoder.as_array(
                encapsulate([source], has_bot=False),
                index=0,
                raw=True,
                decoding_plugin=plugin,
                **options,
            )
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - decoders raise anything; their messages may quote the data
            raise Rejected(Reason.UNDECODABLE, f"frame {count}: {type(error).__name__}") from None
        yield samples, str(facts["photometric_interpretation"])
        count += 1
    if count < image.frames:
        raise Rejected(Reason.TRUNCATED, f"{count} of {image.frames} frames")


def _coded_sources(file: DicomFile, image: ImageHeader) -> Iterator[bytes]:
    file.stream.seek(file.pixels_at)
    tables = (element(file.header, "ExtendedOffsetTable"), element(file.header, "ExtendedOffsetTableLengths"))
    return generate_frames(
        file.stream,
        number_of_frames=image.frames,
        extended_offsets=tables if all(isinstance(table, bytes) for table in tables) else None,
    )


def _to_grey(
    samples: np.ndarray, photometric: str, header: Dataset, image: ImageHeader
) -> tuple[np.ndarray, set[Note]]:
    notes = {Note.MULTI_FRAME} if image.frames > 1 else set()
    if image.palette:
        return luma(_look_up_colours(samples, header)), notes | {Note.COLOUR}
    if image.samples == 3:
        # The Y of full-range YBR is the luma of ITU-R BT.601 itself (PS3.3 C.7.6.3.1.2).
        grey = samples[..., 0] if photometric.startswith("YBR_FULL") else luma(samples)
        return grey, notes | {Note.COLOUR}
    if image.inverted:
        notes.add(Note.INVERTED)
    if has_modality_lut(header):
        return apply_modality_lut(samples, header), notes | {Note.MODALITY_LUT}
    return samples, notes


def _palette_bits(header: Dataset) -> int:
    descriptor = element(header, "RedPaletteColorLookupTableDescriptor")
    data = element(header, "RedPaletteColorLookupTableData")
    if descriptor is None or len(descriptor) != 3:
        raise Rejected(Reason.CONTRADICTORY, "palette colour without a palette")
    # The entries of a table that says 8 bits may be 16 bits wide all the same.
    return 8 * len(data) // (int(descriptor[0]) or 1 << 16) if data is not None else int(descriptor[2])


def _look_up_colours(indexes: np.ndarray, header: Dataset) -> np.ndarray:
    colours = apply_color_lut(indexes, header)[..., :3]
    big_endian = header.original_encoding[1] is False
    if big_endian and colours.dtype.itemsize == 2 and "RedPaletteColorLookupTableData" in header:
        return colours.byteswap()  # pydicom reads the table's words as little endian
    return colours
