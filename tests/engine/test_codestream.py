"""Sizes read from the headers of codestreams that real encoders wrote."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from wavestream.engine.codestream import Codestream, check_codestream, read_codestream
from wavestream.engine.rejection import Reason, Rejected

GREY = np.arange(37 * 53, dtype=np.uint8).reshape(37, 53)
COLOUR = np.stack([GREY, GREY.T.reshape(37, 53), 255 - GREY], axis=-1)
DEEP = GREY.astype(np.uint16) * 16


@pytest.mark.parametrize(
    ("data", "components", "precision"),
    [
        (imagecodecs.jpeg8_encode(GREY), 1, 8),
        (imagecodecs.jpeg8_encode(COLOUR), 3, 8),
        (imagecodecs.jpeg8_encode(DEEP, bitspersample=12), 1, 12),
        (imagecodecs.jpeg8_encode(DEEP, lossless=True, bitspersample=16), 1, 16),
        (imagecodecs.jpegls_encode(GREY), 1, 8),
        (imagecodecs.jpegls_encode(DEEP), 1, 16),
        (imagecodecs.jpeg2k_encode(GREY, codecformat="J2K"), 1, 8),
        (imagecodecs.jpeg2k_encode(COLOUR, codecformat="JP2"), 3, 8),
        (imagecodecs.jpeg2k_encode(DEEP, codecformat="J2K", bitspersample=12), 1, 12),
    ],
)
def test_size_of_real_codestreams(data: bytes, components: int, precision: int) -> None:
    assert read_codestream(data) == Codestream(37, 53, components, precision)
    check_codestream(data + b"\0" * 100, 37, 53, components, 16)
    with pytest.raises(Rejected, match="header says 53 x 37"):
        check_codestream(data, 53, 37, components, 16)
    with pytest.raises(Rejected) as caught:
        check_codestream(data[: len(data) * 3 // 4], 37, 53, components, 16)
    assert caught.value.rejection.reason is Reason.TRUNCATED


def test_more_bits_than_allocated_are_refused() -> None:
    data = imagecodecs.jpegls_encode(DEEP)
    with pytest.raises(Rejected, match="allocates 8 bits, the codestream has 16"):
        check_codestream(data, 37, 53, 1, 8)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\x4f\xff\x51\x00", bytes(100), b"\xff\xd8\xff\xe0\xff\xff"])
def test_unknown_data_has_no_size(data: bytes) -> None:
    assert read_codestream(data) is None
    check_codestream(data, 1, 1, 1, 8)
