"""The loader's batches, labels and errors; its order, length and samplers against torch's own DataLoader."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DistributedSampler, SequentialSampler, WeightedRandomSampler

from wavestream.bindings.loader import DataLoader
from wavestream.engine import injection
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError, MissingExtraError, StoreError
from wavestream.engine.pipeline import Pipeline
from wavestream.engine.reader import Reader
from wavestream.engine.store import open_store
from wavestream.engine.transform import Transform

SMALL = Transform((16, 20))


def batches_of(loader: Any) -> list[list[int]]:
    """The store indices of each batch, in order."""
    return [extras["index"].tolist() for *_, extras in loader]


def load(store: Path, **options: Any) -> DataLoader:
    return DataLoader(store, **{"transform": SMALL, "extras": ("index",), "threads": 2} | options)


def torch_order(store: Path, split: str = "train", **options: Any) -> list[list[int]]:
    """The same from torch's own loader over the indices of the split."""
    indices = open_store(store).split_indices(split).tolist()
    return [batch.tolist() for batch in torch.utils.data.DataLoader(indices, **options)]


def test_batches_hold_the_pipelines_images_and_the_stores_labels(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    loader = load(tiny_store, split="val", batch_size=4, extras=("index", "patient", "slope", "sex"))
    batches = list(loader)
    assert [len(images) for images, *_ in batches] == [4, 4, 1]
    indices = store.split_indices("val")
    pipeline = Pipeline(store, SMALL, device_id=None, threads=1)
    expected = np.array(pipeline.run(Reader(store, 1).read(indices), indices, SMALL.sample(0, 0, indices)))
    images = torch.cat([images for images, *_ in batches])
    assert images.shape == (9, 1, 16, 20)
    assert images.dtype == torch.float32
    assert images.is_contiguous()
    np.testing.assert_array_equal(images[:, 0], expected[..., 0])
    labels = torch.cat([labels for _, labels, _ in batches])
    assert labels.dtype == torch.int64
    assert labels.tolist() == store.labels["sex"][indices].tolist()
    extras = {name: torch.cat([batch[2][name] for batch in batches]) for name in batches[0][2]}
    assert extras["index"].tolist() == indices.tolist()
    np.testing.assert_array_equal(extras["patient"].numpy().view(np.uint64), store.table["patient"][indices])
    np.testing.assert_array_equal(extras["slope"], store.table["slope"][indices])
    np.testing.assert_array_equal(extras["sex"], store.labels["sex"][indices])


def test_without_extras_there_are_two(tiny_store: Path) -> None:
    assert len(next(iter(DataLoader(tiny_store, transform=SMALL)))) == 2
    assert list(next(iter(DataLoader(tiny_store, transform=SMALL, extras="index")))[2]) == ["index"]


def test_the_dataset_describes_the_split(tiny_store: Path) -> None:
    loader = load(tiny_store, split="test")
    assert len(loader.dataset) == 9
    assert loader.dataset[0] == (4, int(open_store(tiny_store).labels["sex"][4]))
    assert loader.dataset.categories == ("F", "M")
    assert loader.dataset.target == "sex"


@pytest.mark.parametrize("batch_size", [1, 4, 27, 100])
@pytest.mark.parametrize("drop_last", [False, True])
def test_length_and_sequential_order_equal_torchs(tiny_store: Path, batch_size: int, drop_last: bool) -> None:
    options: dict[str, Any] = {"batch_size": batch_size, "drop_last": drop_last, "shuffle": False}
    loader = load(tiny_store, **options)
    expected = torch_order(tiny_store, **options)
    assert len(loader) == len(expected)
    assert batches_of(loader) == expected


def test_order_with_a_generator_equals_torchs_for_three_epochs(tiny_store: Path) -> None:
    ours, theirs = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    loader = load(tiny_store, batch_size=4, shuffle=True, generator=ours)
    for _ in range(3):
        assert batches_of(loader) == torch_order(tiny_store, batch_size=4, shuffle=True, generator=theirs)


@pytest.mark.parametrize("own_generator", [True, False])
def test_weighted_sampler_equals_torchs(tiny_store: Path, own_generator: bool) -> None:
    def sampler() -> WeightedRandomSampler:
        generator = torch.Generator().manual_seed(1) if own_generator else None
        return WeightedRandomSampler(torch.arange(27.0), 50, replacement=True, generator=generator)

    loader = load(tiny_store, batch_size=8, sampler=sampler())
    torch.manual_seed(3)
    ours = [batches_of(loader) for _ in range(2)]
    torch.manual_seed(3)
    theirs = torch.utils.data.DataLoader(open_store(tiny_store).split_indices("train").tolist(), 8, sampler=sampler())
    assert ours == [[batch.tolist() for batch in theirs] for _ in range(2)]
    assert len(loader) == len(theirs) == 7


@pytest.mark.parametrize("kind", ["torch", "list", "arrays"])
def test_batch_sampler_equals_torchs(tiny_store: Path, kind: str) -> None:
    plain = [[3, 1], [0], [2, 2, 26]]
    samplers: dict[str, Any] = {
        "torch": BatchSampler(SequentialSampler(range(27)), 10, drop_last=True),
        "list": plain,
        "arrays": [torch.tensor(batch) for batch in plain],
    }
    loader = load(tiny_store, batch_sampler=samplers[kind])
    expected = torch_order(tiny_store, batch_sampler=samplers[kind])
    assert batches_of(loader) == expected
    assert len(loader) == len(expected)


def test_distributed_samplers_share_the_split_and_follow_set_epoch(tiny_store: Path) -> None:
    indices = set(open_store(tiny_store).split_indices("train").tolist())
    orders = []
    for epoch in (0, 1):
        seen = []
        for rank in range(3):
            sampler = DistributedSampler(range(27), 3, rank, shuffle=True, seed=4)
            loader = load(tiny_store, batch_size=4, sampler=sampler)
            loader.set_epoch(epoch)
            assert sampler.epoch == epoch
            reference = DistributedSampler(range(27), 3, rank, shuffle=True, seed=4)
            reference.set_epoch(epoch)
            seen.append(batches_of(loader))
            assert seen[-1] == torch_order(tiny_store, batch_size=4, sampler=reference)
        assert {index for batches in seen for batch in batches for index in batch} == indices
        orders.append(seen)
    assert orders[0] != orders[1]


def test_the_default_shuffle_depends_on_seed_and_epoch_and_on_nothing_else(tiny_store: Path) -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    loader = load(tiny_store, batch_size=27)
    epochs = [batches_of(loader) for _ in range(3)]
    torch.manual_seed(1)
    again = load(tiny_store, batch_size=27)
    assert [batches_of(again) for _ in range(3)] == epochs
    assert all(sorted(epoch[0]) == open_store(tiny_store).split_indices("train").tolist() for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert batches_of(load(tiny_store, batch_size=27, seed=1)) != epochs[0]
    again.set_epoch(1)
    assert batches_of(again) == epochs[1]
    torch.set_rng_state(state)
    batches_of(load(tiny_store, batch_size=27))
    assert torch.equal(torch.get_rng_state(), state)


def test_other_splits_are_not_shuffled(tiny_store: Path) -> None:
    assert batches_of(load(tiny_store, split="test", batch_size=9)) == torch_order(tiny_store, "test", batch_size=9)


def test_what_torch_refuses_is_refused(tiny_store: Path) -> None:
    for options in (
        {"sampler": SequentialSampler(range(27)), "shuffle": True},
        {"batch_sampler": [[0]], "batch_size": 2},
        {"batch_sampler": [[0]], "drop_last": True},
        {"batch_sampler": [[0]], "sampler": SequentialSampler(range(27))},
    ):
        with pytest.raises(ValueError, match="mutually exclusive"):
            load(tiny_store, **options)
        with pytest.raises(ValueError, match="mutually exclusive"):
            torch.utils.data.DataLoader(range(27), **options)


def test_positions_outside_the_split_are_named(tiny_store: Path) -> None:
    for batch in ([27], [-1], []):
        with pytest.raises(InputError, match=r"batch 1 of the sampler: expected positions in \[0, 27\)"):
            list(load(tiny_store, batch_sampler=[[0], batch]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "dev"}, "expected a split out of train, val, test, none"),
        ({"split": "none"}, "'none' .* holds no images; sizes: train 27, val 9, test 9, none 0"),
        ({"target": "age"}, "no label column 'age'"),
        ({"extras": ("slop",)}, "unknown extra 'slop': expected index, or one of sex, rows"),
        ({"extras": ("source_sha256",)}, "unknown extra"),
        ({"device": "mps"}, "expected device 'cpu', 'cuda'"),
        ({"batch_size": None}, "batch_size=None"),
        ({"threads": 0}, "threads above 0"),
        ({"num_workers": -1}, "num_workers"),
        (
            {"artifacts": Artifacts(wavelet="db8", levels=3)},
            r"image 0 of 64x80 pixels allows 2 levels of db8, 3 needed",
        ),
        ({"artifacts": Artifacts(domain="input", wavelet="db8", levels=2)}, "network's input of 16x20 pixels"),
        ({"place": "middle"}, "place: expected None or one of after, feed, graph, got 'middle'"),
        ({"place": "after", "artifacts": Artifacts()}, "source domain can be made at feed or graph, got 'after'"),
        (
            {"place": "feed", "artifacts": Artifacts(domain="input", wavelet="haar")},
            "input domain can be made at after or graph, got 'feed'",
        ),
    ],
)
def test_wrong_arguments_are_named(tiny_store: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tiny_store, **options)


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        DataLoader(tmp_path / "nothing.zarr")


