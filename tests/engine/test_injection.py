"""The places where artifacts are made: which there are, and the function that joins the graph."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError
from wavestream.engine.injection import PLACES, GraphInjection, Injector, are_read, chosen_place, require_reducible
from wavestream.engine.store import open_store
from wavestream.kernels import inject

INPUT = Artifacts(0.75, (0.05, 0.3), "input", "haar")


def test_places_of_each_domain() -> None:
    assert {domain: set(places) for domain, places in PLACES.items()} == {
        "source": {"feed", "graph"},
        "input": {"graph", "after"},
    }
    for domain, places in PLACES.items():
        for place in places:
            assert chosen_place(Artifacts(domain=domain), place) == place
        assert chosen_place(Artifacts(domain=domain), None) == places[0]
    assert chosen_place(None, None) is chosen_place(None, "feed") is None


@pytest.mark.parametrize(
    ("domain", "place", "message"),
    [
        ("source", "after", r"artifacts of the source domain can be made at feed or graph, got 'after'; choose one"),
        ("input", "feed", r"artifacts of the input domain can be made at after or graph, got 'feed'"),
        ("input", "before", r"expected None or one of after, feed, graph, got 'before'"),
        (None, "before", r"expected None or one of after, feed, graph, got 'before'"),
    ],
)
def test_wrong_places_are_named(domain: str | None, place: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        chosen_place(None if domain is None else Artifacts(domain=domain), place)


def samples_of(batch: np.ndarray) -> list[Any]:
    """As DALI hands them over: one array with a channel each, not one after the other in memory."""
    return [image[..., None].copy() for image in batch]


def images(count: int, rows: int = 16, cols: int = 24) -> np.ndarray:
    return np.random.default_rng(count).random((count, rows, cols), np.float32)


def test_the_function_in_the_graph_compresses_a_batch_and_changes_no_input(tiny_store: Path) -> None:
    injection = GraphInjection(Injector(INPUT, open_store(tiny_store), 5, 2))
    # Batches of other sizes and shapes, one after the other.
    for epoch, batch in enumerate([images(6), images(9), images(3), images(6, 20, 8)]):
        indices = np.arange(len(batch)) + epoch
        samples = samples_of(batch)
        injection.prepare(epoch, indices)
        found = injection(samples)
        keep = INPUT.draw(5, epoch, indices)
        assert (keep < 1).any()
        np.testing.assert_array_equal(np.array(found)[..., 0], inject(batch, keep, "haar"))
        np.testing.assert_array_equal(np.array(samples)[..., 0], batch)
        assert all(one.shape == sample.shape for one, sample in zip(found, samples, strict=True))


def test_the_function_in_the_graph_keeps_its_memory(tiny_store: Path) -> None:
    injection = GraphInjection(Injector(INPUT, open_store(tiny_store), 5, 1))
    injection.prepare(0, np.arange(4))
    first = injection(samples_of(images(4)))
    injection.prepare(0, np.arange(3))
    assert np.shares_memory(first[0], injection(samples_of(images(3)))[0])


def test_images_of_different_sizes_are_compressed_as_they_are(tiny_store: Path) -> None:
    """As a list, outside the graph and within it, like one by one; and then equal ones again."""
    store, artifacts = open_store(tiny_store), Artifacts(0.5, (0.05, 0.3))
    random, indices = np.random.default_rng(1), np.array([7, 0, 44, 9, 3])
    sizes = np.column_stack([store.table["rows"], store.table["cols"]])[indices]
    assert len({tuple(size) for size in sizes}) > 1
    stored = [random.integers(0, 4096, size, np.uint16) for size in sizes]
    injector = Injector(artifacts, store, 5, 2)
    keep = injector.draw(2, indices)
    assert 1.0 in keep
    assert (keep < 1).any()
    expected = [
        inject(image, kept, "cdf53", value_range=(0, 4095)) for image, kept in zip(stored, keep.tolist(), strict=True)
    ]
    changed = [image.copy() for image in stored]
    injector.apply(changed, indices, keep)
    injection = GraphInjection(injector)
    injection.prepare(2, indices)
    samples = samples_of(stored)  # type: ignore[arg-type]
    for found in (changed, [image[..., 0] for image in injection(samples)]):
        for one, image in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, image)
    for sample, image in zip(samples, stored, strict=True):
        np.testing.assert_array_equal(sample[..., 0], image)


@pytest.mark.parametrize(
    ("artifacts", "place", "codec", "expected"),
    [
        (Artifacts(), "feed", "layers", True),
        (Artifacts(wavelet="cdf53"), "feed", "layers", True),
        (Artifacts(), "graph", "layers", False),
        (Artifacts(), "feed", "zstd", False),
        (Artifacts(levels=5), "feed", "layers", False),
        (Artifacts(wavelet="haar"), "feed", "layers", False),
        (Artifacts(domain="input"), "after", "layers", False),
        (None, None, "layers", False),
    ],
)
def test_which_artifacts_a_store_holds(artifacts: Any, place: Any, codec: str, expected: bool) -> None:
    store: Any = SimpleNamespace(header=SimpleNamespace(codec=codec))
    assert are_read(artifacts, store, place) == expected
    require_reducible(artifacts, store, place, 0)
    if artifacts is None or artifacts.domain == "input" or expected:
        require_reducible(artifacts, store, place, 2)
    else:
        with pytest.raises(InputError, match=r"reads images at 1/4 of their size, but artifacts of the source domain"):
            require_reducible(artifacts, store, place, 2)


def test_an_error_is_kept_until_the_next_batch(tiny_store: Path) -> None:
    injection = GraphInjection(Injector(INPUT, open_store(tiny_store), 5, 1))
    bad = images(4)
    bad[:] = np.nan
    injection.prepare(0, np.arange(10, 14))
    with pytest.raises(InputError, match=r"batch of images \[10, 11, 12, 13\]") as caught:
        injection(samples_of(bad))
    assert injection.error is caught.value
    injection.prepare(0, np.arange(4))
    assert injection.error is None


class DeviceArray:
    """A sample that is no NumPy array."""

    def __init__(self, own: np.ndarray) -> None:
        self.own, self.shape = own, own.shape

    def __getitem__(self, key: Any) -> DeviceArray:
        return DeviceArray(self.own[key])


def test_arrays_of_a_device_are_gathered_by_cupy(tiny_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy played by NumPy: what is no NumPy array is stacked by the library that it comes from."""
    monkeypatch.setitem(
        sys.modules, "cupy", SimpleNamespace(stack=lambda arrays: np.stack([one.own for one in arrays]))
    )
    injection = GraphInjection(Injector(INPUT, open_store(tiny_store), 5, 1))
    batch = images(5)
    injection.prepare(1, np.arange(5))
    found = injection([DeviceArray(sample) for sample in samples_of(batch)])
    np.testing.assert_array_equal(np.array(found)[..., 0], inject(batch, INPUT.draw(5, 1, np.arange(5)), "haar"))
