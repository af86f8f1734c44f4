"""The loader on a CUDA device against the loader on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from wavestream.bindings.loader import DataLoader
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.transform import Transform

pytestmark = pytest.mark.gpu

ARTIFACTS = {
    "clean": None,
    "source": Artifacts(0.75, (0.3, 0.05)),
    "source float": Artifacts(0.75, (0.3, 0.05), wavelet="bior4.4"),
    "input": Artifacts(0.75, (0.3, 0.05), "input"),
}


def load(store: Path, kind: str, device: str) -> DataLoader:
    transform = Transform((64, 72), rotate=True, flip=True)
    return DataLoader(store, batch_size=4, transform=transform, artifacts=ARTIFACTS[kind], device=device, seed=3)


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_cuda_batches_equal_cpu_batches(tiny_store: Path, kind: str) -> None:
    on_device, on_host = load(tiny_store, kind, "cuda"), load(tiny_store, kind, "cpu")
    for _ in range(2):
        for (images, labels), (expected, expected_labels) in zip(on_device, on_host, strict=True):
            assert images.is_cuda
            assert labels.is_cuda
            assert torch.equal(labels.cpu(), expected_labels)
            # Resizing differs by rounding; a coefficient at the threshold may then fall on the other side.
            difference = (images.cpu() - expected).abs()
            assert difference.quantile(0.99) < (1e-3 if kind in ("clean", "source") else 2e-2)


@pytest.mark.parametrize("kind", ["clean", "input"])
def test_the_next_batch_does_not_touch_one_still_in_use(tiny_store: Path, kind: str) -> None:
    """Every batch is held by a long queue of work while the loader goes on; none may change under it."""
    expected = [images.cpu() for images, _ in load(tiny_store, kind, "cuda")]
    loader, sums = load(tiny_store, kind, "cuda"), []
    weight = torch.randn(2048, 2048, device="cuda")
    for images, _ in loader:
        for _ in range(20):
            weight = torch.tanh(weight @ weight)
        sums.append(images.clone())
        del images
    assert all(torch.equal(found.cpu(), image) for found, image in zip(sums, expected, strict=True))