def test_labels_must_be_chosen_complete_and_categorical(write_store: Any, tmp_path: Path) -> None:
    images = [np.ones((8, 8), np.uint16)] * 4
    two = {
        "sex": ([0, 1, 0, 1], ("F", "M")),
        "age": ([1.0, 2.0, 3.0, 4.0], None),
        "view": ([0, 0, -1, -1], ("AP", "PA")),
    }
    path = write_store(tmp_path / "two.zarr", images, labels=two)
    with pytest.raises(InputError, match="3 label columns: choose target= out of age, sex, view"):
        DataLoader(path)
    with pytest.raises(InputError, match="numeric column 'age'"):
        DataLoader(path, target="age")
    with pytest.raises(InputError, match=r"2 of 4 images of split 'train' have no label 'view' \(images 2, 3 of"):
        DataLoader(path, target="view")
    assert torch.cat([labels for _, labels in DataLoader(path, target="sex", shuffle=False)]).tolist() == [0, 1, 0, 1]
    path = write_store(tmp_path / "none.zarr", images)
    assert torch.cat([labels for _, labels in DataLoader(path)]).tolist() == [-1] * 4


def test_a_missing_cuda_device_or_extra_is_named(tiny_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="torch finds no CUDA device: use device='cpu'"):
        load(tiny_store, device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'wavestream\[gpu\]'"):
        load(tiny_store, device="cuda:0")


def test_num_workers_is_a_hint_for_threads(tiny_store: Path) -> None:
    assert load(tiny_store, threads=None, num_workers=3).threads == 3
    assert load(tiny_store, threads=2, num_workers=3).threads == 2
    assert load(tiny_store, threads=None).threads >= 1


@pytest.mark.parametrize(
    ("domain", "place", "used"),
    [
        ("source", None, "feed"),
        ("source", "feed", "feed"),
        ("source", "graph", "graph"),
        ("input", None, "after"),
        ("input", "graph", "graph"),
        ("input", "after", "after"),
    ],
)
def test_artifacts_are_made_at_the_place_asked_for_and_nowhere_else(
    tiny_store: Path, monkeypatch: pytest.MonkeyPatch, domain: str, place: str | None, used: str
) -> None:
    """Seen from the kernel's callers, also after pickling, which rebuilds what makes the batches."""
    callers: list[str] = []

    def noted(*_: Any, **__: Any) -> None:
        frame: Any = sys._getframe()
        names = []
        while frame is not None:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        where = {"prepare": "feed", "function_wrapper_batch": "graph", "on_cpu": "after"}
        callers.extend(where[name] for name in names if name in where)

    monkeypatch.setattr(injection, "inject", noted)
    loader = load(tiny_store, artifacts=Artifacts(1.0, 0.1, domain, "haar"), place=place)
    assert loader.place == place
    for one in (loader, pickle.loads(pickle.dumps(loader))):
        callers.clear()
        batches = len(list(one))
        assert callers == [used] * batches


def test_bytes_read_grows_by_what_was_read(tiny_store: Path) -> None:
    loader = load(tiny_store, split="val")
    assert loader.bytes_read == 0
    list(loader)
    reader = Reader(open_store(tiny_store), 1)
    reader.read(open_store(tiny_store).split_indices("val"))
    assert loader.bytes_read == reader.bytes_read > 0
