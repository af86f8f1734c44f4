"""The same artifact made by others: what :mod:`wavestream.benchmarks.bench_artifacts` measures against.

All with the selection rule of ``inject``: the K-th largest magnitude of an image's coefficients,
K = round(keep * rows * cols), ties stay. The transforms and their settings are those of
:mod:`wavestream.benchmarks.dwt_peers`; ptwt's, and the stand-ins for ``cdf53``, make other images than ours, as told
there. The selection is the fastest of :mod:`wavestream.benchmarks.bench_select` for all of them, image by image, in as
many threads as the transform: ``torch.topk`` of few coefficients, ``numpy.partition`` of more. Nobody has to copy its
result into memory of the caller.

For ``cdf53`` there is also our own reference in plain NumPy (:mod:`wavestream.kernels.reference`), the only one that
keeps its definition.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from wavestream.benchmarks import dwt_peers
from wavestream.benchmarks.cases import Case
from wavestream.benchmarks.dwt_peers import Bands, Images, Peer, float_images
from wavestream.benchmarks.rounds import shared
from wavestream.kernels.reference import inject_reference
from wavestream.kernels.select import kept_count
from wavestream.kernels.wavelets import INTEGER_WAVELET

# Up to a coefficient out of so many torch.topk keeps a heap, above it sorts halves as numpy.partition does.
_FEW = 64


def kth_largest(values: Images, count: int) -> float:
    """The ``count``-th largest of a flat float32 array."""
    if count * _FEW <= values.size:
        with torch.inference_mode():
            return float(torch.from_numpy(values).topk(count, sorted=False).values.min())
    return float(np.partition(values, values.size - count)[values.size - count])


def keep_largest(bands: Bands, count: int, image: int) -> None:
    """Set all but the ``count`` largest coefficients of one image of the batch, ties aside, to 0."""
    own = [band[image] for band in bands]
    magnitudes = np.empty(sum(band.size for band in own), np.float32)
    begin = 0
    for band in own:
        np.abs(band, out=magnitudes[begin : begin + band.size].reshape(band.shape))
        begin += band.size
    threshold = kth_largest(magnitudes, count)
    begin = 0
    for band in own:
        np.multiply(band, magnitudes[begin : begin + band.size].reshape(band.shape) >= threshold, out=band)
        begin += band.size


def artifact(peer: Peer, images: Images, keep: float, threads: int) -> list[Images]:
    """The artifact of a (batch, rows, cols) float32 batch, in parts.

    Args:
        peer: the transform.
        images: of values in any unit; not changed.
        keep: fraction of coefficients kept.
        threads: to use; those of torch are set elsewhere.
    """
    rows, cols = images.shape[1:]
    count = kept_count(keep, rows, cols)

    def one(part: Images, threads: int) -> Images:
        coefficients = peer.forward(part)
        shared(partial(keep_largest, peer.bands(coefficients), count), threads, range(len(part)))
        return peer.inverse(coefficients)[:, :rows, :cols]

    if peer.own_threads:
        return [one(part, threads) for part in peer.parts(images)]
    return shared(partial(one, threads=1), threads, peer.parts(images))


def reference(images: Images, keep: float, wavelet: str, levels: int, threads: int) -> list[Images]:
    """Our own reference, image by image."""

    def one(image: Images) -> Images:
        return inject_reference(image, keep, wavelet, levels)[None]

    return shared(one, threads, images)


def peers_of(case: Case, threads: int) -> dict[str, Callable[[], list[Images]]]:
    """The peers by name; each call makes the whole batch anew, as (n, rows, cols) parts."""
    images = float_images(case.images())
    peers: dict[str, Callable[[], list[Images]]] = {
        name: partial(artifact, peer, images, case.keep, threads)
        for name, peer in dwt_peers.peers_of(case.wavelet, case.levels).items()
    }
    if case.wavelet == INTEGER_WAVELET:
        arguments = (case.keep, case.wavelet, case.levels, threads)
        peers["NumPy reference"] = partial(reference, case.images(), *arguments)
    return peers
