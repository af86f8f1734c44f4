"""Counter-based randomness: published SplitMix64 values, frozen values, and statistics (SciPy)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from wavestream.engine import randomness
from wavestream.engine.randomness import bits, permutation, uniform

FROZEN_BITS = ["d9eef7f073d37c42", "2fcbde10b6f7c951", "2a4b1f2bdaeecd92"]
FROZEN_UNIFORM = ["0x1.998d0dc50a05ap-1", "0x1.62bb910c86baep-1", "0x1.0725c091bf791p-1"]
FROZEN_PERMUTATION = [6, 2, 1, 11, 4, 10, 8, 7, 9, 3, 5, 0]


def test_the_mixer_is_splitmix64() -> None:
    # The first five outputs for seed 1234567, as published with SplitMix64 in many languages (Rosetta Code).
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    golden = np.uint64(0x9E3779B97F4A7C15)
    states = np.uint64(1234567) + golden * np.arange(1, 6, dtype=np.uint64)
    assert randomness._mix(states).tolist() == published


def test_known_values_on_every_platform() -> None:
    assert [f"{value:016x}" for value in bits(0, 0, [0, 1, 2**40], 1).tolist()] == FROZEN_BITS
    assert [value.hex() for value in uniform(42, 3, [0, 7, 1000], 4).tolist()] == FROZEN_UNIFORM
    assert permutation(5, 2, 12).tolist() == FROZEN_PERMUTATION


@pytest.mark.parametrize(("seed", "epoch", "stream"), [(0, 0, 1), (1, 0, 2), (2**63, 17, 3), (-1, 1000, 5)])
def test_uniform_over_indices(seed: int, epoch: int, stream: int) -> None:
    drawn = uniform(seed, epoch, np.arange(20000), stream)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3


def test_uniform_over_epochs_and_seeds_for_one_sample() -> None:
    over_epochs = np.concatenate([uniform(3, epoch, [11], 2) for epoch in range(4000)])
    over_seeds = np.concatenate([uniform(seed, 0, [11], 2) for seed in range(4000)])
    assert stats.kstest(over_epochs, "uniform").pvalue > 1e-3
    assert stats.kstest(over_seeds, "uniform").pvalue > 1e-3


def test_streams_epochs_seeds_and_neighbours_are_independent() -> None:
    indices = np.arange(20000)
    base = uniform(9, 4, indices, 1)
    others = [
        uniform(9, 4, indices, 2),
        uniform(9, 5, indices, 1),
        uniform(10, 4, indices, 1),
        uniform(9, 4, indices + 1, 1),
    ]
    for other in others:
        assert abs(stats.spearmanr(base, other).statistic) < 0.03
        table, *_ = np.histogram2d(base, other, bins=8)
        assert stats.chi2_contingency(table).pvalue > 1e-3


def test_swapping_the_roles_of_seed_epoch_and_stream_matters() -> None:
    assert (
        len({bits(*key[:2], [1], key[2]).item() for key in [(1, 2, 3), (2, 1, 3), (3, 2, 1), (1, 3, 2), (2, 3, 1)]})
        == 5
    )


def test_a_batch_equals_its_elements() -> None:
    indices = np.array([5, 0, 999, 5, 2**31])
    batch = uniform(1, 2, indices, 3)
    assert batch.tolist() == [uniform(1, 2, [index], 3).item() for index in indices]
    assert batch[0] == batch[3]


def test_permutation_is_one_and_fair() -> None:
    assert sorted(permutation(0, 0, 1000).tolist()) == list(range(1000))
    assert permutation(0, 0, 0).shape == (0,)
    assert not np.array_equal(permutation(0, 0, 100), permutation(0, 1, 100))
    first = [int(permutation(0, epoch, 5)[0]) for epoch in range(5000)]
    assert stats.chisquare(np.bincount(first, minlength=5)).pvalue > 1e-3
