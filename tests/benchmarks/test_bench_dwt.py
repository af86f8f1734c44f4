"""The transform benchmark at a tiny size: the peers' coefficients are ours, their inverses restore the images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pywt

from wavestream.benchmarks import bench_dwt
from wavestream.benchmarks.bench_dwt import contests
from wavestream.benchmarks.cases import Case
from wavestream.benchmarks.dwt_peers import Peer, chunks, peers_of, pywavelets
from wavestream.benchmarks.rounds import COPY, OURS
from wavestream.kernels import forward

# Of coefficients of up to four times the images' 4095, in float32.
TOLERANCE = 0.02


def packed(peer: Peer, coefficients: Any) -> np.ndarray:
    """(batch, size), as our layout has them."""
    return np.concatenate([band.reshape(len(band), -1) for band in peer.bands(coefficients)], axis=1)


@pytest.mark.parametrize("size", [(64, 64), (63, 81)])
@pytest.mark.parametrize("wavelet", ["haar", "db4", "bior4.4"])
def test_the_peers_coefficients_are_ours(size: tuple[int, int], wavelet: str) -> None:
    case = Case(*size, wavelet, levels=2, batch=3)
    images = case.images()
    ours = forward(images, wavelet, 2)
    peers = peers_of(wavelet, 2)
    for name in ("PyWavelets", "pytorch_wavelets"):
        found = packed(peers[name], peers[name].forward(images))
        np.testing.assert_allclose(found, ours, rtol=0, atol=TOLERANCE, err_msg=name)
    periodic = pywavelets(wavelet, 2, "periodic")
    found = packed(peers["ptwt"], peers["ptwt"].forward(images))
    np.testing.assert_allclose(found, packed(periodic, periodic.forward(images)), rtol=0, atol=TOLERANCE)
    if wavelet == "haar" and size == (64, 64):
        np.testing.assert_allclose(found, ours, rtol=0, atol=TOLERANCE)


def test_bands_are_named_as_pywavelets_names_them() -> None:
    image = Case(32, 32, "bior2.2", batch=1).images()
    low, (horizontal, vertical, diagonal) = pywt.dwt2(image[0], "bior2.2", mode="periodization")
    expected = np.concatenate([band.ravel() for band in (low, vertical, horizontal, diagonal)])
    for name in ("PyWavelets", "pytorch_wavelets"):
        peer = peers_of("bior2.2", 1)[name]
        np.testing.assert_allclose(packed(peer, peer.forward(image))[0], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("wavelet", ["haar", "bior4.4", "cdf53"])
def test_every_contestant_restores_the_images(wavelet: str) -> None:
    case = Case(63, 81, wavelet, levels=2, batch=3)
    _, back = contests(case, 2)
    assert len(back.contestants) == 5
    for name, run in back.contestants.items():
        found = run()
        images = np.concatenate(found) if isinstance(found, list) else found
        exact = name in (COPY, OURS) and (name == COPY or wavelet == "cdf53")
        atol = 0 if exact else TOLERANCE
        np.testing.assert_allclose(images[:, :63, :81], case.images(), rtol=0, atol=atol, err_msg=name)


def test_chunks_cover_a_batch() -> None:
    images = np.zeros((11, 300, 300), np.float32)
    images[:] = np.arange(11)[:, None, None]
    parts = list(chunks(images))
    assert [len(part) for part in parts] == [2, 2, 2, 2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(parts), images)
    assert [len(part) for part in chunks(np.zeros((3, 1024, 1024), np.uint8))] == [1, 1, 1]


def test_the_table_has_both_directions(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--sizes 32 --wavelets haar --levels 2 --batch 2 --rounds 1 --threads 2"
    bench_dwt.main(arguments.split())
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| 32x32 ")]
    assert [row[3].strip() for row in rows] == ["forward", "inverse"]
    for row in rows:
        assert all(name in row[5] for name in ("PyWavelets", "pytorch_wavelets", "ptwt"))
        assert float(row[7]) > 0
