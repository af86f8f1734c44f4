"""The same pixels, bit for bit, for any number of threads, at every place, after a resume; and against PyWavelets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pywt
import torch
from numpy.typing import NDArray

from wavestream.bindings.loader import DataLoader
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.injection import PLACES
from wavestream.engine.pipeline import Pipeline
from wavestream.engine.reader import Reader
from wavestream.engine.store import open_store
from wavestream.engine.transform import Transform

TRANSFORM = Transform((32, 40), rotate=True, flip=True)
KEEPS = (0.3, 0.05)
ARTIFACTS = {
    "clean": None,
    "source": Artifacts(0.75, KEEPS),
    "source float": Artifacts(0.75, KEEPS, wavelet="haar"),
    "input": Artifacts(0.75, KEEPS, "input", "haar"),
}
# Every kind of artifacts at every place.
KINDS = [
    (name, place)
    for name, artifacts in ARTIFACTS.items()
    for place in ([None] if artifacts is None else PLACES[artifacts.domain])
]


def load(store: Path, artifacts: Artifacts | None, **options: Any) -> DataLoader:
    options = {"batch_size": 8, "transform": TRANSFORM, "extras": ("index",), "seed": 3} | options
    return DataLoader(store, artifacts=artifacts, **options)


def epoch_of(loader: DataLoader) -> dict[int, torch.Tensor]:
    return {
        int(index): image for images, _, extras in loader for index, image in zip(extras["index"], images, strict=True)
    }


def assert_same(left: dict[int, torch.Tensor], right: dict[int, torch.Tensor]) -> None:
    assert list(left) == list(right)
    assert all(torch.equal(left[index], right[index]) for index in left)


@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_the_same_epoch_with_one_and_four_threads_and_after_a_resume(
    tiny_store: Path, kind: str, place: str | None
) -> None:
    whole = epoch_of(load(tiny_store, ARTIFACTS[kind], threads=1, place=place))
    assert_same(epoch_of(load(tiny_store, ARTIFACTS[kind], threads=4, place=place)), whole)
    broken = load(tiny_store, ARTIFACTS[kind], threads=1, place=place)
    iterator = iter(broken)
    first = [next(iterator), next(iterator)]
    state = broken.state_dict()
    iterator.close()
    resumed = load(tiny_store, ARTIFACTS[kind], threads=4, place=place)
    resumed.load_state_dict(state)
    rest = epoch_of(resumed)
    seen = {
        int(index): image for images, _, extras in first for index, image in zip(extras["index"], images, strict=True)
    }
    assert_same({**seen, **rest}, whole)
    assert len(rest) == 27 - 16


@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_batch_size_and_order_do_not_change_a_sample(tiny_store: Path, kind: str, place: str | None) -> None:
    shuffled = epoch_of(load(tiny_store, ARTIFACTS[kind], place=place))
    sequential = epoch_of(load(tiny_store, ARTIFACTS[kind], batch_size=5, shuffle=False, place=place))
    assert sorted(shuffled) == sorted(sequential)
    assert all(torch.equal(shuffled[index], sequential[index]) for index in shuffled)


@pytest.mark.parametrize("kind", ARTIFACTS)
@pytest.mark.parametrize("normalisation", [(0.5, 0.25), (0.449, 0.226)])
def test_every_place_gives_the_same_pixels(tiny_store: Path, kind: str, normalisation: tuple[float, float]) -> None:
    """Over two epochs, batches of two sizes, all VOI functions and images of unequal size."""
    artifacts = ARTIFACTS[kind]
    transform = Transform((32, 40), *normalisation, rotate=True, flip=True)
    places = [None] if artifacts is None else [None, *PLACES[artifacts.domain]]
    loaders = [load(tiny_store, artifacts, transform=transform, place=place) for place in places]
    assert len(loaders) == (1 if artifacts is None else 3)
    for _ in range(2):
        first, *others = [epoch_of(loader) for loader in loaders]
        assert len(first) == 27
        for other in others:
            assert_same(other, first)


@pytest.mark.parametrize(("domain", "places"), [("source", ("feed", "graph")), ("input", ("graph", "after"))])
def test_a_run_resumes_at_another_place(tiny_store: Path, domain: str, places: tuple[str, str]) -> None:
    artifacts = Artifacts(0.75, KEEPS, domain, "haar")
    for left, right in (places, places[::-1]):
        whole = list(load(tiny_store, artifacts, place=right))
        loader = load(tiny_store, artifacts, place=left)
        iterator = iter(loader)
        next(iterator)
        state = json.loads(json.dumps(loader.state_dict()))
        iterator.close()
        resumed = load(tiny_store, artifacts, place=right)
        resumed.load_state_dict(state)
        rest = list(resumed)
        assert len(rest) == len(whole) - 1
        assert all(torch.equal(found[0], expected[0]) for found, expected in zip(rest, whole[1:], strict=True))


@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_three_epochs_differ(tiny_store: Path, kind: str, place: str | None) -> None:
    loader = load(tiny_store, ARTIFACTS[kind], place=place)
    epochs = [epoch_of(loader) for _ in range(3)]
    for other in epochs[1:]:
        assert any(not torch.equal(epochs[0][index], other[index]) for index in other)
    loader.set_epoch(1)
    assert_same(epoch_of(loader), epochs[1])


def compress_with_pywavelets(image: NDArray[Any], keep: float) -> NDArray[np.float64]:
    """In float64. With bior4.4, as haar of integers has many equal coefficients, whose selection hangs on rounding."""
    levels = min(5, pywt.dwt_max_level(min(image.shape), "bior4.4"))
    coefficients = pywt.wavedec2(image.astype(np.float64), "bior4.4", mode="periodization", level=levels)
    flat, where = pywt.coeffs_to_array(coefficients)
    count = max(1, round(keep * image.size))
    threshold = np.sort(np.abs(flat).ravel())[-count]
    kept = pywt.array_to_coeffs(np.where(np.abs(flat) >= threshold * (1 - 1e-7), flat, 0), where, "wavedec2")
    return pywt.waverec2(kept, "bior4.4", mode="periodization")[: image.shape[0], : image.shape[1]]


def test_source_artifacts_equal_pywavelets_before_the_pipeline(tiny_store: Path) -> None:
    store, artifacts = open_store(tiny_store), Artifacts(1.0, 0.1, wavelet="bior4.4")
    transform = Transform((200, 200), roi=False)
    found = epoch_of(load(tiny_store, artifacts, transform=transform))
    indices = np.array(sorted(found))
    images = Reader(store, 1).read(indices)
    for image, index in zip(images, indices, strict=True):
        rows, cols = store.table["rows"][index], store.table["cols"][index]
        exact = compress_with_pywavelets(image[:rows, :cols], 0.1)
        image[:rows, :cols] = np.clip(np.rint(exact), 0, 4095)
    pipeline = Pipeline(store, transform, device_id=None, threads=1)
    expected = np.array(pipeline.run(images, indices, transform.sample(3, 0, indices)))[..., 0]
    one_grey_level = 1.5 * 4 / 3000 / transform.std
    for index, image in zip(indices, expected, strict=True):
        np.testing.assert_allclose(found[index][0], image, atol=one_grey_level, err_msg=str(index))


def test_input_artifacts_equal_pywavelets_after_the_pipeline(tiny_store: Path) -> None:
    clean = epoch_of(load(tiny_store, None))
    compressed = epoch_of(load(tiny_store, Artifacts(1.0, 0.1, "input", "bior4.4")))
    del clean[5]  # constant: in exact arithmetic all its coefficients tie, in floating point rounding selects
    for index, image in clean.items():
        exact = compress_with_pywavelets(image[0].numpy() * 0.25 + 0.5, 0.1)
        np.testing.assert_allclose(compressed[index][0] * 0.25 + 0.5, exact, atol=1e-5)


@pytest.mark.parametrize(("domain", "place"), [(domain, place) for domain in PLACES for place in PLACES[domain]])
def test_samples_that_are_not_drawn_stay_clean_bit_for_bit(tiny_store: Path, domain: str, place: str) -> None:
    artifacts = Artifacts(0.5, 0.02, domain, "haar")
    clean, mixed = epoch_of(load(tiny_store, None)), epoch_of(load(tiny_store, artifacts, place=place))
    keep = artifacts.draw(3, 0, list(mixed))
    assert 0 < (keep < 1).sum() < 27
    for index, kept in zip(mixed, keep, strict=True):
        if index == 5:  # all zero: nothing to compress
            continue
        assert torch.equal(mixed[index], clean[index]) == (kept == 1.0)
