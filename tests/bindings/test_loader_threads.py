"""Early break, re-iteration, iterators side by side, errors from the background, and that no thread stays behind."""

from __future__ import annotations

import gc
import pickle
import shutil
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch

from wavestream.bindings.loader import DataLoader
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError, StoreError
from wavestream.engine.transform import Transform


def load(store: Path, **options: Any) -> DataLoader:
    options = {"batch_size": 3, "transform": Transform((8, 8)), "extras": ("index",), "threads": 2} | options
    return DataLoader(store, **options)


def indices_of(batches: Any) -> list[list[int]]:
    return [extras["index"].tolist() for *_, extras in batches]


def background_threads(apart_from: Collection[threading.Thread] = ()) -> list[str]:
    threads = [thread for thread in threading.enumerate() if thread not in apart_from]
    return [thread.name for thread in threads if thread.name.startswith(("wavestream-_", "wavestream-decode"))]


def test_break_and_iterate_again(tiny_store: Path) -> None:
    loader = load(tiny_store)
    reference = load(tiny_store)
    for epoch in range(3):
        for number, _ in enumerate(loader):
            if number == epoch:
                break
    assert loader.epoch == 3
    reference.set_epoch(3)
    assert indices_of(loader) == indices_of(reference)


def test_two_iterators_at_once_take_an_epoch_each(tiny_store: Path) -> None:
    loader = load(tiny_store, artifacts=Artifacts(0.5, 0.1, "input", "haar"), transform=Transform((32, 32)))
    reference = load(tiny_store, artifacts=Artifacts(0.5, 0.1, "input", "haar"), transform=Transform((32, 32)))
    expected = [list(reference), list(reference)]
    pairs = list(zip(loader, loader, strict=True))
    for side in (0, 1):
        for (images, labels, extras), pair in zip(expected[side], pairs, strict=True):
            assert torch.equal(images, pair[side][0])
            assert torch.equal(labels, pair[side][1])
            assert torch.equal(extras["index"], pair[side][2]["index"])


def test_an_iterator_that_is_never_asked_uses_up_no_epoch_and_starts_no_thread(tiny_store: Path) -> None:
    loader = load(tiny_store)
    iterators = [iter(loader) for _ in range(5)]
    assert loader.epoch == 0
    assert not any(name.startswith("wavestream-_") for name in background_threads())
    assert indices_of(iterators[3]) == indices_of(load(tiny_store))


@pytest.mark.parametrize("place", ["feed", "graph"])
def test_no_threads_stay_after_break_error_and_deletion(tiny_store: Path, place: str) -> None:
    gc.collect()
    # Those of readers that other tests dropped may still be on their way out.
    before, tasks = set(threading.enumerate()), len(list(Path("/proc/self/task").iterdir()))
    for _ in range(3):
        loader = load(tiny_store, artifacts=Artifacts(0.5, 0.1), place=place)
        for _ in loader:
            break
        assert not any(name.startswith("wavestream-_") for name in background_threads())
        iterator = iter(loader)
        next(iterator)
        assert any(name.startswith("wavestream-_") for name in background_threads())
        del iterator
        assert not any(name.startswith("wavestream-_") for name in background_threads())
        with pytest.raises(InputError):
            list(load(tiny_store, batch_sampler=[[0], [99]], batch_size=1))
    del loader
    gc.collect()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and background_threads(before):
        time.sleep(0.05)
    assert not background_threads(before)
    # DALI's own threads end with the pipeline, too; the kernels' pool stays by design.
    while time.monotonic() < deadline and len(list(Path("/proc/self/task").iterdir())) > tasks + 16:
        time.sleep(0.05)
    assert len(list(Path("/proc/self/task").iterdir())) <= tasks + 16


def test_an_error_in_the_background_reaches_the_consumer_at_its_turn(tiny_store: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_store, tmp_path / "copy.zarr"))
    shard = copy / "images" / "c" / "2" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[0] ^= 0xFF
    shard.write_bytes(data)
    loader = load(copy, shuffle=False, batch_size=2)
    seen = []
    with pytest.raises(StoreError, match=r"image 16 \(shard 2"):
        seen.extend(indices_of(loader))
    for *_, extras in load(copy, shuffle=False, batch_size=2):
        seen.append(extras["index"].tolist())
        if len(seen) == 5:
            break
    assert seen == [[0, 1], [2, 5], [6, 7], [10, 11], [12, 15]]
    assert not any(name.startswith("wavestream-_") for name in background_threads())


def test_a_pickled_loader_gives_the_same_batches(tiny_store: Path) -> None:
    loader = load(tiny_store, artifacts=Artifacts(0.5, 0.1))
    list(loader)
    again = pickle.loads(pickle.dumps(loader))
    for (images, *_), (expected, *_) in zip(again, loader, strict=True):
        assert torch.equal(images, expected)


def test_batches_are_the_consumers_to_change_and_to_keep(tiny_store: Path) -> None:
    kept = [images for images, *_ in load(tiny_store, shuffle=False)]
    copies = [images.clone() for images in kept]
    loader = load(tiny_store, shuffle=False)
    for images, *_ in loader:
        images.fill_(7)
    del loader
    gc.collect()
    assert all(torch.equal(image, copy) for image, copy in zip(kept, copies, strict=True))
