"""Every decodable file of the torture set through the layered codec and back."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from wavestream.engine.dicom import read_dicom
from wavestream.engine.layers import decode_image, encode_image
from wavestream.engine.limits import Limits
from wavestream.engine.rejection import Rejection, rejecting

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

# Enough of a file with many frames, which are alike.
FRAMES = 3


def test_every_decodable_file_is_bit_exact(medical_data: Path) -> None:
    folder = medical_data / "dicom_torture"
    with (folder / "index.csv").open() as file:
        names = [row["file"] for row in csv.DictReader(file)]
    checked = 0
    for name in names:
        frames = rejecting(lambda name=name: [frame.pixels for frame in read_dicom(folder / name, Limits())])
        if isinstance(frames, Rejection):
            continue
        for pixels in frames[:FRAMES]:
            decoded = decode_image(encode_image(pixels))
            assert decoded.dtype == pixels.dtype, name
            np.testing.assert_array_equal(decoded, pixels, err_msg=name)
        checked += 1
    assert checked >= 187
