"""One named decoder for each compressed transfer syntax, so that pixels do not depend on what else is installed.

pydicom's own decoders serve JPEG 2000, HTJ2K (pylibjpeg-openjpeg) and JPEG-LS (pyjpegls). The JPEG family, RLE and
JPEG XL go through imagecodecs, which also reads the 12-bit JPEG Extended files that other decoders refuse.
"""

from __future__ import annotations

import zlib
from functools import cache

import imagecodecs
import numpy as np
from pydicom.pixels.decoders.base import Decoder, DecodeRunner, get_decoder
from pydicom.uid import UID, RLELossless

_STANDARD = "1.2.840.10008.1.2."
_PYDICOM = {
    **{f"{_STANDARD}4.{number}": "pylibjpeg" for number in (90, 91, 201, 202, 203)},
    **{f"{_STANDARD}4.{number}": "pyjpegls" for number in (80, 81)},
}
_OURS = {
    **{f"{_STANDARD}4.{number}": "decode_jpeg" for number in (50, 51, 53, 55, 57, 70)},
    **{f"{_STANDARD}4.{number}": "decode_jpeg_xl" for number in (110, 111, 112)},
    f"{_STANDARD}5": "decode_rle",
    f"{_STANDARD}1.98": "decode_uncompressed",
    f"{_STANDARD}8.1": "decode_deflated",
}

_RLE_HEADER = 64

# What pydicom asks of a module with decoding plugins, beside is_available().
DECODER_DEPENDENCIES: dict[str, tuple[str, ...]] = dict.fromkeys(_OURS, ("imagecodecs",))


def is_available(uid: str) -> bool:
    """Whether this module has a plugin for the transfer syntax ``uid``: pydicom's plugin protocol."""
    return uid in DECODER_DEPENDENCIES


@cache
def find_decoder(syntax: str) -> tuple[Decoder, str] | None:
    """pydicom's decoder for an encapsulated transfer syntax and the plugin to name to it; None if unsupported."""
    if syntax in _PYDICOM:
        return get_decoder(syntax), _PYDICOM[syntax]
    if syntax not in _OURS:
        return None
    # pydicom refuses transfer syntaxes newer than its dictionary; RLE stands in, of which it assumes least.
    uid = UID(syntax)
    decoder = Decoder(uid if uid.type == "Transfer Syntax" else RLELossless)
    decoder.add_plugin(_OURS[syntax], (__name__, _OURS[syntax]))
    return decoder, _OURS[syntax]


def decode_jpeg(source: bytes, runner: DecodeRunner) -> bytes:
    """Samples of a JPEG frame as coded, without colour conversion: the photometric interpretation says what they are.

    This and the functions below are pydicom decoding plugins: a frame's bytes in, its samples' bytes out, and the
    layout of the samples noted in ``runner``. Any exception means that the frame does not decode.
    """
    if runner.samples_per_pixel == 3:
        return _interleaved(imagecodecs.jpeg8_decode(source, colorspace="RGB", outcolorspace="RGB"), runner)
    return _interleaved(imagecodecs.jpeg8_decode(source), runner)


def decode_jpeg_xl(source: bytes, runner: DecodeRunner) -> bytes:
    """Samples of a JPEG XL frame, which come back as grey or RGB."""
    samples = imagecodecs.jpegxl_decode(source)
    if samples.ndim == 3:
        runner.set_option("photometric_interpretation", "RGB")
    return _interleaved(samples, runner)


def decode_rle(source: bytes, runner: DecodeRunner) -> bytes:
    """Samples of an RLE frame (PS3.5 G)."""
    if runner.bits_allocated % 8:
        raise ValueError(f"no RLE of {runner.bits_allocated} bits")
    _check_rle_header(source, runner.samples_per_pixel * runner.bits_allocated // 8)
    decoded = imagecodecs.dicomrle_decode(source, np.dtype(f"<u{runner.bits_allocated // 8}"))
    runner.set_option("planar_configuration", 1)
    return bytes(decoded)


def _check_rle_header(source: bytes, segments: int) -> None:
    """Raise ValueError unless the segments lie one after another within the frame (PS3.5 G.5).

    imagecodecs 2026.3.6 reads wherever the header points to, also outside the frame.
    """
    if len(source) < _RLE_HEADER:
        raise ValueError(f"an RLE frame of {len(source)} bytes has no header")
    header = np.frombuffer(source, "<u4", _RLE_HEADER // 4).astype(np.int64)
    offsets = np.concatenate([header[1 : 1 + segments], [len(source)]])
    if header[0] != segments or offsets[0] < _RLE_HEADER or (np.diff(offsets) <= 0).any():
        raise ValueError("the RLE header points outside the frame, or has another number of segments")


def decode_uncompressed(source: bytes, runner: DecodeRunner) -> bytes:
    """Samples of an encapsulated but uncompressed frame (PS3.5 A.4.11)."""
    return source[: _samples(runner) * runner.bits_allocated // 8]


def decode_deflated(source: bytes, runner: DecodeRunner) -> bytes:
    """Samples of a deflated frame (PS3.5 A.4.13)."""
    pixels = _samples(runner)
    length = (pixels * runner.bits_allocated + 7) // 8
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(source, length)
    if runner.bits_allocated == 1:
        return np.unpackbits(np.frombuffer(inflated, np.uint8), count=pixels, bitorder="little").tobytes()
    return inflated


def _samples(runner: DecodeRunner) -> int:
    return runner.rows * runner.columns * runner.samples_per_pixel


def _interleaved(samples: np.ndarray, runner: DecodeRunner) -> bytes:
    if samples.size != _samples(runner):
        raise ValueError(f"the codestream has {samples.size} samples, the header says {_samples(runner)}")
    runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * samples.dtype.itemsize)
    return np.ascontiguousarray(samples).tobytes()
