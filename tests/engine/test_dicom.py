"""DICOM files as frames, against pydicom's own decoding and hand-made hostile headers."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from wavestream.engine.dicom import read_dicom, scan_dicom
from wavestream.engine.frame import Frame, Note, Scan, luma
from wavestream.engine.limits import Limits
from wavestream.engine.rejection import Reason, Rejected, Rejection, rejecting

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

MakeDicom = Callable[..., Path]
LIMITS = Limits()
RANDOM = np.random.default_rng(1)
UNSIGNED = RANDOM.integers(0, 4096, (67, 45), dtype=np.uint16)
SIGNED = RANDOM.integers(-2048, 2048, (67, 45), dtype=np.int16)


def read(path: Path, limits: Limits = LIMITS) -> list[Frame]:
    return list(read_dicom(path, limits))


def refusal(path: Path, limits: Limits = LIMITS) -> Rejection:
    """The rejection of a file by its header, or else by its pixels."""
    scanned = rejecting(scan_dicom, path, limits)
    found = rejecting(read, path, limits) if isinstance(scanned, Scan) else scanned
    assert isinstance(found, Rejection)
    return found


def edit(path: Path, **elements: object) -> Path:
    """Set elements of a file, or delete those given as None."""
    dataset = dcmread(path)
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("pixels", [UNSIGNED, SIGNED, UNSIGNED.astype(np.uint8)])
def test_uncompressed_pixels_are_what_was_written(
    tmp_path: Path, make_dicom: MakeDicom, syntax: str, pixels: np.ndarray
) -> None:
    path = make_dicom(tmp_path / "a.dcm", pixels, syntax=syntax)
    (frame,) = read(path)
    np.testing.assert_array_equal(frame.pixels, pixels)
    assert frame.signed == (pixels.dtype.kind == "i")
    scan = scan_dicom(path, LIMITS)
    assert (scan.rows, scan.cols, scan.frames) == (67, 45, 1)
    assert (scan.low, scan.high) == (np.iinfo(pixels.dtype).min, np.iinfo(pixels.dtype).max)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("pixels", [UNSIGNED, SIGNED])
def test_compressed_pixels_are_what_was_written(
    tmp_path: Path, make_dicom: MakeDicom, syntax: str, pixels: np.ndarray
) -> None:
    frames = np.stack([pixels, pixels[::-1], pixels // 2])
    path = make_dicom(tmp_path / "a.dcm", frames, syntax=syntax, frames=True)
    np.testing.assert_array_equal([frame.pixels for frame in read(path)], frames)
    assert scan_dicom(path, LIMITS).frames == 3
    assert all(Note.MULTI_FRAME in frame.notes for frame in read(path))


@pytest.mark.parametrize(("bits", "dtype"), [(12, np.int16), (12, np.uint16), (7, np.uint8)])
def test_unused_bits_do_not_reach_the_pixels(
    tmp_path: Path, make_dicom: MakeDicom, bits: int, dtype: type[np.integer]
) -> None:
    pixels = RANDOM.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (8, 8), dtype=dtype, endpoint=True)
    path = make_dicom(tmp_path / "a.dcm", pixels, BitsStored=bits)
    (frame,) = read(path)
    np.testing.assert_array_equal(frame.pixels, dcmread(path).pixel_array)
    scan = scan_dicom(path, LIMITS)
    assert scan.low <= frame.pixels.min() <= frame.pixels.max() <= scan.high
    assert scan.high - scan.low == 2**bits - 1


def test_a_j2k_codestream_deeper_than_its_header_widens_the_bounds(tmp_path: Path, make_dicom: MakeDicom) -> None:
    path = make_dicom(tmp_path / "a.dcm", UNSIGNED * 16, syntax=JPEG2000Lossless)
    edit(path, BitsStored=12, HighBit=11)
    (frame,) = read(path)
    np.testing.assert_array_equal(frame.pixels, UNSIGNED * 16)
    assert scan_dicom(path, LIMITS).high == 65535


def test_colour_becomes_luma_and_is_noted(tmp_path: Path, make_dicom: MakeDicom) -> None:
    colour = RANDOM.integers(0, 256, (67, 45, 3), dtype=np.uint8)
    (frame,) = read(make_dicom(tmp_path / "rgb.dcm", colour))
    expected = np.rint(colour @ [0.299, 0.587, 0.114])
    assert np.abs(frame.pixels - expected).max() <= 1
    np.testing.assert_array_equal(frame.pixels, luma(colour))
    assert Note.COLOUR in frame.notes
    planar = make_dicom(tmp_path / "planar.dcm", colour)
    edit(planar, PlanarConfiguration=1, PixelData=colour.transpose(2, 0, 1).tobytes() + b"\0")
    np.testing.assert_array_equal(read(planar)[0].pixels, frame.pixels)
    ybr = make_dicom(tmp_path / "ybr.dcm", colour, PhotometricInterpretation="YBR_FULL")
    np.testing.assert_array_equal(read(ybr)[0].pixels, colour[..., 0])


def test_baseline_jpeg_keeps_the_coded_samples(tmp_path: Path, make_dicom: MakeDicom) -> None:
    smooth = np.add.outer(np.arange(32), np.arange(48))[..., None] + np.array([0, 60, 120])
    colour = smooth.astype(np.uint8)
    path = make_dicom(tmp_path / "a.dcm", colour)
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.PixelData = encapsulate([imagecodecs.jpeg8_encode(colour, level=95)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    (frame,) = read(path)
    assert np.abs(frame.pixels.astype(int) - luma(colour)).max() <= 3


def test_rescale_and_the_first_of_several_windows(tmp_path: Path, make_dicom: MakeDicom) -> None:
    facts = {"RescaleSlope": "2.5", "RescaleIntercept": "-1024", "VOILUTFunction": "SIGMOID"}
    path = make_dicom(tmp_path / "a.dcm", SIGNED, WindowCenter=[40, 300], WindowWidth=["400", "1500"], **facts)
    (frame,) = read(path)
    assert (frame.slope, frame.intercept) == (2.5, -1024)
    assert (frame.window, frame.function, frame.notes) == ((40, 400), "SIGMOID", frozenset())


@pytest.mark.parametrize("width", ["0", "-5", "", None])
def test_a_window_without_width_is_no_window(tmp_path: Path, make_dicom: MakeDicom, width: str | None) -> None:
    facts = {} if width is None else {"WindowWidth": width}
    (frame,) = read(make_dicom(tmp_path / "a.dcm", SIGNED, WindowCenter="40", **facts))
    assert frame.window is None


def test_a_linear_window_narrower_than_one_is_exact(tmp_path: Path, make_dicom: MakeDicom) -> None:
    (frame,) = read(make_dicom(tmp_path / "a.dcm", SIGNED, WindowCenter="0.5", WindowWidth="0.25"))
    assert (frame.window, frame.function) == ((0.5, 0.25), "LINEAR_EXACT")


@pytest.mark.parametrize("slope", ["0", "0.0"])
def test_a_slope_of_zero_is_read_as_one_and_noted(tmp_path: Path, make_dicom: MakeDicom, slope: str) -> None:
    (frame,) = read(make_dicom(tmp_path / "a.dcm", SIGNED, RescaleSlope=slope, RescaleIntercept="7"))
    assert (frame.slope, frame.intercept) == (1.0, 7.0)
    assert Note.SLOPE_REPAIRED in frame.notes


def test_enhanced_frames_have_their_own_rescale_and_window(tmp_path: Path, make_dicom: MakeDicom) -> None:
    def group(slope: int, center: int) -> Dataset:
        transformation, window, item = Dataset(), Dataset(), Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = slope, -slope
        window.WindowCenter, window.WindowWidth = center, 10 * center
        item.PixelValueTransformationSequence = Sequence([transformation])
        if center:
            item.FrameVOILUTSequence = Sequence([window])
        return item

    shared = group(9, 90)
    path = make_dicom(
        tmp_path / "a.dcm",
        np.stack([UNSIGNED] * 3),
        frames=True,
        PerFrameFunctionalGroupsSequence=Sequence([group(1, 10), group(2, 0), group(3, 30)]),
        SharedFunctionalGroupsSequence=Sequence([shared]),
    )
    found = [(frame.slope, frame.intercept, frame.window) for frame in read(path)]
    assert found == [(1, -1, (10, 100)), (2, -2, (90, 900)), (3, -3, (30, 300))]


def test_a_voi_lut_becomes_the_window_over_its_input(tmp_path: Path, make_dicom: MakeDicom) -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [256, 100, 16], bytes(512)
    (frame,) = read(make_dicom(tmp_path / "a.dcm", UNSIGNED, VOILUTSequence=Sequence([item])))
    assert Note.VOI_LUT in frame.notes
    assert frame.window is not None
    center, width = frame.window
    # DICOM PS3.3 C.11.2.1.2.1: black up to the first entry, white from the last on.
    assert center - 0.5 - (width - 1) / 2 == 100
    assert center - 0.5 + (width - 1) / 2 == 100 + 255


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(("bits", "vr"), [(8, "US"), (12, "OW"), (16, "OW"), (16, "US")])
def test_a_modality_lut_is_applied_like_numpy_interpolation(
    tmp_path: Path, make_dicom: MakeDicom, bits: int, vr: str, syntax: str
) -> None:
    table = RANDOM.integers(0, 2**bits, 1000)
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [1000, 50, bits], "US"
    words = table.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
    item.add_new("LUTData", vr, table.tolist() if vr == "US" else words)
    path = make_dicom(tmp_path / "a.dcm", UNSIGNED, syntax=syntax, ModalityLUTSequence=Sequence([item]))
    (frame,) = read(path)
    np.testing.assert_array_equal(frame.pixels, np.interp(UNSIGNED, np.arange(50, 1050), table))
    assert (frame.slope, frame.bits_stored, Note.MODALITY_LUT in frame.notes) == (1, bits, True)
    assert scan_dicom(path, LIMITS).high == 2**bits - 1


def test_inverted_images_are_noted_and_not_changed(tmp_path: Path, make_dicom: MakeDicom) -> None:
    (frame,) = read(make_dicom(tmp_path / "a.dcm", UNSIGNED, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(frame.pixels, UNSIGNED)
    assert Note.INVERTED in frame.notes


def test_a_file_without_preamble_or_meta_group_is_read(tmp_path: Path, make_dicom: MakeDicom) -> None:
    path = make_dicom(tmp_path / "a.dcm", UNSIGNED, syntax=ImplicitVRLittleEndian)
    dataset = dcmread(path)
    with (tmp_path / "bare.dcm").open("wb") as file:
        dataset.preamble = None
        del dataset.file_meta
        dataset.save_as(file, implicit_vr=True, little_endian=True, enforce_file_format=False)
    np.testing.assert_array_equal(read(tmp_path / "bare.dcm")[0].pixels, UNSIGNED)


def test_position_along_the_normal(tmp_path: Path, make_dicom: MakeDicom) -> None:
    facts = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "ImagePositionPatient": [-7.5, 100, 3]}
    scan = scan_dicom(make_dicom(tmp_path / "a.dcm", UNSIGNED, InstanceNumber=4, **facts), LIMITS)
    assert (scan.along, scan.instance) == (7.5, 4)


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Rows": 0}, Reason.CONTRADICTORY),
        ({"Rows": None}, Reason.CONTRADICTORY),
        ({"Rows": 68}, Reason.TRUNCATED),
        ({"Rows": 3}, Reason.CONTRADICTORY),
        ({"NumberOfFrames": 2}, Reason.TRUNCATED),
        ({"BitsStored": 20}, Reason.CONTRADICTORY),
        ({"BitsAllocated": 32, "BitsStored": 32, "Rows": 33}, Reason.TOO_DEEP),
        ({"SamplesPerPixel": 3}, Reason.CONTRADICTORY),
        ({"PhotometricInterpretation": "CMYK"}, Reason.UNSUPPORTED),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, Reason.CONTRADICTORY),
        ({"PixelData": None}, Reason.NO_PIXELS),
    ],
)
def test_contradictory_headers_are_refused(
    tmp_path: Path, make_dicom: MakeDicom, elements: dict[str, object], reason: Reason
) -> None:
    path = edit(make_dicom(tmp_path / "a.dcm", UNSIGNED), **elements)
    assert refusal(path).reason is reason


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_no_truncation_passes(tmp_path: Path, make_dicom: MakeDicom, syntax: str) -> None:
    path = make_dicom(tmp_path / "a.dcm", UNSIGNED, syntax=syntax)
    whole = path.read_bytes()
    start = whole.index(b"\xe0\x7f\x10\x00") + 12
    for length in (start, start + 1, *range(start + 2, len(whole), 197), len(whole) - 1):
        path.write_bytes(whole[:length])
        assert refusal(path).reason is Reason.TRUNCATED


def test_a_codestream_cut_inside_intact_fragments_is_refused(tmp_path: Path, make_dicom: MakeDicom) -> None:
    path = make_dicom(tmp_path / "a.dcm", np.tile(UNSIGNED, (20, 20)), syntax=JPEG2000Lossless)
    dataset = dcmread(path)
    codestream = imagecodecs.jpeg2k_encode(np.tile(UNSIGNED, (20, 20)), codecformat="J2K")
    dataset.PixelData = encapsulate([codestream[: len(codestream) // 2]])
    dataset.save_as(path)
    assert refusal(path).reason is Reason.TRUNCATED


def test_more_coded_frames_than_stated_are_refused(tmp_path: Path, make_dicom: MakeDicom) -> None:
    path = make_dicom(tmp_path / "a.dcm", np.stack([UNSIGNED] * 3), syntax=RLELossless, frames=True)
    assert refusal(edit(path, NumberOfFrames=2)).reason is Reason.CONTRADICTORY
    assert refusal(edit(path, NumberOfFrames=4)).reason in (Reason.TRUNCATED, Reason.DAMAGED)


def test_floating_point_pixels_are_refused(tmp_path: Path, make_dicom: MakeDicom) -> None:
    path = make_dicom(tmp_path / "a.dcm", UNSIGNED)
    edit(path, PixelData=None, FloatPixelData=np.zeros((67, 45), np.float32).tobytes())
    assert refusal(path).reason is Reason.FLOATING_POINT


def test_limits_on_size_are_checked_before_decoding(tmp_path: Path, make_dicom: MakeDicom) -> None:
    path = make_dicom(tmp_path / "a.dcm", np.stack([UNSIGNED] * 3), frames=True)
    assert "67 x 45 is 3015 pixels" in refusal(path, Limits(max_pixels=3014)).detail
    assert "3 frames" in refusal(path, Limits(max_frames=2)).detail
    assert len(read(path, Limits(max_pixels=3015, max_frames=3))) == 3


def write_deflated(path: Path, dataset: Dataset, padding: int) -> Path:
    """A deflated DICOM file with an element of ``padding`` zeros before its pixels."""
    plain = path.with_suffix(".plain")
    dataset.save_as(plain)
    content = plain.read_bytes()
    start = dataset_start(content)
    pixels = content.index(b"\xe0\x7f\x10\x00", start)
    zeros = b"\x09\x00\x10\x10OB\0\0" + padding.to_bytes(4, "little") + bytes(padding)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflater.compress(content[start:pixels] + zeros + content[pixels:]) + deflater.flush()
    meta = content[:start].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    shift = len(meta) - start
    where = meta.index(b"\x02\x00\x10\x00UI") + 6
    meta = meta[:where] + b"\x16\x00" + meta[where + 2 :]
    length = int.from_bytes(meta[140:144], "little") + shift
    path.write_bytes(meta[:140] + length.to_bytes(4, "little") + meta[144:] + body)
    return path


def dataset_start(content: bytes) -> int:
    return 144 + int.from_bytes(content[140:144], "little")


def test_deflated_files_are_read_but_not_to_any_size(tmp_path: Path, make_dicom: MakeDicom) -> None:
    dataset = dcmread(make_dicom(tmp_path / "a.dcm", UNSIGNED))
    honest = write_deflated(tmp_path / "honest.dcm", dataset, 1000)
    np.testing.assert_array_equal(dcmread(honest).pixel_array, UNSIGNED)
    np.testing.assert_array_equal(read(honest)[0].pixels, UNSIGNED)
    honest.write_bytes(honest.read_bytes()[:-1])
    assert refusal(honest) == Rejection(Reason.TRUNCATED, "the deflated dataset ends early")
    bomb = write_deflated(tmp_path / "bomb.dcm", dataset, 64 << 20)
    assert bomb.stat().st_size < 100_000
    found = refusal(bomb, Limits(max_pixels=1 << 20))
    assert (found.reason, "8388608 bytes" in found.detail) == (Reason.TOO_LARGE, True)


def test_rle_that_claims_more_than_it_can_hold_is_refused(tmp_path: Path, make_dicom: MakeDicom) -> None:
    path = make_dicom(tmp_path / "a.dcm", np.zeros((64, 64), np.uint16), syntax=RLELossless)
    assert refusal(edit(path, Rows=30000, Columns=30000)).reason is Reason.TOO_LARGE
    assert refusal(edit(path, Rows=5000, Columns=5000)).reason is Reason.UNDECODABLE


def test_a_codestream_larger_than_its_header_is_refused_before_decoding(tmp_path: Path, make_dicom: MakeDicom) -> None:
    path = make_dicom(tmp_path / "a.dcm", UNSIGNED, syntax=JPEG2000Lossless)
    content = path.read_bytes()
    at = content.index(b"\xff\x4f\xff\x51") + 8
    huge = (30000).to_bytes(4, "big")
    path.write_bytes(content[:at] + huge + huge + content[at + 8 :])
    found = refusal(path)
    assert (found.reason, "30000 x 30000" in found.detail) == (Reason.CONTRADICTORY, True)


def test_random_damage_never_raises_anything_but_a_rejection(tmp_path: Path, make_dicom: MakeDicom) -> None:
    random = np.random.default_rng(3)
    outcomes = set()
    for syntax in (ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless):
        path = make_dicom(tmp_path / "a.dcm", UNSIGNED, syntax=syntax, WindowCenter=1, WindowWidth=2)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(60):
            damaged = whole.copy()
            damaged[random.integers(132, len(whole), 8)] = random.integers(0, 256, 8)
            path.write_bytes(damaged.tobytes())
            found = rejecting(read, path, Limits(max_pixels=10_000))
            outcomes.add(found.reason if isinstance(found, Rejection) else "stored")
    assert "stored" in outcomes
    assert len(outcomes) > 3


@pytest.mark.parametrize(
    "header", [(2, 64, 2**31), (2, 2**32 - 1, 80), (2, 90, 80), (2, 0, 80), (1, 64), (3, 64, 80, 90), (0,)]
)
def test_rle_segments_outside_the_frame_are_refused(
    header: tuple[int, ...], tmp_path: Path, make_dicom: MakeDicom
) -> None:
    """The decoder itself would read there: nothing, garbage or a crash."""
    path = make_dicom(tmp_path / "a.dcm", UNSIGNED, syntax=RLELossless, WindowCenter=1, WindowWidth=2)
    content = path.read_bytes()
    start = content.index(np.array([2, 64], "<u4").tobytes())
    words = np.zeros(16, "<u4")
    words[: len(header)] = header
    path.write_bytes(content[:start] + words.tobytes() + content[start + 64 :])
    with pytest.raises(Rejected, match=Reason.UNDECODABLE):
        read(path, Limits())


def test_a_rejection_says_why() -> None:
    assert str(Rejected(Reason.TRUNCATED, "half is missing")) == "truncated: half is missing"
