"""Scoring a split with a trained model, against scikit-learn and torchvision."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from sklearn.metrics import log_loss, roc_auc_score

from wavestream.bindings.loader import DataLoader
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError
from wavestream.engine.store import open_store
from wavestream.engine.transform import Transform
from wavestream.trainers.configuration import Optimiser, TrainConfig
from wavestream.trainers.evaluate import evaluate, read_model
from wavestream.trainers.train import train

SIZE = Transform(image_size=(32, 32), flip=True)


def _train(store: Path, out: Path, target: str, epochs: int) -> Path:
    config = TrainConfig(
        store=str(store),
        out=str(out),
        target=target,
        model="resnet18",
        transform=SIZE,
        optimiser=Optimiser(epochs=epochs, batch_size=8),
        device="cpu",
        threads=1,
    )
    return train(config, progress=False).checkpoint


@pytest.fixture(scope="module")
def checkpoint(learnable_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _train(learnable_store, tmp_path_factory.mktemp("sex"), "sex", epochs=5)


@pytest.fixture(scope="module")
def staged(learnable_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _train(learnable_store, tmp_path_factory.mktemp("stage"), "stage", epochs=1)


def test_what_can_be_learned_is_learned(checkpoint: Path) -> None:
    """A bright square that half of the patients have; AUC 0.5 would be guessing."""
    result = evaluate(checkpoint, device="cpu", threads=1)
    assert result.auc > 0.9
    assert result.ci_low > 0.5


def test_scores_are_those_of_the_bare_torchvision_network(checkpoint: Path, learnable_store: Path) -> None:
    result = evaluate(checkpoint, device="cpu", threads=1)
    network = torchvision.models.resnet18(num_classes=2)
    network.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
    plain = replace(SIZE, flip=False)
    loader = DataLoader(learnable_store, split="test", batch_size=20, target="sex", transform=plain, shuffle=False)
    [(images, labels)] = list(loader)
    with torch.inference_mode():
        expected = torch.softmax(network.eval()(images.repeat(1, 3, 1, 1)), dim=1).numpy()
    np.testing.assert_allclose(result.scores, expected, atol=1e-5)
    np.testing.assert_array_equal(result.labels, labels.numpy())


def test_every_score_belongs_to_its_image_and_patient(checkpoint: Path, learnable_store: Path) -> None:
    result, store = evaluate(checkpoint, split="val", device="cpu", threads=1), open_store(learnable_store)
    np.testing.assert_array_equal(result.index, store.split_indices("val"))
    np.testing.assert_array_equal(result.labels, store.labels["sex"][result.index])
    np.testing.assert_array_equal(result.patient, store.table["patient"][result.index])
    assert (result.count, result.patients) == (20, 10)
    assert (result.scores.dtype, result.labels.dtype) == (np.float64, np.int64)
    assert (result.patient.dtype, result.index.dtype) == (np.uint64, np.int64)


@pytest.mark.parametrize("target", ["sex", "stage"])
def test_auc_and_loss_are_those_of_scikit_learn(target: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue("checkpoint" if target == "sex" else "staged")
    result = evaluate(model, device="cpu", threads=1)
    columns = result.scores[:, 1] if target == "sex" else result.scores
    assert result.auc == pytest.approx(roc_auc_score(result.labels, columns, multi_class="ovr"), abs=1e-12)
    weights = np.array(read_model(model)[0]["class_weights"])[result.labels]
    assert result.loss == pytest.approx(log_loss(result.labels, result.scores, sample_weight=weights), rel=1e-4)
    np.testing.assert_allclose(result.scores.sum(axis=1), 1)


def test_artifacts_change_the_scores_and_keep_one_does_not(checkpoint: Path) -> None:
    clean = evaluate(checkpoint, device="cpu", threads=1)
    harsh = evaluate(checkpoint, artifacts=Artifacts(1.0, (0.001,)), device="cpu", threads=1)
    whole = evaluate(checkpoint, artifacts=Artifacts(1.0, (1.0,)), device="cpu", threads=1)
    np.testing.assert_array_equal(clean.scores, whole.scores)
    assert np.abs(clean.scores - harsh.scores).max() > 0.01
    np.testing.assert_array_equal(clean.index, harsh.index)


def test_batch_size_changes_nothing_but_rounding(checkpoint: Path) -> None:
    whole = evaluate(checkpoint, batch_size=64, device="cpu", threads=1)
    single = evaluate(checkpoint, batch_size=1, device="cpu", threads=1)
    np.testing.assert_allclose(whole.scores, single.scores, atol=1e-5)


def test_another_store_with_the_same_classes_can_be_scored(
    checkpoint: Path, learnable_store: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(learnable_store, tmp_path / "moved.zarr")
    here = evaluate(checkpoint, store=moved, device="cpu", threads=1)
    np.testing.assert_array_equal(here.scores, evaluate(checkpoint, device="cpu", threads=1).scores)


def test_a_store_with_other_classes_is_refused(checkpoint: Path, write_store, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    images, labels = [np.zeros((32, 32), np.uint8)] * 4, {"sex": (np.array([0, 1, 0, 1]), ("M", "F"))}
    other = write_store(tmp_path / "other.zarr", images, labels=labels, split=2)
    with pytest.raises(InputError, match="has the classes M, F; the model was trained on F, M"):
        evaluate(checkpoint, store=other, device="cpu")


def test_a_split_of_one_class_is_refused(checkpoint: Path, write_store, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    images, labels = [np.zeros((32, 32), np.uint8)] * 4, {"sex": (np.ones(4), ("F", "M"))}
    other = write_store(tmp_path / "other.zarr", images, labels=labels, split=2)
    with pytest.raises(InputError, match="at least two classes in the test split, got F 0, M 4"):
        evaluate(checkpoint, store=other, device="cpu")


def test_what_is_no_best_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint at"):
        evaluate(tmp_path / "best.ckpt")
    (tmp_path / "best.ckpt").write_text("not a checkpoint")
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        evaluate(tmp_path / "best.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "best.ckpt")
    with pytest.raises(InputError, match=r"not the best\.ckpt of a wavestream run"):
        evaluate(tmp_path / "best.ckpt")
