"""The size that a JPEG, JPEG-LS or JPEG 2000 codestream claims, read without decoding it."""

from __future__ import annotations

from dataclasses import dataclass
from struct import unpack_from

from wavestream.engine.rejection import Reason, Rejected

_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_J2K_START = b"\xff\x4f\xff\x51"
_END_MARKER = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
_LONGEST_PADDING = 4096
# SOF0..SOF15 except DHT, JPG and DAC, which share the range; and SOF55 of JPEG-LS.
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})


@dataclass(frozen=True, slots=True)
class Codestream:
    """Size (pixels), components and bits per sample that a codestream states in its header."""

    rows: int
    cols: int
    components: int
    precision: int


def read_codestream(data: bytes) -> Codestream | None:
    """The size stated by a codestream that starts at ``data[0]``, or None where it is of no known kind.

    Sources: ITU-T T.81 B.2.2 (JPEG), ITU-T T.87 C.2.2 (JPEG-LS), ITU-T T.800 A.5.1 (JPEG 2000).
    """
    if data.startswith(_JP2_SIGNATURE):
        start = data.find(_J2K_START)
        return _read_j2k(data, start) if start >= 0 else None
    if data.startswith(_J2K_START):
        return _read_j2k(data, 0)
    if data.startswith(b"\xff\xd8"):
        return _read_jpeg(data)
    return None


def _read_j2k(data: bytes, start: int) -> Codestream | None:
    if len(data) < start + 43:
        return None
    width, height, left, top = unpack_from(">4I", data, start + 8)
    (components,) = unpack_from(">H", data, start + 40)
    return Codestream(height - top, width - left, components, (data[start + 42] & 0x7F) + 1)


def _read_jpeg(data: bytes) -> Codestream | None:
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _FRAME_MARKERS:
            if position + 10 > len(data):
                return None
            precision, rows, cols, components = unpack_from(">BHHB", data, position + 4)
            return Codestream(rows, cols, components, precision)
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a segment
            position += 2
            continue
        position += 2 + int(unpack_from(">H", data, position + 2)[0])
    return None


def check_codestream(data: bytes, rows: int, cols: int, samples: int, bits_allocated: int) -> None:
    """Raise :class:`Rejected` where a complete codestream disagrees with the header, or lacks its end marker.

    A decoder allocates what the codestream claims, whatever the header says; and some decode half a codestream
    without complaint. Codestreams of no known kind pass: their decoder judges them.
    """
    found = read_codestream(data)
    if found is None:
        return
    if (found.rows, found.cols, found.components) != (rows, cols, samples):
        raise Rejected(
            Reason.CONTRADICTORY,
            f"header says {rows} x {cols} x {samples}, codestream {found.rows} x {found.cols} x {found.components}",
        )
    if found.precision > max(bits_allocated, 8):
        raise Rejected(
            Reason.CONTRADICTORY, f"header allocates {bits_allocated} bits, the codestream has {found.precision}"
        )
    # Encoders pad with zeros or 0xFF: to an even length, or far beyond.
    if not data[-_LONGEST_PADDING:].rstrip(b"\x00\xff").endswith(_END_MARKER):
        raise Rejected(Reason.TRUNCATED, "the codestream has no end marker")
