"""The selection benchmark at a tiny size: all find the same thresholds and keep the same coefficients."""

from __future__ import annotations

import numpy as np
import pytest

from wavestream.benchmarks import bench_select
from wavestream.benchmarks.bench_select import contests
from wavestream.benchmarks.cases import Case
from wavestream.benchmarks.rounds import COPY, OURS


@pytest.mark.parametrize("wavelet", ["bior4.4", "cdf53"])
@pytest.mark.parametrize("keep", [0.01, 0.5, 1.0])
def test_contestants_agree(wavelet: str, keep: float) -> None:
    case = Case(31, 47, wavelet, keep, levels=1, batch=3)
    for threads in (1, 2):
        select, cut = contests(case, threads)
        results = {name: np.array(run()) for name, run in select.contestants.items()}
        coefficients = results.pop(COPY)
        ours = results.pop(OURS)
        assert set(results) == {"numpy.partition", "torch.topk", "torch.kthvalue"}
        for name, found in results.items():
            np.testing.assert_array_equal(found, ours, err_msg=name)
        assert ours.shape == (3,)
        count = max(1, round(keep * 31 * 47))
        results = {name: np.array(run()) for name, run in cut.contestants.items()}
        np.testing.assert_array_equal(results.pop(COPY), coefficients)
        ours = results.pop(OURS)
        assert (np.count_nonzero(ours, axis=1) <= count + 20).all()
        assert set(results) == {"NumPy", "torch"} | ({"PyWavelets"} if wavelet == "bior4.4" else set())
        for name, found in results.items():
            np.testing.assert_array_equal(found, ours, err_msg=name)
        np.testing.assert_array_equal(ours[ours != 0], coefficients[ours != 0])


def test_the_table_has_both_operations(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--sizes 32 --wavelets bior4.4 --keeps 0.1 0.5 --levels 1 --batch 2 --rounds 1 --threads 1"
    bench_select.main(arguments.split())
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| 32x32 ")]
    assert [(row[3].strip(), row[4].strip()) for row in rows] == [
        (keep, what) for keep in ("0.1", "0.5") for what in ("K-th magnitude", "threshold")
    ]
    assert all(float(row[8]) > 0 for row in rows)
