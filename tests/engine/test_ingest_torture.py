"""The torture set: real files in every common transfer syntax, and broken ones; see its index.csv."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import pytest
import zarr
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, apply_modality_lut
from pydicom.uid import ExplicitVRBigEndian

from wavestream.engine.dicom import read_dicom, scan_dicom
from wavestream.engine.frame import luma
from wavestream.engine.ingest import IngestConfig, ingest
from wavestream.engine.limits import Limits
from wavestream.engine.rejection import Rejection, rejecting
from wavestream.engine.verify import verify

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
_JPEG = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55, 57, 70))
_LOSSLESS_JPEG = _JPEG[4:]
_JPEG_XL = "1.2.840.10008.1.2.4.110"


@pytest.fixture(scope="module")
def torture(medical_data: Path) -> list[dict[str, str]]:
    with (medical_data / "dicom_torture/index.csv").open() as file:
        return [{**row, "path": str(medical_data / "dicom_torture" / row["file"])} for row in csv.DictReader(file)]


def in_scope(row: dict[str, str]) -> bool:
    """Files that some public decoder reads, and that hold integers of at most 16 bits."""
    return row["pixel_decode_any_ok"] == "yes" and row["bits_stored"] != "" and int(row["bits_stored"]) <= 16


def expected_frames(row: dict[str, str]) -> list[np.ndarray]:
    """Grey frames by way of pydicom, or of imagecodecs for what pydicom cannot decode without further packages."""
    dataset = dcmread(row["path"], force=True)
    if row["transfer_syntax"] in (*_JPEG, _JPEG_XL):
        frames = [
            decode_by_imagecodecs(source, row)
            for source in generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames", 1)))
        ]
    else:
        pixels = dataset.pixel_array
        frames = list(pixels) if int(dataset.get("NumberOfFrames", 1)) > 1 else [pixels]
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        frames = [apply_color_lut(frame, dataset)[..., :3] for frame in frames]
    if "ModalityLUTSequence" in dataset:
        frames = [apply_modality_lut(frame, dataset) for frame in frames]
    native = [frame.astype(frame.dtype.newbyteorder("=")) for frame in frames]
    return [luma(frame) if frame.ndim == 3 else frame for frame in native]


def decode_by_imagecodecs(source: bytes, row: dict[str, str]) -> np.ndarray:
    if row["transfer_syntax"] == _JPEG_XL:
        return imagecodecs.jpegxl_decode(source)
    if row["transfer_syntax"] in _LOSSLESS_JPEG:
        samples = imagecodecs.jpegsof3_decode(source)
        return samples.view(np.int16) if row["signed"] == "yes" else samples
    same = {"colorspace": "RGB", "outcolorspace": "RGB"} if row["photometric"] == "RGB" else {}
    return imagecodecs.jpeg8_decode(source, **same)


def test_every_decodable_file_is_what_other_decoders_say(torture: list[dict[str, str]]) -> None:
    checked = 0
    for row in filter(in_scope, torture):
        if row["photometric"] == "PALETTE COLOR" and row["transfer_syntax"] == ExplicitVRBigEndian:
            continue  # pydicom swaps the bytes of such palettes; their little-endian twins are compared below
        expected = expected_frames(row)
        frames = [frame.pixels for frame in read_dicom(Path(row["path"]), Limits())]
        scan = scan_dicom(Path(row["path"]), Limits())
        assert len(frames) == len(expected) == scan.frames, row["file"]
        # Luma from YBR is taken from Y itself; by way of RGB it is rounded and clipped, visibly so in test patterns.
        ybr = row["photometric"].startswith("YBR_FULL")
        for frame, other in zip(frames, expected, strict=True):
            difference = np.abs(frame.astype(np.int64) - other)
            assert np.percentile(difference, 80) <= 1 if ybr else difference.max() == 0, row["file"]
            assert scan.low <= frame.min() <= frame.max() <= scan.high, row["file"]
        checked += 1
    assert checked >= 187


def test_lossless_and_grey_files_span_the_values_that_the_index_states(torture: list[dict[str, str]]) -> None:
    checked = 0
    for row in filter(in_scope, torture):
        if (
            row["samples"] == "1"
            and row["vmin"]
            and row["photometric"].startswith("MONOCHROME")
            and "mlut" not in row["file"]
        ):
            frames = [frame.pixels for frame in read_dicom(Path(row["path"]), Limits())]
            tolerance = 1 if row["transfer_syntax"] in _JPEG[:2] else 0
            assert abs(min(int(frame.min()) for frame in frames) - int(row["vmin"])) <= tolerance, row["file"]
            assert abs(max(int(frame.max()) for frame in frames) - int(row["vmax"])) <= tolerance, row["file"]
            checked += 1
    assert checked >= 100


def test_one_image_is_the_same_in_every_lossless_syntax(medical_data: Path) -> None:
    folder = medical_data / "dicom_torture/files"
    reference = dcmread(folder / "cornerstone/CTImage.dcm").pixel_array
    names = [*folder.glob("cornerstone/CTImage.dcm_*"), folder / "derived/CT_encapsulated_uncompressed_1.2.1.98.dcm"]
    lossy = ("4.50", "4.51", "4.53", "4.55", "4.81", "4.91")
    lossless = [name for name in names if not name.stem.endswith(lossy)]
    assert len(lossless) == 10
    for name in lossless:
        (frame,) = read_dicom(name, Limits())
        np.testing.assert_array_equal(frame.pixels, reference, err_msg=name.name)


@pytest.mark.parametrize(
    ("little", "big"),
    [
        ("OBXXXX1A", "OBXXXX1A_expb"),
        ("gdcm-US-ALOKA-16", "gdcm-US-ALOKA-16_big"),
        ("SC_rgb_16bit", "SC_rgb_expb_16bit"),
    ],
)
def test_big_endian_files_are_the_same_as_little_endian_ones(medical_data: Path, little: str, big: str) -> None:
    folder = medical_data / "dicom_torture/files/pydicom_data"
    (first,), (second,) = (read_dicom(folder / f"{name}.dcm", Limits()) for name in (little, big))
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert first.pixels.max() > 255


def test_everything_else_is_refused_with_a_reason(torture: list[dict[str, str]]) -> None:
    unexpected = {}
    for row in torture:
        if not in_scope(row):
            found = rejecting(lambda path=Path(row["path"]): list(read_dicom(path, Limits())))
            if not isinstance(found, Rejection):
                unexpected[Path(row["file"]).name] = len(found)
    # Readable after all: without a transfer syntax, and in two that the index's decoders do not know.
    assert unexpected == {
        "OT-PAL-8-face.dcm": 1,
        "CT_encapsulated_uncompressed_1.2.1.98.dcm": 1,
        "liver_deflate.dcm": 3,
        "liver_nonbyte_aligned_deflate.dcm": 3,
    }


def test_deflated_frames_are_those_of_the_uncompressed_file(medical_data: Path) -> None:
    folder = medical_data / "dicom_torture/files/pydicom_data"
    for name in ("liver", "liver_nonbyte_aligned"):
        frames = [frame.pixels for frame in read_dicom(folder / f"{name}_deflate.dcm", Limits())]
        np.testing.assert_array_equal(frames, dcmread(folder / f"{name}.dcm").pixel_array)


def test_the_whole_set_is_stored_or_listed(tmp_path: Path, medical_data: Path, torture: list[dict[str, str]]) -> None:
    folder = medical_data / "dicom_torture/files"
    store = tmp_path / "s.zarr"
    summary = ingest(folder, store, config=IngestConfig(shard_images=64, workers=2), progress=False)
    assert summary.files == len(torture)
    with (tmp_path / "s.zarr.manifest/quarantine.csv").open() as file:
        refused = {row["path"] for row in csv.DictReader(file)}
    with (tmp_path / "s.zarr.manifest/inputs.csv").open() as file:
        inputs = list(csv.DictReader(file))
    stored = {row["path"] for row in inputs}
    assert stored | refused == {row["path"] for row in torture}
    assert not stored & refused
    assert len(refused) == sum(summary.quarantined.values())
    assert {row["path"] for row in filter(in_scope, torture)} <= stored
    assert verify(store, progress=False).ok
    images = zarr.open_array(store / "images", mode="r")
    for row in inputs[:: max(1, len(inputs) // 25)]:
        frame = list(read_dicom(Path(row["path"]), Limits()))[int(row["frame"])].pixels
        np.testing.assert_array_equal(images[int(row["index"]), : frame.shape[0], : frame.shape[1]], frame)


@pytest.mark.slow
def test_memory_stays_below_four_gibibytes(tmp_path: Path, medical_data: Path) -> None:
    script = "import sys\nfrom wavestream.engine.ingest import ingest\ningest(sys.argv[1], sys.argv[2], progress=False)"
    arguments = [sys.executable, "-c", script, str(medical_data / "dicom_torture/files"), str(tmp_path / "s.zarr")]
    peak = 0
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as process:
        parent = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                family = [parent, *parent.children(recursive=True)]
                peak = max(peak, sum(member.memory_info().rss for member in family))
            except psutil.NoSuchProcess:
                continue
            time.sleep(0.02)
    assert process.returncode == 0
    assert 0 < peak < 4 << 30
