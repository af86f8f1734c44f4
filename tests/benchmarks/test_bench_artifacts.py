"""The artifact benchmark at a tiny size: all contestants make the same images, and the table is complete."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wavestream.benchmarks import bench_artifacts
from wavestream.benchmarks.bench_artifacts import COPY, Case, contestants


@pytest.mark.parametrize("wavelet", ["haar", "db4", "bior4.4", "cdf53"])
@pytest.mark.parametrize("keep", [0.1, 0.01])
def test_contestants_agree_in_pixels(wavelet: str, keep: float) -> None:
    case = Case(size=64, wavelet=wavelet, keep=keep, levels=2, batch=3)
    with ThreadPoolExecutor(2) as pool:
        results = {name: run() for name, run in contestants(case, pool).items()}
    images = case.images()
    np.testing.assert_array_equal(results.pop(COPY), images)
    ours = results.pop("wavestream, 2 threads")
    assert np.abs(ours.astype(float) - images).max() > 10
    assert len(results) >= (2 if wavelet == "cdf53" else 3)
    for name, found in results.items():
        assert found.dtype == images.dtype
        # Values go to 4095; coefficients of a few times that are rounded in float32.
        np.testing.assert_allclose(found, ours, rtol=0, atol=0 if wavelet == "cdf53" else 0.01, err_msg=name)


def test_table_names_every_peer(capsys: pytest.CaptureFixture[str]) -> None:
    bench_artifacts.main(
        ["--sizes", "32", "--wavelets", "haar", "cdf53", "--levels", "2", "--batch", "2", "--rounds", "1"]
    )
    printed = capsys.readouterr().out
    assert "batches of 2, 2 levels, medians of 1 interleaved rounds" in printed
    rows = [line.split("|") for line in printed.splitlines() if line.startswith("| 32")]
    assert [row[2].strip() for row in rows] == ["haar", "cdf53"]
    assert "PyWavelets, 1 thread" in rows[0][4]
    assert "PyWavelets, 2 threads" in rows[0][4]
    assert "NumPy reference" in rows[1][4]
    for row in rows:
        assert float(row[6]) > 0
        assert row[7].strip().endswith("%")
