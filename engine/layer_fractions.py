"""Which fractions of its coefficients the layers of an image may hold."""

from __future__ import annotations

from collections.abc import Sequence

from wavestream.engine.bitstream import fraction_units
from wavestream.engine.errors import CodecError, InputError


def check_layer_fractions(fractions: Sequence[float]) -> tuple[float, ...]:
    """The fractions as a tuple of floats; a last layer, which holds everything, follows them and is not among them.

    Raises:
        InputError: more than seven, not ascending, not between 0 and 1 (exclusive), or not multiples of 0.0000001.
    """
    try:
        found = tuple(float(fraction) for fraction in fractions)
        fraction_units(found)
    except (CodecError, TypeError, ValueError, OverflowError):
        raise InputError(
            f"layers: expected at most 7 ascending fractions between 0 and 1, multiples of 0.0000001, got {fractions!r}"
        ) from None
    return found
