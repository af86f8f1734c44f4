"""state_dict / load_state_dict: exact in the middle of an epoch and at its end, with every kind of sampler."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, DistributedSampler, RandomSampler, Sampler, WeightedRandomSampler

from wavestream.bindings.loader import DataLoader
from wavestream.engine.errors import InputError
from wavestream.engine.transform import Transform


class WalkingSampler(Sampler[int]):
    """Goes on where it stopped: a sampler with a state of its own, offered as ``state_dict``."""

    def __init__(self) -> None:
        self.start = 0

    def __iter__(self) -> Iterator[int]:
        for _ in range(11):
            self.start = (self.start + 7) % 27
            yield self.start

    def __len__(self) -> int:
        return 11

    def state_dict(self) -> dict[str, int]:
        return {"start": self.start}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.start = state["start"]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)


LOADERS: dict[str, Callable[[], dict[str, Any]]] = {
    "default": dict,
    "sequential": lambda: {"shuffle": False},
    "drop last": lambda: {"drop_last": True},
    "generator": lambda: {"shuffle": True, "generator": generator()},
    "weighted": lambda: {"sampler": WeightedRandomSampler(torch.arange(27.0), 30, generator=generator())},
    "weighted, global": lambda: {"sampler": WeightedRandomSampler(torch.arange(27.0), 30)},
    "replacement, global": lambda: {"sampler": RandomSampler(range(27), replacement=True, num_samples=70)},
    "distributed": lambda: {"sampler": DistributedSampler(range(27), 2, 1)},
    "walking": lambda: {"sampler": WalkingSampler()},
    "batch sampler": lambda: {"batch_sampler": BatchSampler(RandomSampler(range(27), generator=generator()), 5, False)},
    "batch list": lambda: {"batch_sampler": [[1, 2], [3], [4, 5, 6], [7]]},
}


def load(store: Path, kind: str) -> DataLoader:
    options: dict[str, Any] = {"transform": Transform((8, 8), rotate=True), "extras": ("index",), "threads": 1}
    options |= LOADERS[kind]()
    if "batch_sampler" not in options:
        options["batch_size"] = 4
    return DataLoader(store, **options)


def take(iterator: Any, count: int | None = None) -> list[list[int]]:
    taken = []
    for _, _, extras in iterator:
        taken.append(extras["index"].tolist())
        if len(taken) == count:
            break
    return taken


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("taken", [1, 2])
@pytest.mark.parametrize("epochs_before", [0, 2])
def test_resume_in_the_middle_and_then_the_next_epoch(
    tiny_store: Path, kind: str, taken: int, epochs_before: int
) -> None:
    torch.manual_seed(0)
    loader = load(tiny_store, kind)
    for epoch in range(epochs_before):
        if isinstance(loader.sampler, DistributedSampler):
            loader.set_epoch(epoch)
        take(loader)
    iterator = iter(loader)
    take(iterator, taken)
    state = through_a_file(loader.state_dict())
    rest = take(iterator)
    assert len(rest) == len(loader) - taken
    following = take(loader)

    torch.manual_seed(99)
    resumed = load(tiny_store, kind)
    resumed.load_state_dict(state)
    assert resumed.state_dict()["batches"] == taken
    before = torch.get_rng_state()
    assert take(resumed) == rest
    assert torch.equal(torch.get_rng_state(), before)
    if "global" not in kind:
        assert take(resumed) == following


@pytest.mark.parametrize("kind", [kind for kind in LOADERS if "global" not in kind])
@pytest.mark.parametrize("exhausted", [False, True])
def test_resume_at_the_end_goes_on_with_the_next_epoch(tiny_store: Path, kind: str, exhausted: bool) -> None:
    loader = load(tiny_store, kind)
    iterator = iter(loader)
    take(iterator, len(loader))
    if exhausted:
        assert take(iterator) == []
    state = through_a_file(loader.state_dict())
    assert (state["epoch"], state["batches"]) == (1, 0)
    following = take(loader)
    resumed = load(tiny_store, kind)
    resumed.load_state_dict(state)
    assert take(resumed) == following


def test_resume_reads_only_what_is_left(tiny_store: Path) -> None:
    loader = load(tiny_store, "sequential")
    take(loader, 5)
    state = loader.state_dict()
    whole = load(tiny_store, "sequential")
    take(whole)
    resumed = load(tiny_store, "sequential")
    resumed.load_state_dict(state)
    take(resumed)
    assert 0 < resumed.bytes_read < 0.5 * whole.bytes_read


def test_a_state_survives_being_resumed_and_saved_again(tiny_store: Path) -> None:
    loader = load(tiny_store, "generator")
    whole = take(load(tiny_store, "generator"))
    seen = []
    for _ in range(3):
        seen += take(loader, 2)
        state = through_a_file(loader.state_dict())
        loader = load(tiny_store, "generator")
        loader.load_state_dict(state)
    assert seen + take(loader) == whole


def test_set_epoch_keeps_the_position_only_of_the_epoch_being_resumed(tiny_store: Path) -> None:
    loader = load(tiny_store, "default")
    loader.set_epoch(3)
    whole = take(loader)
    loader.set_epoch(3)
    take(loader, 2)
    state = loader.state_dict()
    for through_sampler in (False, True):
        resumed = load(tiny_store, "default")
        chosen: Any = resumed.sampler if through_sampler else resumed
        resumed.load_state_dict(state)
        chosen.set_epoch(3)
        assert take(resumed) == whole[2:]
        resumed.load_state_dict(state)
        chosen.set_epoch(0)
        assert take(resumed) == take(load(tiny_store, "default"))


def test_a_state_of_another_loader_is_refused(tiny_store: Path) -> None:
    state = load(tiny_store, "default").state_dict()
    other = DataLoader(tiny_store, split="val", batch_size=4)
    with pytest.raises(InputError, match=r"cannot resume: the state is of a loader .*'train'.* this one is .*'val'"):
        other.load_state_dict(state)
    with pytest.raises(InputError, match="cannot resume"):
        load(tiny_store, "default").load_state_dict(state | {"version": 2})
