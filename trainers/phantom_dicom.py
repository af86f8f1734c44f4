"""One phantom image as one DICOM file, in a chosen transfer syntax, whole or damaged in a chosen way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

SYNTAXES: tuple[uid.UID, ...] = (
    uid.ExplicitVRLittleEndian,
    uid.JPEG2000Lossless,
    uid.ImplicitVRLittleEndian,
    uid.JPEGLSLossless,
    uid.RLELossless,
    uid.ExplicitVRBigEndian,
    uid.HTJ2KLossless,
    uid.DeflatedExplicitVRLittleEndian,
    uid.JPEGLosslessSV1,
)
UNCOMPRESSED = {
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
}
# pydicom writes the other syntaxes itself; these two have no encoder there.
ENCODERS: dict[uid.UID, Callable[[NDArray[np.uint16], int], bytes]] = {
    uid.HTJ2KLossless: lambda pixels, bits: bytes(imagecodecs.htj2k_encode(pixels, reversible=True)),
    uid.JPEGLosslessSV1: lambda pixels, bits: bytes(
        imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=bits)
    ),
}
FIXED_BITS = {uid.HTJ2KLossless: 16}  # the encoder writes the precision of the array, not that of its values
# pylibjpeg-openjpeg 2.6 corrupts memory when two threads encode at once (a crash within a minute of trying).
COMPRESSING = threading.Lock()
BLACK, WHITE = 0.06, 0.80  # where attenuation 0 and 1 lie in the stored range, so that neither end is clipped


@dataclass(frozen=True)
class FileForm:
    """How an image is stored in its file.

    Attributes:
        syntax: transfer syntax.
        bits_stored: 12, 14 or 16, always in 16 bits allocated.
        inverted: MONOCHROME1 (the lowest value is shown white).
        window: ``"one"``, ``"two"``, ``"sigmoid"`` or ``"none"``.
        border: width of the collimated, constant border in pixels; 0 for none.
    """

    syntax: uid.UID
    bits_stored: int
    inverted: bool
    window: str
    border: int


@dataclass(frozen=True)
class Person:
    """What the file says about its patient; all of it invented.

    Attributes:
        patient_id: identifier in the file.
        age: in years.
        sex: ``"F"`` or ``"M"``.
        entropy: what UIDs are derived from, unique to the image's patient.
    """

    patient_id: str
    age: int
    sex: str
    entropy: str


def quantise(attenuation: NDArray[np.float32], form: FileForm) -> NDArray[np.uint16]:
    """Stored values of an attenuation map ``(rows, cols)`` with the border and the inversion of ``form``."""
    top = 2**form.bits_stored - 1
    scaled = attenuation * np.float32((WHITE - BLACK) * top) + np.float32(BLACK * top)
    pixels = np.clip(np.rint(scaled), 0, top).astype(np.uint16)
    if form.border:
        edge = form.border
        framed = np.zeros_like(pixels)
        framed[edge:-edge, edge:-edge] = pixels[edge:-edge, edge:-edge]
        pixels = framed
    return np.uint16(top) - pixels if form.inverted else pixels


def _set_window(dataset: Dataset, form: FileForm) -> None:
    if form.window == "none":
        return
    top = 2**form.bits_stored - 1
    low, high = round(BLACK * top), round((WHITE * 1.05) * top)
    if form.inverted:
        low, high = top - high, top - low
    center, width = (low + high) // 2, high - low
    if form.window == "two":
        dataset.WindowCenter, dataset.WindowWidth = [center, center + width // 8], [width, width // 2]
        dataset.WindowCenterWidthExplanation = ["NORMAL", "HARDER"]
    else:
        dataset.WindowCenter, dataset.WindowWidth = center, width
    if form.window == "sigmoid":
        dataset.VOILUTFunction = "SIGMOID"


def build_dataset(pixels: NDArray[np.uint16], form: FileForm, person: Person, number: int) -> Dataset:
    """The DICOM dataset of one image, pixel data encoded as ``form`` says.

    Args:
        pixels: uint16 ``(rows, cols)`` stored values.
        form: how to store them.
        person: whom the image shows.
        number: number of the image in its series, from 1.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = uid.generate_uid(entropy_srcs=[person.entropy, f"image {number}"])
    meta.ImplementationClassUID = uid.PYDICOM_IMPLEMENTATION_UID
    meta.TransferSyntaxUID = form.syntax
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = uid.generate_uid(entropy_srcs=[person.entropy, "study"])
    dataset.SeriesInstanceUID = uid.generate_uid(entropy_srcs=[person.entropy, "series"])
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber, dataset.StudyID = "20200101", "120000", "", "1"
    dataset.PatientName, dataset.PatientID = f"Phantom^{person.patient_id}", person.patient_id
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "", person.sex, f"{person.age:03d}Y"
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", "PA"
    dataset.SeriesNumber, dataset.InstanceNumber = 1, number
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if form.inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelSpacing = [0.8, 0.8]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, form.bits_stored, form.bits_stored - 1
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, 0, "US"
    _set_window(dataset, form)
    if form.syntax in UNCOMPRESSED:
        order = ">u2" if form.syntax == uid.ExplicitVRBigEndian else "<u2"
        dataset.PixelData = pixels.astype(order).tobytes()
    elif form.syntax in ENCODERS:
        dataset.PixelData = encapsulate([ENCODERS[form.syntax](pixels, form.bits_stored)])
    else:
        with COMPRESSING:
            dataset.compress(form.syntax, pixels, generate_instance_uid=False)
    dataset["PixelData"].VR = "OW" if form.syntax in UNCOMPRESSED else "OB"
    return dataset


def to_bytes(dataset: Dataset) -> bytes:
    """The file that holds ``dataset``."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def truncated(dataset: Dataset) -> bytes:
    """A file that ends in the middle of its pixel data."""
    content = to_bytes(dataset)
    return content[: len(content) - len(dataset.PixelData) // 2]


def bit_flipped(dataset: Dataset) -> bytes:
    """A file whose codestream was hit: every bit of its first 64 bytes is wrong, headers included."""
    start = 20  # past the offset table of one frame and the header of its item, so that the DICOM part stays whole
    data = bytearray(dataset.PixelData)
    data[start : start + 64] = bytes(255 - value for value in data[start : start + 64])
    dataset.PixelData = bytes(data)
    return to_bytes(dataset)


def not_dicom(dataset: Dataset) -> bytes:
    """A text file that was given a DICOM name."""
    return b"This is not a DICOM file. The archive's export failed: disk quota exceeded.\n" * 8


def without_pixels(dataset: Dataset) -> bytes:
    """A valid DICOM file with no image in it."""
    del dataset.PixelData
    return to_bytes(dataset)


def impossible_size(dataset: Dataset) -> bytes:
    """A small file that claims 60000 x 60000 pixels."""
    dataset.Rows = dataset.Columns = 60000
    return to_bytes(dataset)


# Each way to break a file, with the transfer syntax in which it breaks for certain.
DAMAGES: tuple[tuple[Callable[[Dataset], bytes], uid.UID], ...] = (
    (truncated, uid.ExplicitVRLittleEndian),
    (bit_flipped, uid.JPEG2000Lossless),
    (not_dicom, uid.ExplicitVRLittleEndian),
    (without_pixels, uid.ImplicitVRLittleEndian),
    (impossible_size, uid.RLELossless),
)


def write_file(path: Path, content: bytes) -> None:
    """Write ``content`` under a temporary name first, so that a killed run leaves no half file."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    partial.replace(path)
