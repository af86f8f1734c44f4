"""Transform: validation, JSON round trip, and what it draws."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

from wavestream.engine.errors import InputError
from wavestream.engine.transform import Transform


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": (224,)}, "image_size"),
        ({"image_size": (0, 5)}, "image_size"),
        ({"image_size": (224.0, 224)}, "image_size"),
        ({"std": 0}, "std above 0"),
        ({"mean": float("inf")}, "finite mean"),
        ({"window": (40,)}, "window"),
        ({"window": (40, 0.5)}, "width of at least 1"),
        ({"window": (float("nan"), 400)}, "window"),
        ({"resolution": "half"}, "expected the resolution to be one of full, auto, got 'half'"),
        ({"resolution": None}, "resolution"),
    ],
)
def test_wrong_values_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Transform(**options)


@pytest.mark.parametrize(
    "transform", [Transform(), Transform((32, 48), 0.4, 0.2, True, True, (40.0, 400.0), False, "auto")]
)
def test_json_round_trip(transform: Transform) -> None:
    assert Transform.from_json(json.loads(json.dumps(transform.to_json()))) == transform
    older = {key: value for key, value in transform.to_json().items() if key != "resolution"}
    assert Transform.from_json(older).resolution == "full"
    with pytest.raises(InputError, match=r"unknown keys \['zoom'\]"):
        Transform.from_json({"zoom": 2})


def test_nothing_is_drawn_unless_asked() -> None:
    drawn = Transform().sample(0, 0, np.arange(50))
    assert not drawn.quarter_turns.any()
    assert not drawn.flip.any()


def test_turns_and_flips_are_uniform_and_independent() -> None:
    drawn = Transform(rotate=True, flip=True).sample(5, 1, np.arange(16000))
    table = np.histogram2d(drawn.quarter_turns, drawn.flip, bins=(4, 2))[0]
    assert stats.chisquare(table.ravel()).pvalue > 1e-3
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_a_batch_equals_its_elements_and_epochs_differ() -> None:
    transform = Transform(rotate=True, flip=True)
    batch = transform.sample(5, 1, [3, 8, 3])
    for slot, index in enumerate((3, 8, 3)):
        single = transform.sample(5, 1, [index])
        assert (batch.quarter_turns[slot], batch.flip[slot]) == (single.quarter_turns[0], single.flip[0])
    indices = np.arange(100)
    first, second = transform.sample(5, 1, indices), transform.sample(5, 2, indices)
    assert not np.array_equal(first.quarter_turns, second.quarter_turns)
    assert not np.array_equal(first.flip, second.flip)
