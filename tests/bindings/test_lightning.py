"""Lightning: fit, checkpoint in the middle of an epoch and at its end, replaced samplers, and the DataModule."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.trainer.connectors.data_connector import _DataLoaderSource, _request_dataloader
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities.data import _is_dataloader_shuffled, _update_dataloader
from torch.utils.data import DistributedSampler, SequentialSampler

from wavestream.bindings.datamodule import DataModule
from wavestream.bindings.loader import DataLoader
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.transform import Transform

TRANSFORM = Transform((16, 16), rotate=True, flip=True)
ARTIFACTS = Artifacts(0.75, (0.1, 0.01))

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
]


class Tiny(pl.LightningModule):
    """One linear layer that notes every batch it sees."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(256, 2)
        self.seen: list[tuple[int, list[int], float]] = []
        self.validated: list[list[int]] = []

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        images, labels, extras = batch
        self.seen.append((self.current_epoch, extras["index"].tolist(), images.double().sum().item()))
        return torch.nn.functional.cross_entropy(self.layer(images.flatten(1)), labels)

    def validation_step(self, batch: Any, number: int) -> None:
        self.validated.append(batch[2]["index"].tolist())

    def predict_step(self, batch: Any, number: int) -> Any:
        return batch[2]["index"]

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01)


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def trainer(folder: Path, **options: Any) -> pl.Trainer:
    fixed: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False}
    fixed |= {"enable_model_summary": False, "enable_checkpointing": False, "default_root_dir": folder}
    return pl.Trainer(**fixed | options)


def train_loader(store: Path, **options: Any) -> DataLoader:
    options = {"transform": TRANSFORM, "artifacts": ARTIFACTS, "extras": ("index",), "threads": 2, "seed": 5} | options
    return DataLoader(store, batch_size=8, **options)


def by_hand(store: Path, epochs: int) -> list[tuple[int, list[int], float]]:
    loader = train_loader(store)
    return [
        (epoch, extras["index"].tolist(), images.double().sum().item())
        for epoch in range(epochs)
        for images, _, extras in loader
    ]


def test_fit_sees_the_epochs_of_the_loader(tiny_store: Path, tmp_path: Path) -> None:
    model = Tiny()
    validation = train_loader(tiny_store, split="val", artifacts=None)
    trainer(tmp_path, max_epochs=2).fit(model, train_loader(tiny_store), validation)
    assert model.seen == by_hand(tiny_store, 2)
    # The sanity check and both epochs' validations: two batches each.
    assert model.validated == [[3, 8, 13, 18, 23, 28, 33, 38], [43]] * 3


class SaveAt(pl.Callback):
    """Saves a checkpoint after a training step, or after an epoch's training."""

    def __init__(self, path: Path, step: int | None) -> None:
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.step is None and trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("step", [1, 3, 4, 6, None])
def test_a_fit_resumed_from_a_checkpoint_sees_the_rest(tiny_store: Path, tmp_path: Path, step: int | None) -> None:
    """Four batches an epoch: after the first, in the middle, after the last, in the second epoch, at an epoch's end."""
    path = tmp_path / "saved.ckpt"
    trainer(tmp_path, max_epochs=3, callbacks=[SaveAt(path, step)]).fit(Tiny(), train_loader(tiny_store))
    resumed = Tiny()
    trainer(tmp_path, max_epochs=3).fit(resumed, train_loader(tiny_store), ckpt_path=path, weights_only=True)
    expected = by_hand(tiny_store, 3)[4 if step is None else step :]
    assert [batch[1:] for batch in resumed.seen] == [batch[1:] for batch in expected]


@pytest.mark.parametrize("in_hook", [True, False])
def test_lightning_can_replace_the_sampler(tiny_store: Path, tmp_path: Path, in_hook: bool) -> None:
    """What Trainer does under DDP, for a loader passed to fit and for one made in a hook."""

    class Source(pl.LightningDataModule):
        def train_dataloader(self) -> DataLoader:
            loader = train_loader(tiny_store, drop_last=True, place="graph")
            loader.note = "set in the hook"  # type: ignore[attr-defined]
            return loader

    if in_hook:
        source = Source()
        source.trainer = trainer(tmp_path)
        source.trainer.datamodule = source  # type: ignore[attr-defined]
        loader: Any = _request_dataloader(_DataLoaderSource(source, "train_dataloader"))
    else:
        loader = Source().train_dataloader()
    assert _is_dataloader_shuffled(loader)
    sampler = DistributedSampler(loader.dataset, 2, 1, shuffle=True, seed=9)
    replaced: Any = _update_dataloader(loader, sampler, mode=RunningStage.TRAINING)
    assert type(replaced) is DataLoader
    assert replaced.sampler is sampler
    assert (replaced.batch_size, replaced.drop_last, replaced.seed, replaced.artifacts) == (8, True, 5, ARTIFACTS)
    assert (replaced.transform, replaced.extras, replaced.threads) == (TRANSFORM, ("index",), 2)
    assert replaced.place == "graph"
    assert getattr(replaced, "note", None) == ("set in the hook" if in_hook else None)
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        expected = [loader.dataset[position][0] for position in sampler][:8]
        assert [extras["index"].tolist() for *_, extras in replaced] == [expected]


def test_overfit_and_predict_replace_samplers_too(tiny_store: Path, tmp_path: Path) -> None:
    model = Tiny()
    trainer(tmp_path, max_epochs=2, overfit_batches=1).fit(model, train_loader(tiny_store))
    assert [indices for _, indices, _ in model.seen] == [[0, 1, 2, 5, 6, 7, 10, 11]] * 2
    loader = train_loader(tiny_store, split="test", artifacts=None)
    predicted: Any = trainer(tmp_path).predict(model, loader)
    assert torch.cat(predicted).tolist() == [loader.dataset[position][0] for position in range(9)]


def test_the_data_module_augments_training_only(tiny_store: Path, tmp_path: Path) -> None:
    module = DataModule(
        tiny_store,
        8,
        transform=TRANSFORM,
        artifacts=ARTIFACTS,
        test_artifacts=Artifacts(1.0, 0.01),
        seed=5,
        threads=1,
        extras=("index",),
    )
    model = Tiny()
    trainer(tmp_path, max_epochs=2).fit(model, datamodule=module)
    assert model.seen == by_hand(tiny_store, 2)
    train, val, test = module.train_dataloader(), module.val_dataloader(), module.test_dataloader()
    assert (train.split, val.split, test.split) == ("train", "val", "test")
    assert (train.artifacts, val.artifacts, test.artifacts) == (ARTIFACTS, None, Artifacts(1.0, 0.01))
    assert train.transform == TRANSFORM
    assert val.transform == test.transform == Transform((16, 16))
    assert isinstance(val.sampler, SequentialSampler)
    first, second = ([images for images, *_ in val] for _ in range(2))
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))
