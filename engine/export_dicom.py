"""Images as DICOM files: Secondary Capture, JPEG 2000 lossless, without anything that names a person.

A store does not say which modality its images are of, so they cannot claim the storage class of one. Secondary Capture
is DICOM's class for images that come from outside DICOM without a modality (PS3.3 A.8.1); its multi-frame greyscale
successors are not used because they allow neither signed values nor a rescale (PS3.3 A.8.4.4).

The codestream is made by imagecodecs, not by pydicom through pylibjpeg-openjpeg: both are OpenJPEG, but the latter
corrupts memory where two threads encode at once.
"""

from __future__ import annotations

import hashlib
import uuid
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.valuerep import DSfloat

from wavestream.engine.errors import StoreError
from wavestream.engine.export_files import FileFormat
from wavestream.engine.export_source import ExportSource
from wavestream.engine.export_table import patient_name
from wavestream.engine.frame import bounds
from wavestream.engine.schema import VOI_FUNCTIONS

_NAMESPACE = uuid.UUID("8f1c6f0e-6f0b-5d0e-9c55-1d5f3a0c7b42")  # drawn once; all UIDs of exports derive from it
_EMPTY = ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
          "ReferringPhysicianName", "PatientOrientation")  # fmt: skip


def dicom_format(source: ExportSource) -> FileFormat:
    """DICOM: one Secondary Capture object per image, JPEG 2000 lossless.

    UIDs are derived (``2.25.``, PS3.5 B.2) from pixel hashes and from what tells images of equal pixels apart, so the
    same export has the same UIDs, and another keep or resolution other ones, in the same study. Each series of the
    store is a study of its own: the store does not say which belong together.
    """
    first = _first_of_series(source)

    def encode(index: int) -> bytes:
        return to_bytes(dicom_dataset(source, index, first[index]))

    return FileFormat("dcm", encode, [0] * len(source))


def dicom_dataset(source: ExportSource, index: int, first: int) -> Dataset:
    """The dataset of one image; ``first`` is the first image of its series."""
    pixels = source.read(index)
    table = source.table
    dataset = Dataset()
    _identify(dataset, source, index, first, pixels)
    dataset.ImageType, dataset.ConversionType, dataset.Modality = ["DERIVED", "SECONDARY"], "WSD", "OT"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if table["inverted"][index] else "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    bits, signed = _bits(source, index)
    dataset.BitsAllocated = 8 if bits <= 8 else 16
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(signed)
    dataset.RescaleSlope = DSfloat(float(table["slope"][index]), auto_format=True)
    dataset.RescaleIntercept = DSfloat(float(table["intercept"][index]), auto_format=True)
    dataset.RescaleType = "US"
    function = VOI_FUNCTIONS[table["voi_function"][index]]
    if function != "FULL_RANGE":  # which stands for none
        dataset.WindowCenter = DSfloat(float(table["window_center"][index]), auto_format=True)
        dataset.WindowWidth = DSfloat(float(table["window_width"][index]), auto_format=True)
        dataset.VOILUTFunction = function
    if not source.lossless:
        _confess(dataset, source, index)
    dataset.PixelData = encapsulate([_codestream(pixels, bits, signed)])
    dataset["PixelData"].VR = "OB"
    return dataset


def to_bytes(dataset: Dataset) -> bytes:
    """The file that holds ``dataset``, which must have its file meta information."""
    content = BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


def _identify(dataset: Dataset, source: ExportSource, index: int, first: int, pixels: NDArray[Any]) -> None:
    """Who and what: hashes, and UIDs derived from hashes."""
    table = source.table
    patient = patient_name(int(table["patient"][index]))
    study = f"{table['pixel_sha256'][first].tobytes().hex()} {patient} {int(table['series'][index])}"
    series = f"{study} {source.keep!r} {source.resolution}"
    little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    image = f"{series} {int(table['position'][index])} {hashlib.sha256(little.data).hexdigest()}"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uid.JPEG2000Lossless
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID = uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = _derived_uid(f"image {image}")
    meta.ImplementationClassUID = uid.PYDICOM_IMPLEMENTATION_UID
    dataset.file_meta = meta
    dataset.StudyInstanceUID = _derived_uid(f"study {study}")
    dataset.SeriesInstanceUID = _derived_uid(f"series {series}")
    dataset.SeriesNumber, dataset.InstanceNumber = 1, int(table["position"][index]) + 1
    for keyword in _EMPTY:
        setattr(dataset, keyword, None)
    dataset.PatientID = patient
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "wavestream: technical attributes only"


def _derived_uid(name: str) -> uid.UID:
    return uid.UID(f"2.25.{uuid.uuid5(_NAMESPACE, name).int}")


def _first_of_series(source: ExportSource) -> NDArray[np.int64]:
    """For each image the index of the first one of its patient and series."""
    keys = np.stack([source.table["patient"], source.table["series"].astype(np.uint64)], axis=1)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return first[group.reshape(-1)].astype(np.int64)


def _bits(source: ExportSource, index: int) -> tuple[int, bool]:
    """Bits and signedness: as stored, or as many as the value range needs."""
    low, high = source.value_range(index)
    signed = low < 0
    for bits in range(int(source.table["bits_stored"][index]), 17):
        least, most = bounds(bits, signed)
        if least <= low and high <= most:
            return bits, signed
    raise StoreError(
        f"image {index}: its values may range from {low} to {high}, a DICOM image holds 16 bits: export it as npy"
    )


def _codestream(pixels: NDArray[Any], bits: int, signed: bool) -> bytes:
    dtype = np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")
    encoded = imagecodecs.jpeg2k_encode(
        pixels.astype(dtype), codecformat="J2K", bitspersample=bits, reversible=True, numthreads=1
    )
    return bytes(encoded)


def _confess(dataset: Dataset, source: ExportSource, index: int) -> None:
    """Say what was done to the pixels (PS3.3 C.7.6.1.1.5)."""
    done = [] if source.reduction == 0 else [f"low-pass at {source.resolution} of the size"]
    if source.keep < 1:
        done.insert(0, f"{source.keep:g} of the coefficients of a reversible 5/3 wavelet transform kept")
        raw = dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = DSfloat(round(raw / source.compressed_bytes(index), 2))
        dataset.LossyImageCompressionMethod = "WAVELET_CDF53"
    dataset.DerivationDescription = f"wavestream: {'; '.join(done)}"
