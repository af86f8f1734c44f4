"""Training end to end on a small store: what it leaves, that it repeats, continues and refuses."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError, WavestreamError
from wavestream.engine.lock import exclusive
from wavestream.engine.transform import Transform
from wavestream.trainers import checkpoints
from wavestream.trainers.classifier import Classifier
from wavestream.trainers.configuration import Optimiser, TrainConfig
from wavestream.trainers.evaluate import evaluate
from wavestream.trainers.train import TrainResult, train

CLOCKS = {"seconds", "images_per_second", "bytes_read"}


def _config(store: Path, out: Path, /, **changes: object) -> TrainConfig:
    # mobilenet_v3_small has dropout, so that continuing exactly depends on its random numbers too.
    settings = {"epochs": 3, "batch_size": 8, "plateau_patience": 0} | changes.pop("optimiser", {})  # type: ignore[arg-type]
    return TrainConfig(
        **{
            "store": store,
            "out": out,
            "target": "sex",
            "model": "mobilenet_v3_small",
            "transform": Transform(image_size=(32, 32), rotate=True, flip=True),
            "artifacts": Artifacts(probability=0.5, keep=(0.1, 0.01)),
            "optimiser": Optimiser(**settings),
            "device": "cpu",
            "threads": 1,
        }
        | changes  # type: ignore[arg-type]
    )


def _weights(result: TrainResult) -> dict[str, torch.Tensor]:
    return torch.load(result.checkpoint, weights_only=True)["state_dict"]


def _same(one: TrainResult, other: TrainResult) -> bool:
    """Equal to the bit in everything but the clocks."""
    first, second = _weights(one), _weights(other)
    histories = [[{k: v for k, v in entry.items() if k not in CLOCKS} for entry in r.history] for r in (one, other)]
    return (
        all(torch.equal(first[name], second[name]) for name in first)
        and histories[0] == histories[1]
        and np.array_equal(one.test.scores, other.test.scores)
        and (one.best_epoch, one.val_auc) == (other.best_epoch, other.val_auc)
    )


def _at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Let something happen once, in the middle of a training step."""
    genuine = Classifier.training_step

    def training_step(self: Classifier, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if self.global_step == step:
            monkeypatch.setattr(Classifier, "training_step", genuine)
            act()
        return genuine(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", training_step)


@pytest.fixture(scope="module")
def undisturbed(learnable_store: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(_config(learnable_store, tmp_path_factory.mktemp("undisturbed")), progress=False)


def test_a_run_leaves_what_it_says(undisturbed: TrainResult) -> None:
    out = undisturbed.checkpoint.parent
    assert {path.name for path in out.iterdir()} == {
        ".lock", "best.ckpt", "config.json", "data.json", "history.csv", "result.json", "tensorboard", "test.npz"
    }  # fmt: skip
    assert any(path.name.startswith("events.out.tfevents") for path in (out / "tensorboard").iterdir())
    with (out / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3] == [entry["epoch"] for entry in undisturbed.history]
    assert [float(row["val_auc"]) for row in rows] == [entry["val_auc"] for entry in undisturbed.history]
    best = undisturbed.history[undisturbed.best_epoch - 1]
    assert undisturbed.val_auc == best["val_auc"] == max(entry["val_auc"] for entry in undisturbed.history)
    assert undisturbed.epochs_run == 3
    assert undisturbed.seconds > sum(entry["seconds"] for entry in undisturbed.history) > 0
    assert all(entry["bytes_read"] > 0 and np.isfinite(entry["train_loss"]) for entry in undisturbed.history)


def test_the_test_split_is_scored_as_scikit_learn_would(undisturbed: TrainResult) -> None:
    test = undisturbed.test
    assert test.auc == pytest.approx(roc_auc_score(test.labels, test.scores[:, 1]), abs=1e-12)
    assert test.ci_low <= test.auc <= test.ci_high
    assert (test.count, test.patients) == (len(test.labels), len(np.unique(test.patient)))
    assert test.patients < test.count


def test_the_best_checkpoint_scores_validation_as_training_saw_it(undisturbed: TrainResult) -> None:
    again = evaluate(undisturbed.checkpoint, split="val", device="cpu", batch_size=8, threads=1)
    assert again.auc == undisturbed.val_auc
    assert again.loss == pytest.approx(undisturbed.history[undisturbed.best_epoch - 1]["val_loss"], rel=1e-5)


def test_the_same_configuration_gives_the_same_weights_and_another_seed_others(
    learnable_store: Path, tmp_path: Path, undisturbed: TrainResult
) -> None:
    torch.manual_seed(99)  # the caller's generator has no say, and is left alone
    again = train(_config(learnable_store, tmp_path / "again"), progress=False)
    drawn = torch.rand(1)
    torch.manual_seed(99)
    assert torch.equal(drawn, torch.rand(1))
    assert _same(undisturbed, again)
    other = train(_config(learnable_store, tmp_path / "other", seed=1), progress=False)
    assert not _same(undisturbed, other)


def test_a_finished_run_returns_at_once(undisturbed: TrainResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavestream.trainers.train._fit", lambda *_: pytest.fail("it trained again"))
    out = undisturbed.checkpoint.parent
    again = train(TrainConfig.from_json(json.loads((out / "config.json").read_text())), progress=False)
    assert _same(undisturbed, again)
    assert again.history == undisturbed.history


@pytest.mark.parametrize(
    ("number", "ends_with", "where"),
    [
        (signal.SIGTERM, SystemExit, "within the second epoch"),
        (signal.SIGINT, KeyboardInterrupt, "at the first epoch's last step"),
    ],
    ids=["TERM within an epoch", "INT at its last step"],
)
def test_a_signal_stops_at_a_point_to_continue_from_exactly(
    number: signal.Signals,
    ends_with: type[BaseException],
    where: str,
    learnable_store: Path,
    tmp_path: Path,
    undisturbed: TrainResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = 5  # of 40 images in batches of 8
    step = steps + 2 if where == "within the second epoch" else steps - 1
    before = signal.getsignal(number)
    _at_step(monkeypatch, step, lambda: os.kill(os.getpid(), number))
    with pytest.raises(ends_with) as stop:
        train(_config(learnable_store, tmp_path), progress=False)
    assert getattr(stop.value, "code", None) == (143 if number == signal.SIGTERM else None)
    assert signal.getsignal(number) == before
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == step + 1
    continued = train(_config(learnable_store, tmp_path), progress=False)
    assert _same(undisturbed, continued)


def test_a_signal_before_the_first_step_is_not_lost(
    learnable_store: Path, tmp_path: Path, undisturbed: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = Classifier.configure_optimizers

    def configure_optimizers(self: Classifier) -> torch.optim.Optimizer:
        monkeypatch.setattr(Classifier, "configure_optimizers", genuine)
        os.kill(os.getpid(), signal.SIGINT)
        return genuine(self)

    monkeypatch.setattr(Classifier, "configure_optimizers", configure_optimizers)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(_config(learnable_store, tmp_path), progress=False)
    assert signal.getsignal(signal.SIGINT) == before
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 1
    assert _same(undisturbed, train(_config(learnable_store, tmp_path), progress=False))


@pytest.mark.parametrize(("signals", "steps"), [(1, 5), (2, 0)])
def test_during_validation_one_signal_waits_for_its_end_and_two_do_not(
    signals: int,
    steps: int,
    learnable_store: Path,
    tmp_path: Path,
    undisturbed: TrainResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    genuine = Classifier.validation_step

    def validation_step(self: Classifier, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        monkeypatch.setattr(Classifier, "validation_step", genuine)
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGINT)
        genuine(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "validation_step", validation_step)
    with pytest.raises(KeyboardInterrupt):
        train(_config(learnable_store, tmp_path), progress=False)
    last = tmp_path / "last.ckpt"
    assert (torch.load(last, weights_only=True)["global_step"] if last.is_file() else 0) == steps
    assert _same(undisturbed, train(_config(learnable_store, tmp_path), progress=False))


@pytest.mark.parametrize("every", [600.0, -1.0], ids=["from the epoch's end", "from within the epoch"])
def test_a_run_that_died_continues_exactly(
    every: float, learnable_store: Path, tmp_path: Path, undisturbed: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "SAVE_EVERY_SECONDS", every)

    def die() -> None:
        raise MemoryError("as good as killed")

    _at_step(monkeypatch, 5 + 3, die)
    with pytest.raises(MemoryError):
        train(_config(learnable_store, tmp_path), progress=False)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == (5 if every > 0 else 8)
    assert not (tmp_path / "result.json").exists()
    continued = train(_config(learnable_store, tmp_path), progress=False)
    assert _same(undisturbed, continued)


def test_a_run_that_died_before_its_test_does_not_train_again(
    learnable_store: Path, tmp_path: Path, undisturbed: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("wavestream.trainers.train.evaluate", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(_config(learnable_store, tmp_path), progress=False)
    monkeypatch.setattr(Classifier, "training_step", lambda *_: pytest.fail("it trained again"))
    assert _same(undisturbed, train(_config(learnable_store, tmp_path), progress=False))


def test_training_stops_early_and_lowers_the_learning_rate(
    learnable_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = iter([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    monkeypatch.setattr("wavestream.trainers.classifier.auc", lambda *_: next(worse))
    config = _config(learnable_store, tmp_path, optimiser={"epochs": 6, "patience": 2, "plateau_patience": 0})
    result = train(config, progress=False)
    assert (result.epochs_run, result.best_epoch, result.val_auc) == (3, 1, 0.9)
    rates = [entry["learning_rate"] for entry in result.history]
    assert rates == pytest.approx([1e-3, 1e-3, 3e-4])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 5}, "seed"),
        ({"artifacts": None}, "artifacts"),
        ({"optimiser": {"learning_rate": 0.5}}, "optimiser.learning_rate"),
    ],
)
def test_another_configuration_in_the_same_folder_is_refused(
    change: dict, named: str, learnable_store: Path, undisturbed: TrainResult
) -> None:
    with pytest.raises(InputError, match=f"another .*{named}"):
        train(_config(learnable_store, undisturbed.checkpoint.parent, **change), progress=False)


def test_another_machine_is_not_another_configuration(undisturbed: TrainResult, learnable_store: Path) -> None:
    elsewhere = replace(_config(learnable_store, undisturbed.checkpoint.parent), threads=2, device="auto")
    assert train(elsewhere, progress=False).history == undisturbed.history
    moved = replace(elsewhere, store=os.path.relpath(learnable_store))
    assert train(moved, progress=False).history == undisturbed.history


def test_other_data_behind_the_same_path_are_refused(
    learnable_store: Path, undisturbed: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavestream.trainers.target._fingerprint", lambda *_: "another")
    with pytest.raises(InputError, match="holds a run on other data than"):
        train(_config(learnable_store, undisturbed.checkpoint.parent), progress=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target": "single"}, "at least two classes with images, got train: only 40; val: only 20; test: only 20"),
        ({"target": "rare"}, "at least two classes in the test split, got train: no 20, yes 20.*test: no 20, yes 0"),
        ({"target": "partial"}, "have no label 'partial'.*complete the label CSV"),
        ({"target": None}, "has 7 label columns: choose target="),
        ({"target": "unseen"}, "the test split has c, which the train split has not"),
        ({"target": "age"}, "numeric column 'age'"),
        ({"target": "nothing"}, "no label column 'nothing'"),
        ({"model": "vit_b_16"}, "vit_b_16 cannot be trained on images of 32x32.*Wrong image height"),
        ({"model": "resnet18", "optimiser": {"batch_size": 1}}, "batches of 1: Expected more than 1 value per channel"),
        ({"weights": "NOT_THERE"}, "expected a file, or one of IMAGENET1K_V1.*got 'NOT_THERE'"),
        ({"store": "/nowhere.zarr"}, "nowhere"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    change: dict, words: str, learnable_store: Path, tmp_path: Path
) -> None:
    with pytest.raises(WavestreamError, match=words):
        train(_config(learnable_store, tmp_path / "out", **change), progress=False)
    assert not (tmp_path / "out").exists()


def test_a_diverged_run_says_what_to_lower(learnable_store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"training diverged.*learning_rate"):
        train(_config(learnable_store, tmp_path, optimiser={"learning_rate": 1e30}), progress=False)
    lowered = train(_config(learnable_store, tmp_path, optimiser={"epochs": 1}), progress=False)
    assert lowered.epochs_run == 1


def test_a_damaged_checkpoint_is_named(learnable_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _at_step(monkeypatch, 7, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(_config(learnable_store, tmp_path), progress=False)
    (tmp_path / "last.ckpt").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(InputError, match=r"last\.ckpt cannot be read.*delete"):
        train(_config(learnable_store, tmp_path), progress=False)


def test_a_last_batch_of_one_image_is_left_out(
    learnable_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    genuine = Classifier.training_step

    def training_step(self: Classifier, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        sizes.append(len(batch[1]))
        return genuine(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", training_step)
    config = _config(learnable_store, tmp_path, model="resnet18", optimiser={"epochs": 1, "batch_size": 13})
    train(config, progress=False)
    assert sizes == [13, 13, 13]  # of 40


def test_the_train_loss_of_an_epoch_is_the_mean_over_its_images(
    learnable_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    genuine = Classifier.training_step

    def training_step(self: Classifier, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = genuine(self, batch, batch_idx)
        losses.append(loss.item() * len(batch[1]))
        return loss

    monkeypatch.setattr(Classifier, "training_step", training_step)
    result = train(_config(learnable_store, tmp_path, optimiser={"epochs": 2, "batch_size": 16}), progress=False)
    # 40 images, half of each class: weights are 1.
    expected = [sum(losses[:3]) / 40, sum(losses[3:]) / 40]
    assert [entry["train_loss"] for entry in result.history] == pytest.approx(expected, rel=1e-6)


def test_progress_false_is_silent_and_true_shows_a_bar(
    learnable_store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    train(_config(learnable_store, tmp_path / "quiet", optimiser={"epochs": 1}), progress=False)
    assert capfd.readouterr() == ("", "")
    train(_config(learnable_store, tmp_path / "shown", optimiser={"epochs": 1}), progress=True)
    shown = capfd.readouterr()
    assert "Epoch 0: 100%" in shown.out + shown.err
    assert "val_auc=" in shown.out + shown.err
    assert "v_num" not in shown.out + shown.err
    assert [str(warning.message) for warning in recwarn if "lightning" in str(warning.filename)] == []


def test_two_processes_cannot_train_into_one_folder(learnable_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with exclusive(out / ".lock", str(out)), pytest.raises(InputError, match="in use by another run"):
        train(_config(learnable_store, out), progress=False)
    assert not (out / "best.ckpt").exists()
