"""PNG and JPEG files as frames, against Pillow."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from wavestream.engine.frame import Frame, Note, luma
from wavestream.engine.limits import Limits
from wavestream.engine.rasters import PNG_SIGNATURE, read_raster, scan_raster
from wavestream.engine.rejection import Reason, Rejection, rejecting

LIMITS = Limits()
RANDOM = np.random.default_rng(5)
GREY = RANDOM.integers(0, 256, (31, 17), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (31, 17), dtype=np.uint16)
COLOUR = RANDOM.integers(0, 256, (31, 17, 3), dtype=np.uint8)


def read(path: Path, limits: Limits = LIMITS) -> Frame:
    (frame,) = read_raster(path, limits)
    return frame


def refusal(path: Path, limits: Limits = LIMITS) -> Rejection:
    found = rejecting(read, path, limits)
    assert isinstance(found, Rejection)
    return found


@pytest.mark.parametrize(("pixels", "bits"), [(GREY, 8), (DEEP, 16)])
def test_grey_png_is_what_was_written(tmp_path: Path, pixels: np.ndarray, bits: int) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    frame = read(tmp_path / "a.png")
    np.testing.assert_array_equal(frame.pixels, pixels)
    assert (frame.pixels.dtype, frame.bits_stored, frame.notes, frame.window) == (pixels.dtype, bits, frozenset(), None)
    scan = scan_raster(tmp_path / "a.png", LIMITS)
    assert (scan.rows, scan.cols, scan.frames, scan.low, scan.high) == (31, 17, 1, 0, 2**bits - 1)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGB", "png"), ("RGBA", "png"), ("P", "png"), ("RGB", "jpg"), ("CMYK", "jpg")]
)
def test_colour_is_the_luma_that_pillow_computes(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOUR).convert(mode).save(path)
    frame = read(path)
    np.testing.assert_array_equal(frame.pixels, np.asarray(Image.open(path).convert("RGB").convert("L")))
    assert frame.notes == {Note.COLOUR}


@pytest.mark.parametrize(("mode", "expected"), [("1", (GREY > 127) * 255), ("LA", GREY)])
def test_bilevel_and_grey_with_alpha(tmp_path: Path, mode: str, expected: np.ndarray) -> None:
    image = Image.fromarray((GREY > 127).astype(np.uint8) * 255 if mode == "1" else GREY)
    image.convert(mode).save(tmp_path / "a.png")
    frame = read(tmp_path / "a.png")
    np.testing.assert_array_equal(frame.pixels, expected)
    assert Note.COLOUR not in frame.notes


def test_sixteen_bit_colour_keeps_its_depth(tmp_path: Path) -> None:
    deep = RANDOM.integers(0, 65536, (31, 17, 3), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(deep))
    frame = read(tmp_path / "a.png")
    assert np.abs(frame.pixels - deep @ [0.299, 0.587, 0.114]).max() < 1.5
    np.testing.assert_array_equal(frame.pixels, luma(deep))
    assert (frame.bits_stored, scan_raster(tmp_path / "a.png", LIMITS).high) == (16, 65535)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_no_truncation_passes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(GREY).save(path)
    whole = path.read_bytes()
    for length in range(9, len(whole) - 12, 41):
        path.write_bytes(whole[:length])
        assert refusal(path).reason in (Reason.TRUNCATED, Reason.DAMAGED, Reason.UNDECODABLE)


def test_size_is_bounded_before_decoding(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4000, 4000), np.uint8)).save(tmp_path / "a.png")
    assert refusal(tmp_path / "a.png", Limits(max_pixels=4000 * 4000 - 1)).reason is Reason.TOO_LARGE
    header = b"IHDR" + struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    bomb = PNG_SIGNATURE + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + b"\0\0\0\0IDAT"
    (tmp_path / "bomb.png").write_bytes(bomb)
    assert refusal(tmp_path / "bomb.png").reason is Reason.TOO_LARGE


def test_animated_and_foreign_files_are_refused(tmp_path: Path) -> None:
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    first.save(tmp_path / "a.png", save_all=True, append_images=[second])
    assert refusal(tmp_path / "a.png") == Rejection(Reason.UNSUPPORTED, "animated PNG")
    first.save(tmp_path / "a.bmp")
    assert refusal(tmp_path / "a.bmp").reason is Reason.DAMAGED
