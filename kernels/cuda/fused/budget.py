"""How much shared memory an image takes, in one block or spread over a cluster of blocks."""

from __future__ import annotations

from dataclasses import dataclass

from wavestream.kernels.cuda.fused.source import NORM_LEVELS
from wavestream.kernels.wavelets import INTEGER_WAVELET

WORD = 4  # bytes of a float32 or int32 coefficient
BINS = 2048
SCRATCH_WORDS = 64
PITCH_STEP = 32
MULTIPLE = 4  # words that the selection reads at once


@dataclass(frozen=True)
class Part:
    """The part of an image that each block of a cluster holds.

    Attributes:
        pitch: words per row.
        slab: rows.
        shared_bytes: dynamic shared memory of the block: the slab, two histograms, scratch, and weights for ``cdf53``.
    """

    pitch: int
    slab: int
    shared_bytes: int


def used_side(side: int, levels: int, wavelet: str) -> int:
    """Rows or columns in which coefficients lie when they stay among each other, where their samples lay.

    Coefficient ``i`` of the level with ``n`` samples lies at ``i * 2**(level - 1)``; an odd ``n`` has one more with the
    float wavelets, which a coarse level may put beyond the image.
    """
    end = 0
    for level in range(levels):
        entries = -(-side // 2**level)
        if wavelet != INTEGER_WAVELET:
            entries += entries % 2
        end = max(end, (entries - 1) * 2**level + 1)
    return end


def part_of(rows: int, cols: int, levels: int, wavelet: str, cluster: int) -> Part:
    """The part of an image of ``rows`` x ``cols`` pixels in each of ``cluster`` blocks.

    The pitch is one more than a multiple of 32: odd, so that neighbouring rows begin in different banks, and one of a
    few numbers, because the kernel is compiled for it. Several blocks hold a multiple of ``2**levels`` rows each, so
    that no pair of coefficients is parted.
    """
    pitch = -(-used_side(cols, levels, wavelet) // PITCH_STEP) * PITCH_STEP + 1
    slab = used_side(rows, levels, wavelet)
    if cluster > 1:
        unit = 2**levels
        slab = -(-slab // (cluster * unit)) * unit
    words = -(-slab * pitch // MULTIPLE) * MULTIPLE + 2 * BINS + SCRATCH_WORDS
    if wavelet == INTEGER_WAVELET:
        words += 4 * NORM_LEVELS
    return Part(pitch, slab, words * WORD)
