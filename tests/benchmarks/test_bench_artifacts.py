"""The artifact benchmark at a tiny size: contestants make the images that they should, and the table is complete."""

from __future__ import annotations

import numpy as np
import pytest
import pywt

from wavestream.benchmarks import bench_artifacts
from wavestream.benchmarks.bench_artifacts import contests
from wavestream.benchmarks.cases import Case
from wavestream.benchmarks.rounds import COPY, OURS

# Values go to 4095, coefficients to a few times that, rounded in float32.
TOLERANCE = 0.01
SIZES = [(64, 64), (63, 81)]


def run_all(case: Case, threads: int) -> dict[str, np.ndarray]:
    """What each contestant makes: (batch, rows, cols)."""
    (contest,) = contests(case, threads)
    before = case.images().copy()
    results = {name: run() for name, run in contest.contestants.items()}
    np.testing.assert_array_equal(case.images(), before)
    return {name: np.concatenate(found) if isinstance(found, list) else found for name, found in results.items()}


def with_pywavelets(case: Case, wavelet: str, mode: str) -> np.ndarray:
    """In float64, image by image, as its documentation does it."""
    results = []
    for image in case.images().astype(np.float64):
        coefficients = pywt.wavedec2(image, wavelet, mode=mode, level=case.levels)
        magnitudes = np.concatenate([np.abs(band).ravel() for level in coefficients for band in np.atleast_3d(level).T])
        count = max(1, round(case.keep * image.size))
        bound = np.sort(magnitudes)[-count] * (1 - 1e-6)
        kept = [
            pywt.threshold(level, bound, "hard")
            if isinstance(level, np.ndarray)
            else tuple(pywt.threshold(band, bound, "hard") for band in level)
            for level in coefficients
        ]
        results.append(pywt.waverec2(kept, wavelet, mode=mode)[: case.rows, : case.cols])
    return np.array(results)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wavelet", ["haar", "db4", "bior4.4"])
@pytest.mark.parametrize("keep", [0.1, 0.01])
def test_peers_with_our_boundary_make_our_images(size: tuple[int, int], wavelet: str, keep: float) -> None:
    case = Case(*size, wavelet, keep, levels=2, batch=3)
    for threads in (1, 2):
        results = run_all(case, threads)
        ours = results[OURS]
        np.testing.assert_array_equal(results[COPY], case.images())
        assert np.abs(ours - case.images()).max() > 10
        assert set(results) == {OURS, COPY, "PyWavelets", "pytorch_wavelets", "ptwt"}
        for name in ("PyWavelets", "pytorch_wavelets"):
            np.testing.assert_allclose(results[name], ours, rtol=0, atol=TOLERANCE, err_msg=name)
        np.testing.assert_allclose(ours, with_pywavelets(case, wavelet, "periodization"), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wavelet", ["haar", "db4", "bior4.4"])
def test_ptwt_makes_the_image_of_pywavelets_periodic_mode(size: tuple[int, int], wavelet: str) -> None:
    case = Case(*size, wavelet, 0.1, levels=2, batch=2)
    results = run_all(case, 2)
    np.testing.assert_allclose(results["ptwt"], with_pywavelets(case, wavelet, "periodic"), rtol=0, atol=TOLERANCE)
    if wavelet == "haar" and size == (64, 64):
        np.testing.assert_allclose(results["ptwt"], results[OURS], rtol=0, atol=TOLERANCE)


def test_peers_of_cdf53_are_the_reference_and_the_same_filters_in_float() -> None:
    case = Case(63, 81, "cdf53", 0.1, levels=2, batch=2)
    results = run_all(case, 2)
    np.testing.assert_array_equal(results.pop("NumPy reference"), results.pop(OURS))
    np.testing.assert_array_equal(results.pop(COPY), case.images())
    names = ["PyWavelets bior2.2", "pytorch_wavelets bior2.2", "ptwt bior2.2"]
    assert list(results) == names
    for name, mode in zip(names, ("periodization", "periodization", "periodic"), strict=True):
        expected = with_pywavelets(case, "bior2.2", mode)
        np.testing.assert_allclose(results[name], expected, rtol=0, atol=TOLERANCE, err_msg=name)


def test_a_batch_of_several_chunks_stays_in_order() -> None:
    case = Case(300, 300, "haar", 0.05, levels=3, batch=5)
    results = run_all(case, 2)
    np.testing.assert_allclose(results["PyWavelets"], results[OURS], rtol=0, atol=TOLERANCE)


def test_the_table_names_every_peer(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--sizes 32 23x41 --wavelets haar cdf53 --keeps 0.1 --levels 2 --batch 2 --rounds 1 --threads 1"
    bench_artifacts.main(arguments.split())
    printed = capsys.readouterr().out
    assert "batches of 2, 2 levels, medians of 1 interleaved rounds" in printed
    rows = [[cell.strip() for cell in line.split("|")] for line in printed.splitlines() if line.startswith("| ")]
    assert rows[0][1:5] == ["size", "wavelet", "keep", "threads"]
    assert [row[1:5] for row in rows[1:]] == [
        [size, wavelet, "0.1", "1"] for size in ("32x32", "23x41") for wavelet in ("haar", "cdf53")
    ]
    for row in rows[1:]:
        assert all(name in row[5] for name in ("PyWavelets", "pytorch_wavelets", "ptwt"))
        assert float(row[7]) > 0
        assert row[8].endswith("%")
    assert "NumPy reference" in rows[2][5]
    assert "Times the fastest peer: at least" in printed
