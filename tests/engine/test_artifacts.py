"""Artifacts: validation, JSON round trip, the draw's distribution, and images too small for the wavelet."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import pywt
from scipy import stats

from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probability": 1.5}, r"probability in \[0, 1\], got 1\.5"),
        ({"probability": float("nan")}, "probability"),
        ({"probability": "often"}, "expected numbers"),
        ({"keep": ()}, "at least one keep"),
        ({"keep": (0.1, 0.0)}, r"every keep in \(0, 1\]"),
        ({"keep": (10,)}, "not per cent"),
        ({"keep": (float("nan"),)}, "every keep"),
        ({"keep": None}, "expected numbers"),
        ({"domain": "output"}, "one of source, input, got 'output'"),
        ({"wavelet": "db99"}, r"wavelet out of haar, .*got 'db99'"),
        ({"domain": "input", "wavelet": "cdf53"}, "cdf53 transforms integers"),
        ({"levels": 0}, "levels"),
        ({"levels": 1.5}, "levels"),
    ],
)
def test_wrong_values_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Artifacts(**options)


@pytest.mark.parametrize(
    "artifacts", [Artifacts(), Artifacts(0.25, (1.0, 0.5), "input", "haar", 2), Artifacts(1, 0.001, "source", "db4")]
)
def test_json_round_trip(artifacts: Artifacts) -> None:
    assert Artifacts.from_json(json.loads(json.dumps(artifacts.to_json()))) == artifacts
    with pytest.raises(InputError, match=r"unknown keys \['colour'\]"):
        Artifacts.from_json({"colour": 1})


def test_default_wavelets() -> None:
    assert Artifacts().chosen_wavelet == "cdf53"
    assert Artifacts(domain="input").chosen_wavelet == "bior4.4"
    assert Artifacts(wavelet="haar").chosen_wavelet == "haar"


def test_the_draw_has_the_declared_distribution() -> None:
    keeps = (0.5, 0.1, 0.01)
    drawn = Artifacts(0.75, keeps).draw(3, 2, np.arange(20000))
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [0.01, 0.1, 0.5, 1.0]
    assert stats.chisquare(counts, 20000 * np.full(4, 0.25)).pvalue > 1e-3


def test_the_draw_is_a_function_of_seed_epoch_and_index() -> None:
    artifacts = Artifacts(0.5, (0.3, 0.2))
    batch = artifacts.draw(1, 2, [9, 4, 9, 7])
    assert batch.tolist() == [artifacts.draw(1, 2, [index]).item() for index in (9, 4, 9, 7)]
    indices = np.arange(200)
    assert not np.array_equal(artifacts.draw(1, 2, indices), artifacts.draw(1, 3, indices))
    assert not np.array_equal(artifacts.draw(1, 2, indices), artifacts.draw(2, 2, indices))
    assert (Artifacts(0.0).draw(1, 2, indices) == 1.0).all()
    assert (Artifacts(1.0, 0.2).draw(1, 2, indices) == 0.2).all()


def test_images_too_small_for_the_wavelet_are_named() -> None:
    sides = np.arange(1, 40)
    for wavelet in ("haar", "bior4.4", "db8"):
        artifacts = Artifacts(domain="input", wavelet=wavelet)
        for side in sides:
            allowed = pywt.dwt_max_level(int(side), wavelet)
            if allowed >= 1:
                artifacts.require_sizes([side, 64], [100, 64], [7, 8])
            else:
                with pytest.raises(InputError, match=rf"image 7 of {side}x100 pixels allows 0 levels of {wavelet}"):
                    artifacts.require_sizes([64, side], [64, 100], [8, 7])
    Artifacts().require_sizes([1], [1], [0])
    with pytest.raises(InputError, match=r"image 5 of 20x20 pixels allows 1 levels .* 3 needed \(2 of 3 images"):
        Artifacts(wavelet="bior4.4", levels=3).require_sizes([99, 20, 30], [99, 20, 30], [3, 5, 6])
    with pytest.raises(InputError, match="the network's input of 4x64 pixels"):
        Artifacts(domain="input").require_sizes([4], [64])
