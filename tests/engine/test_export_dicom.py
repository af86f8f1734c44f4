"""export to DICOM: what pydicom reads back, what ingest makes of it, and what the files say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, SecondaryCaptureImageStorage

import wavestream as ws
from wavestream.engine.codestream import read_codestream
from wavestream.engine.export import export
from wavestream.engine.layers import needed_ranges
from wavestream.engine.schema import TABLE, VOI_FUNCTIONS
from wavestream.engine.store import Store, open_store
from wavestream.kernels.reference import inject_reference

# What another ingest must make of an export; the others tell of files, patients and splits.
SAME = sorted(set(TABLE) - {"patient", "split", "source_sha256", "roi_row", "roi_col", "roi_rows", "roi_cols"})


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Signed and unsigned images of 1 to 16 bits and hostile sizes, as the int32 of a store that mixes them."""
    random = np.random.default_rng(5)
    facts = (
        ((31, 47), 12, False),
        ((1, 1), 16, True),
        ((1, 90), 16, False),
        ((64, 3), 13, True),
        ((8, 8), 1, False),
        ((9, 9), 8, False),
    )
    found = []
    for shape, bits, signed in facts:
        low = -(1 << (bits - 1)) if signed else 0
        image = random.integers(low, low + (1 << bits), shape).astype(np.int32)
        image.flat[-1], image.flat[0] = low + (1 << bits) - 1, low
        found.append(image)
    return found


