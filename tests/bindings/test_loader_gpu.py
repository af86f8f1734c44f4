"""The loader on a CUDA device against the loader on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from wavestream.bindings.loader import DataLoader
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.injection import PLACES
from wavestream.engine.transform import Transform

pytestmark = pytest.mark.gpu

ARTIFACTS = {
    "clean": None,
    "source": Artifacts(0.75, (0.3, 0.05)),
    "source float": Artifacts(0.75, (0.3, 0.05), wavelet="bior4.4"),
    "input": Artifacts(0.75, (0.3, 0.05), "input"),
}


KINDS = [
    (kind, place)
    for kind, artifacts in ARTIFACTS.items()
    for place in ([None] if artifacts is None else PLACES[artifacts.domain])
]


@pytest.fixture(params=["tiny_store", "layered_store"])
def store(request: pytest.FixtureRequest) -> Path:
    """The same images, compressed by zstd and in layers."""
    return Path(request.getfixturevalue(request.param))


def load(store: Path, kind: str, device: str, place: str | None = None) -> DataLoader:
    options = {"transform": Transform((64, 72), rotate=True, flip=True), "artifacts": ARTIFACTS[kind]}
    return DataLoader(store, batch_size=4, device=device, seed=3, place=place, **options)


@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_cuda_batches_equal_cpu_batches(store: Path, kind: str, place: str | None) -> None:
    on_device, on_host = load(store, kind, "cuda", place), load(store, kind, "cpu", place)
    for _ in range(2):
        for (images, labels), (expected, expected_labels) in zip(on_device, on_host, strict=True):
            assert images.is_cuda
            assert labels.is_cuda
            assert torch.equal(labels.cpu(), expected_labels)
            # Resizing differs by rounding; a coefficient at the threshold may then fall on the other side.
            difference = (images.cpu() - expected).abs()
            assert difference.quantile(0.99) < (1e-3 if kind in ("clean", "source") else 2e-2)


@pytest.mark.parametrize("kind", ["source", "source float", "input"])
def test_every_place_gives_the_same_pixels(store: Path, kind: str) -> None:
    artifacts = ARTIFACTS[kind]
    assert artifacts is not None
    left, right = (load(store, kind, "cuda", place) for place in PLACES[artifacts.domain])
    for _ in range(2):
        for (images, _), (expected, _) in zip(left, right, strict=True):
            # In the input domain torch normalises after the graph, DALI within it.
            torch.testing.assert_close(images, expected, rtol=0, atol=0 if artifacts.domain == "source" else 1e-6)


@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_the_next_batch_does_not_touch_one_still_in_use(store: Path, kind: str, place: str | None) -> None:
    """Every batch is held by a long queue of work while the loader goes on; none may change under it."""
    expected = [images.cpu() for images, _ in load(store, kind, "cuda", place)]
    loader, sums = load(store, kind, "cuda", place), []
    weight = torch.randn(2048, 2048, device="cuda")
    for images, _ in loader:
        for _ in range(20):
            weight = torch.tanh(weight @ weight)
        sums.append(images.clone())
        del images
    assert all(torch.equal(found.cpu(), image) for found, image in zip(sums, expected, strict=True))
