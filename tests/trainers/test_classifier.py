"""Configuration, networks by name, weights, and the loss, against torchvision and scikit-learn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError
from wavestream.engine.store import open_store
from wavestream.engine.transform import Transform
from wavestream.trainers.classifier import Classifier, probabilities
from wavestream.trainers.configuration import Optimiser, TrainConfig
from wavestream.trainers.machine import find_device, limited_threads
from wavestream.trainers.networks import build_network, check_image_size
from wavestream.trainers.target import read_target


@pytest.mark.parametrize("name", ["squeezenet1_1", "googlenet", "shufflenet_v2_x0_5"])
def test_any_classifier_gives_one_logit_per_class_while_training(name: str) -> None:
    network = build_network(name, 3).train()
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "words"),
    [("resnet5", "did you mean .*resnet50"), ("ResNet50", "did you mean resnet50"), ("zzz", "known are alexnet")],
)
def test_an_unknown_name_lists_close_ones(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build_network(name, 2)


def test_detection_and_segmentation_models_are_no_classifiers() -> None:
    assert "fcn_resnet50" in torchvision.models.list_models()
    with pytest.raises(InputError, match="torchvision classifier"):
        build_network("fcn_resnet50", 2)


@pytest.mark.parametrize(
    ("name", "size", "batch", "words"),
    [
        ("resnet18", (32, 32), 1, "more than 1 value per channel"),
        ("squeezenet1_1", (8, 64), 2, "cannot be trained on images of 8x64"),
        ("alexnet", (16, 16), 2, "cannot be trained on images of 16x16"),
    ],
)
def test_sizes_a_network_does_not_take_are_refused(name: str, size: tuple[int, int], batch: int, words: str) -> None:
    network = build_network(name, 2)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(InputError, match=words):
        check_image_size(network, name, size, batch)
    check_image_size(network, name, (224, 224), 1)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_of_a_file_replace_all_but_the_last_layer(wrapped: bool, tmp_path: Path) -> None:
    source = torchvision.models.resnet18(num_classes=1000).state_dict()
    torch.save({"state_dict": source} if wrapped else source, tmp_path / "weights.pt")
    state = build_network("resnet18", 2, str(tmp_path / "weights.pt")).state_dict()
    assert all(torch.equal(state[name], source[name]) for name in source if not name.startswith("fc."))
    assert state["fc.weight"].shape == (2, 512)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18(num_classes=2).state_dict(), tmp_path / "resnet18.pt")
    with pytest.raises(InputError, match=r"does not fit resnet34: .*layer1\.2\.conv1\.weight \(missing\)"):
        build_network("resnet34", 2, str(tmp_path / "resnet18.pt"))
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(InputError, match="not a file of tensors"):
        build_network("resnet18", 2, str(tmp_path / "module.pt"))
    (tmp_path / "empty.pt").write_bytes(b"")
    with pytest.raises(InputError, match="not a file of tensors"):
        build_network("resnet18", 2, str(tmp_path / "empty.pt"))
    with pytest.raises(InputError, match="expected a file, or one of IMAGENET1K_V1"):
        build_network("resnet18", 2, "IMAGENET99")


def test_weights_by_name_come_from_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    source = torchvision.models.resnet18(num_classes=1000).state_dict()
    asked: list[str] = []

    def download(self: torchvision.models.WeightsEnum, *_: object, **__: object) -> dict[str, torch.Tensor]:
        asked.append(str(self))
        return source

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", download)
    state = build_network("resnet18", 5, "IMAGENET1K_V1").state_dict()
    assert asked == ["ResNet18_Weights.IMAGENET1K_V1"]
    assert torch.equal(state["conv1.weight"], source["conv1.weight"])

    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", unreachable)
    with pytest.raises(InputError, match=r"could not be downloaded .*no route to host.*give the file's path"):
        build_network("resnet18", 5, "DEFAULT")


def _flat_classifier(classes: int, weights: list[float]) -> Classifier:
    torch.manual_seed(0)
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, classes)), weights, Optimiser(), seed=0)


def test_one_channel_is_repeated_to_three() -> None:
    classifier = _flat_classifier(2, [1.0, 1.0])
    images = torch.rand(5, 1, 4, 4)
    expected = classifier.network(torch.cat([images] * 3, dim=1))
    torch.testing.assert_close(classifier(images), expected, rtol=0, atol=0)


def test_the_loss_of_an_epoch_is_the_weighted_log_loss_of_all_its_images() -> None:
    weights = [0.4, 1.0, 3.0]
    classifier = _flat_classifier(3, weights)
    draws = np.random.default_rng(0)
    images, labels = torch.rand(11, 1, 4, 4), torch.from_numpy(draws.integers(3, size=11))
    scores = probabilities(classifier(images).detach())
    sample_weight = np.array(weights)[labels]
    first = classifier.training_step((images[:7], labels[:7]), 0)
    assert first.item() == pytest.approx(
        log_loss(labels[:7], scores[:7], sample_weight=sample_weight[:7], labels=[0, 1, 2]), rel=1e-5
    )
    classifier.training_step((images[7:], labels[7:]), 1)
    loss, weight = classifier._train_sums.tolist()
    assert loss / weight == pytest.approx(log_loss(labels, scores, sample_weight=sample_weight), rel=1e-5)


def test_confident_scores_do_not_tie() -> None:
    logits = torch.tensor([[0.0, 20.0], [0.0, 25.0], [0.0, 30.0]])
    assert len(np.unique(probabilities(logits)[:, 1])) == 3
    assert len(np.unique(torch.softmax(logits, dim=1)[:, 1].numpy())) < 3


@pytest.mark.parametrize("target", ["sex", "stage"])
def test_class_weights_are_those_of_scikit_learn(target: str, learnable_store: Path) -> None:
    store = open_store(learnable_store)
    found = read_target(store, target)
    codes = store.labels[target][store.split_indices("train")]
    expected = compute_class_weight("balanced", classes=np.unique(codes), y=codes)
    assert found.class_weights() == pytest.approx(tuple(expected))
    assert found.counts["train"] == tuple(np.bincount(codes))


def test_a_class_without_images_anywhere_weighs_nothing(write_store, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    codes, images = np.tile([0, 2], 6), [np.zeros((8, 8), np.uint8)] * 12
    labels = {"finding": (codes, ("no", "perhaps", "yes"))}
    path = write_store(tmp_path / "s.zarr", images, labels=labels, split=np.repeat([0, 1, 2], 4))
    target = read_target(open_store(path), None)
    assert target.name == "finding"
    assert target.class_weights() == (1.0, 0.0, 1.0)


def test_a_store_without_labels_is_refused(write_store, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = write_store(tmp_path / "s.zarr", [np.zeros((8, 8), np.uint8)] * 3)
    with pytest.raises(InputError, match=r"has no labels.*--labels"):
        read_target(open_store(path), None)


FULL = TrainConfig(
    store="a.zarr",
    out="runs/a",
    target="sex",
    model="densenet121",
    weights="DEFAULT",
    artifacts=Artifacts(probability=0.5, keep=(0.1, 0.001), domain="input"),
    transform=Transform(image_size=(64, 96), rotate=True, window=(40.0, 400.0)),
    optimiser=Optimiser(epochs=3, batch_size=4, learning_rate=3e-4, weight_decay=0.0, patience=2, plateau_patience=1),
    seed=7,
    device="cuda:1",
    threads=2,
)


@pytest.mark.parametrize("config", [FULL, TrainConfig(store="a.zarr", out="b")], ids=["full", "default"])
def test_the_configuration_survives_json(config: TrainConfig) -> None:
    text = json.dumps(config.to_json())
    assert TrainConfig.from_json(json.loads(text)) == config
    assert config.differences(json.loads(text)) == []


def test_differences_are_named_and_the_machine_is_none() -> None:
    other = replace(FULL, out="elsewhere", device="cpu", threads=None, optimiser=Optimiser(epochs=4), artifacts=None)
    names = FULL.differences(other.to_json())
    assert {"optimiser.epochs", "optimiser.learning_rate", "artifacts"} <= set(names)
    assert not {"out", "device", "threads", "seed"} & set(names)


def test_paths_become_text() -> None:
    assert TrainConfig(store=Path("a.zarr"), out=Path("b")).to_json()["store"] == "a.zarr"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "resnet"}, "did you mean"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"seed": 1.5}, "seed: .* got 1.5"),
        ({"threads": 0}, "threads"),
        ({"device": "tpu"}, "expected auto, cpu, cuda or cuda:N, got 'tpu'"),
        ({"device": "cuda:x"}, "cuda:x"),
        ({"device": "cpu:0"}, "cpu:0"),
    ],
)
def test_a_configuration_is_checked(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        replace(FULL, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"patience": 0},
        {"plateau_patience": -1},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"weight_decay": -0.1},
    ],
)
def test_the_optimiser_is_checked(change: dict) -> None:
    with pytest.raises(InputError, match=f"optimiser.{next(iter(change))}: expected"):
        Optimiser(**change)


def test_devices_that_are_not_there_are_refused() -> None:
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type == ("cuda" if there else "cpu")
    with pytest.raises(InputError, match=f"torch sees {there} CUDA devices"):
        find_device(f"cuda:{there}")


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with limited_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