@pytest.fixture(scope="module")
def store(images: list[np.ndarray], write_store: Any, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The images with rescales, windows of every function, one of them inverted, in two series of two patients."""
    low, high = np.array([0, -32768, 0, -4096, 0, 0]), np.array([4095, 32767, 65535, 4095, 1, 255])
    slope, intercept = np.array([1, 0.1, -2, 1.5, 1, 0.33333333333333]), np.array([-1024, 0, 0.25, 1e-7, 0, 100])
    ends = np.array([[image.min(), image.max()] for image in images])
    center, width = np.array([40.5, 0, 0, 0, 0, 1e5]), np.array([0.5, 1, 0, 2.75, 0, 1e-3])
    whole = np.array([False, False, True, False, True, False])
    function = [VOI_FUNCTIONS.index(name) for name in ("LINEAR_EXACT", "LINEAR", "", "SIGMOID", "", "SIGMOID") if name]
    codes = np.full(6, VOI_FUNCTIONS.index("FULL_RANGE"))
    codes[~whole] = function
    path = write_store(
        tmp_path_factory.mktemp("dicom") / "s.zarr",
        images,
        shard_images=4,
        value_low=low,
        value_high=high,
        bits_stored=[12, 16, 16, 13, 1, 8],
        slope=slope,
        intercept=intercept,
        window_center=np.where(whole, ends.mean(1) * slope + intercept, center),
        window_width=np.where(whole, (ends[:, 1] - ends[:, 0]) * np.abs(slope), width),
        voi_function=codes,
        inverted=[0, 1, 0, 0, 1, 0],
        series=[0, 1, 1, 1, 2, 2],
        position=[0, 2, 0, 1, 1, 0],
        patient=np.array([7, 2**63, 2**63, 2**63, 2**63, 2**63], np.uint64),
    )
    return open_store(path)


def exported(store: Store, folder: Path, **options: Any) -> list[pydicom.FileDataset]:
    export(store, folder, format="dicom-j2k", progress=False, **options)
    return [pydicom.dcmread(path) for path in sorted((folder / "images").iterdir())]


def test_pydicom_reads_the_pixels_back(store: Store, images: list[np.ndarray], tmp_path: Path) -> None:
    for dataset, image in zip(exported(store, tmp_path / "out"), images, strict=True):
        assert dataset.file_meta.TransferSyntaxUID == JPEG2000Lossless
        np.testing.assert_array_equal(dataset.pixel_array, image)
        found = read_codestream(pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1))
        assert found is not None
        assert found.precision == dataset.BitsStored


def test_lossy_files_hold_artifacts_and_say_so(store: Store, images: list[np.ndarray], tmp_path: Path) -> None:
    lossless, lossy = exported(store, tmp_path / "a"), exported(store, tmp_path / "b", keep=0.05)
    for index, (dataset, image) in enumerate(zip(lossy, images, strict=True)):
        limits = (int(store.table["value_low"][index]), int(store.table["value_high"][index]))
        expected = inject_reference(image, 0.05, "cdf53", value_range=limits)
        np.testing.assert_array_equal(dataset.pixel_array, expected)
        assert dataset.LossyImageCompression == "01"
        assert dataset.LossyImageCompressionRatio > 0
        assert dataset.DerivationDescription.startswith("wavestream: 0.05 of the coefficients")
        # Whether the images that were ingested had been compressed before is not known.
        assert "LossyImageCompression" not in lossless[index]
        assert "DerivationDescription" not in lossless[index]


def test_the_ratio_is_that_of_the_bytes_that_the_codec_needs(
    tiny_store: Path, layered_store: Path, tmp_path: Path
) -> None:
    layered = open_store(layered_store)
    found = exported(layered, tmp_path / "a", keep=0.01)
    assert exported(open_store(tiny_store), tmp_path / "b", keep=0.01) == found
    for index, dataset in enumerate(found):
        ends = layered.table["layer_ends"][index]
        raw = 2 * int(layered.table["rows"][index]) * int(layered.table["cols"][index])
        needed = sum(stop - start for start, stop in needed_ranges(ends, layered.header.layers, 0.01))
        assert float(dataset.LossyImageCompressionRatio) == pytest.approx(raw / needed, abs=0.01)
    half = exported(layered, tmp_path / "c", resolution="1/2")
    assert half[0].DerivationDescription == "wavestream: low-pass at 1/2 of the size"
    assert "LossyImageCompression" not in half[0]
    assert (half[0].Rows, half[0].Columns) == (32, 40)


def test_ingest_makes_the_same_table_of_it(store: Store, tmp_path: Path) -> None:
    exported(store, tmp_path / "out")
    ws.ingest(tmp_path / "out" / "images", tmp_path / "again.zarr", config=ws.IngestConfig(workers=1), progress=False)
    again = open_store(tmp_path / "again.zarr")
    assert again.header.dtype == store.header.dtype
    for name in SAME:
        np.testing.assert_array_equal(again.table[name], store.table[name], err_msg=name)


def test_files_identify_nobody(store: Store, tmp_path: Path) -> None:
    for index, dataset in enumerate(exported(store, tmp_path / "out", keep=0.5)):
        assert dataset.PatientID == f"{int(store.table['patient'][index]):016x}"
        assert dataset.PatientIdentityRemoved == "YES"
        filled = {element.keyword for element in dataset if not element.is_empty}
        private = {
            "PatientName",
            "PatientBirthDate",
            "PatientSex",
            "StudyDate",
            "StudyTime",
            "AccessionNumber",
            "StudyID",
        }
        assert not filled & private
        assert {element.keyword for element in dataset} >= private
        assert not [element for element in dataset if element.VR in ("DA", "TM", "DT", "PN") and not element.is_empty]
        uids = {element.keyword: str(element.value) for element in dataset if element.VR == "UI"}
        assert set(uids) == {"SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"}
        assert uids.pop("SOPClassUID") == SecondaryCaptureImageStorage
        assert all(value.startswith("2.25.") and pydicom.uid.UID(value).is_valid for value in uids.values())


def test_uids_are_a_function_of_what_is_exported(store: Store, tmp_path: Path) -> None:
    first, again = exported(store, tmp_path / "a"), exported(store, tmp_path / "b")
    assert [dataset.SOPInstanceUID for dataset in first] == [dataset.SOPInstanceUID for dataset in again]
    lossy = exported(store, tmp_path / "c", keep=0.1)
    uids = [dataset.SOPInstanceUID for dataset in (*first, *lossy)]
    assert len(set(uids)) == 2 * len(first)
    for one, other in zip(first, lossy, strict=True):
        assert one.StudyInstanceUID == other.StudyInstanceUID
        assert one.SeriesInstanceUID != other.SeriesInstanceUID
    series = [dataset.SeriesInstanceUID for dataset in first]
    assert [series.index(value) for value in series] == [0, 1, 1, 1, 4, 4]
    assert [dataset.InstanceNumber for dataset in first] == [1, 3, 1, 2, 2, 1]


def test_equal_images_of_different_patients_have_different_uids(write_store: Any, tmp_path: Path) -> None:
    images = [np.ones((4, 4), np.uint8)] * 3
    store = open_store(write_store(tmp_path / "s.zarr", images, bits_stored=8, series=0))
    datasets = exported(store, tmp_path / "out")
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        assert len({dataset[keyword].value for dataset in datasets}) == 3


def test_values_beyond_the_bits_stored_get_more_bits(write_store: Any, tmp_path: Path) -> None:
    image = np.array([[0, 5000]], np.uint16)
    store = open_store(write_store(tmp_path / "s.zarr", [image], bits_stored=12, value_low=0, value_high=5000))
    (dataset,) = exported(store, tmp_path / "out")
    assert (dataset.BitsStored, dataset.HighBit, dataset.BitsAllocated) == (13, 12, 16)
    np.testing.assert_array_equal(dataset.pixel_array, image)
