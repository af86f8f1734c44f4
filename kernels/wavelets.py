"""Which wavelets there are, how deep an image can be transformed, and the numbers each backend needs.

Two families. The float wavelets (``haar``, ``db2`` to ``db8``, ``sym4``, ``bior4.4``) are filter banks with PyWavelets'
coefficients and its ``periodization`` boundary. ``cdf53`` is the reversible integer 5/3 lifting of JPEG 2000 Part 1
(ITU-T T.800, Annex F) with whole-sample symmetric extension: any size, exactly invertible.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray

WAVELETS = ("haar", "db2", "db3", "db4", "db5", "db6", "db7", "db8", "sym4", "bior4.4", "cdf53")
INTEGER_WAVELET = "cdf53"
DEFAULT_LEVELS = 5

# Autocorrelation of the 5/3 high-pass synthesis filter (-1/8, -1/4, 3/4, -1/4, -1/8) at lags 0 and 1.
HIGH_LAG_0 = Fraction(23, 32)
HIGH_LAG_1 = Fraction(-5, 16)


@dataclass(frozen=True)
class FilterBank:
    """The four filters of a float wavelet, in PyWavelets' order and sign, all of the same even length.

    Analysis of a signal ``x`` of even length ``n`` (an odd one repeats its last sample first), periodic::

        low[o] = sum_j dec_lo[j] * x[(length / 2 + 2 * o - j) mod n]        high[o]: the same with dec_hi

    Synthesis is ``x[i] = sum_o low[o] * rec_lo[i - 2 * o + length / 2 - 1] + high[o] * rec_hi[...]``, ``o`` periodic.

    Attributes:
        name: the wavelet's name in :data:`WAVELETS`.
        dec_lo, dec_hi: analysis low-pass and high-pass.
        rec_lo, rec_hi: synthesis low-pass and high-pass.
    """

    name: str
    dec_lo: tuple[float, ...]
    dec_hi: tuple[float, ...]
    rec_lo: tuple[float, ...]
    rec_hi: tuple[float, ...]

    @property
    def length(self) -> int:
        """Taps per filter."""
        return len(self.dec_lo)


def check_wavelet(wavelet: str) -> str:
    """Return ``wavelet`` if it is one of :data:`WAVELETS`, else raise ValueError listing them."""
    if wavelet not in WAVELETS:
        raise ValueError(f"unknown wavelet {wavelet!r}: expected one of {', '.join(WAVELETS)}")
    return wavelet


@cache
def filter_bank(wavelet: str) -> FilterBank:
    """The filters of a float wavelet, from PyWavelets.

    Raises:
        ValueError: the wavelet is unknown, or is ``cdf53``, which is computed by integer lifting, not by filters.
    """
    if check_wavelet(wavelet) == INTEGER_WAVELET:
        raise ValueError(f"{INTEGER_WAVELET} has no filter bank: it is computed by integer lifting")
    import pywt

    bank = pywt.Wavelet(wavelet)
    filters = (bank.dec_lo, bank.dec_hi, bank.rec_lo, bank.rec_hi)
    return FilterBank(wavelet, *(tuple(float(tap) for tap in taps) for taps in filters))


def max_levels(rows: int, cols: int, wavelet: str) -> int:
    """How many levels an image of ``rows`` x ``cols`` pixels can be transformed.

    For float wavelets the largest ``n`` with ``min(rows, cols) >= (length - 1) * 2**n`` (PyWavelets'
    ``dwt_max_level``): 0 means that the image is too small. For ``cdf53`` the number of ceil-halvings until both sides
    are 1, at least 1: any size goes.

    Raises:
        ValueError: unknown wavelet, or a side below 1.
    """
    check_wavelet(wavelet)
    if rows < 1 or cols < 1:
        raise ValueError(f"expected an image of at least 1x1 pixels, got {rows}x{cols}")
    if wavelet == INTEGER_WAVELET:
        return max(1, (int(max(rows, cols)) - 1).bit_length())
    return max(0, (int(min(rows, cols)) // (filter_bank(wavelet).length - 1)).bit_length() - 1)


def default_levels(rows: int, cols: int, wavelet: str) -> int:
    """The number of levels used when none is given: :data:`DEFAULT_LEVELS`, or fewer where the image is too small."""
    return min(DEFAULT_LEVELS, max_levels(rows, cols, wavelet))


def low_lags(level: int) -> tuple[Fraction, Fraction]:
    """Autocorrelation of the level's 5/3 low-pass synthesis function at lags 0 and 2**level.

    That function is a sampled hat of half-width ``2**level``, so both sums have closed forms.
    """
    width = 2**level
    return Fraction(2 * width**2 + 1, 3 * width), Fraction(width**2 - 1, 6 * width)


@cache
def cdf53_norm(orientation: str, level: int) -> np.float32:
    """L2 norm of the 2-D 5/3 synthesis basis functions of one subband: the weight of its coefficients.

    Computed exactly (one square root and one rounding to float32); the rounded values of JPEG 2000 coders (OpenJPEG's
    ``opj_dwt_norms``) are these.

    Args:
        orientation: ``LL``, ``HL``, ``LH`` or ``HH``.
        level: of the subband, 1 for the finest; ``LL`` at level 0 is the image itself, with norm 1.
    """
    low, _ = low_lags(level)
    if orientation == "LL":
        return np.float32(float(low))
    centre, neighbour = low_lags(level - 1)
    high = HIGH_LAG_0 * centre + 2 * HIGH_LAG_1 * neighbour
    return np.float32(float(high)) if orientation == "HH" else np.float32(sqrt(low * high))


@cache
def cdf53_norms(levels: int) -> NDArray[np.float32]:
    """The weights of a ``levels``-level ``cdf53`` transform, shape (1 + 3 * levels,), read-only.

    In the order of the packed layout: LL of the coarsest level, then HL, LH, HH of each level, coarse to fine.
    """
    details = [(name, level) for level in range(levels, 0, -1) for name in ("HL", "LH", "HH")]
    norms = np.array([cdf53_norm(*subband) for subband in [("LL", levels), *details]], dtype=np.float32)
    norms.flags.writeable = False
    return norms
