"""The benchmark of volumes at a tiny size: the peer's volumes are ours, and the table says so in volumes."""

from __future__ import annotations

import numpy as np
import pytest

from wavestream.benchmarks.bench_volumes import contests, main
from wavestream.benchmarks.rounds import COPY, OURS


@pytest.mark.parametrize("wavelet", ["haar", "bior4.4"])
def test_the_peers_volumes_are_ours(wavelet: str) -> None:
    (contest,) = contests((24, 33, 40), wavelet, 1, 2)
    found = np.stack(contest.contestants["PyWavelets"]())
    ours = contest.contestants[OURS]()
    assert ours.shape == found.shape == (2, 24, 33, 40)
    # A coefficient at the threshold may fall on either side in one of them.
    assert np.mean(np.abs(ours - found) > 0.02) < 0.01
    assert contest.contestants[COPY]().std() > 100
    assert ours.std() > 100


def test_the_table_counts_volumes(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--shapes", "8x16x16", "--wavelets", "cdf53", "--threads", "1", "--levels", "1", "--rounds", "1"])
    shown = capsys.readouterr().out
    assert "peers: volumes/s" in shown
    assert "| 8x16x16 | cdf53 | 0.01 | 1 | PyWavelets bior2.2 " in shown
