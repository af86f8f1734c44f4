"""Fractions of layers: those that a stream can express, and no others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wavestream.engine.errors import InputError
from wavestream.engine.layer_fractions import check_layer_fractions
from wavestream.engine.layers import DEFAULT_FRACTIONS, encode_image, header_of


@pytest.mark.parametrize(
    "fractions",
    [(), [0.5], DEFAULT_FRACTIONS, (0.0000001, 0.9999999), (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07), np.array([0.1])],
)
def test_sound_fractions_are_those_that_the_stream_says(fractions: Any) -> None:
    checked = check_layer_fractions(fractions)
    assert checked == tuple(float(fraction) for fraction in fractions)
    assert all(type(fraction) is float for fraction in checked)
    assert tuple(header_of(encode_image(np.eye(9, dtype=np.uint8), fractions=checked)).fractions) == checked


@pytest.mark.parametrize(
    "fractions",
    [(0.1, 0.01), (0.1, 0.1), (0.0,), (1.0,), (-0.1,), (2,), (0.00000015,), (float("nan"),), "0.1", 0.1, None, ("a",),
     (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08)],
)  # fmt: skip
def test_others_are_refused(fractions: Any) -> None:
    with pytest.raises(InputError, match=r"layers: expected at most 7 ascending fractions between 0 and 1.*, got "):
        check_layer_fractions(fractions)
