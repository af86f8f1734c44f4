"""Test a trained model on a split of a store, clean or with wavelet artifacts: AUC with an interval over patients."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from wavestream.bindings.dataset import SplitDataset
from wavestream.bindings.loader import DataLoader
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError
from wavestream.engine.store import open_store
from wavestream.engine.transform import Transform
from wavestream.trainers.classifier import Classifier, probabilities
from wavestream.trainers.configuration import TrainConfig
from wavestream.trainers.machine import find_device, limited_threads, seeded
from wavestream.trainers.networks import build_network
from wavestream.trainers.statistics import bootstrap_auc

BATCH_SIZE = 64


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a model scores the images of one split.

    Attributes:
        auc: area under the ROC curve; several classes: macro, one against the rest.
        ci_low: lower end of the 95 % bootstrap interval over patients.
        ci_high: upper end of it.
        count: images.
        patients: distinct patients among them.
        scores: (images, classes) float64, class probabilities.
        labels: (images,) int64, class codes.
        patient: (images,) uint64, the store's salted patient hashes.
        index: (images,) int64, the images' indices in the store.
        loss: class-weighted cross-entropy over all images, with the weights of training.
    """

    auc: float
    ci_low: float
    ci_high: float
    count: int
    patients: int
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    patient: NDArray[np.uint64]
    index: NDArray[np.int64]
    loss: float

    def __str__(self) -> str:
        return (
            f"AUC {self.auc:.4f} (95 % CI {self.ci_low:.4f} to {self.ci_high:.4f}; "
            f"{self.count} images of {self.patients} patients)"
        )


def evaluate(
    checkpoint: str | Path,
    *,
    store: str | Path | None = None,
    split: str = "test",
    artifacts: Artifacts | None = None,
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    threads: int | None = None,
) -> Evaluation:
    """Score every image of a split with a trained model.

    Window, crop and size are those of training, without rotation and flip. Computes in float32 on every device.

    Args:
        checkpoint: the ``best.ckpt`` of a run.
        store: path of the store; None: the one the model was trained on.
        split: ``train``, ``val`` or ``test``.
        artifacts: compression to test under; None: clean.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        batch_size: images per step; does not change the result beyond rounding.
        threads: CPU threads of torch and of the loader.

    Raises:
        InputError: not such a checkpoint; the store's target has other classes; an image of the split has no label, or
            all have the same.
        StoreError: the store cannot be opened.
    """
    description, state = read_model(checkpoint)
    config = TrainConfig.from_json(description["config"])
    opened = open_store(config.store if store is None else store)
    place = find_device(device)
    with seeded(0, place):  # the random weights are overwritten, but must not cost the caller random numbers
        network = build_network(config.model, len(description["categories"]))
    network.load_state_dict(state)
    classifier = Classifier(network, description["class_weights"], config.optimiser, config.seed)
    loader = DataLoader(
        opened,
        split=split,
        batch_size=batch_size,
        target=description["target"],
        transform=without_augmentation(config.transform),
        artifacts=artifacts,
        device=str(place),
        seed=config.seed,
        threads=threads,
        shuffle=False,
    )
    _refuse_other_classes(loader.dataset, tuple(description["categories"]))
    with limited_threads(threads):
        logits, labels = _forward(classifier.to(place).eval(), loader)
    index, codes = loader.dataset.indices, loader.dataset.labels
    if not np.array_equal(labels.numpy(), codes):
        raise RuntimeError(f"the loader did not yield the {split} split in the order of the store")
    scores, patient = probabilities(logits), opened.table["patient"][index]
    interval = bootstrap_auc(codes, scores, patient, seed=config.seed)
    weights = classifier.class_weights.cpu()
    return Evaluation(
        auc=interval.estimate,
        ci_low=interval.low,
        ci_high=interval.high,
        count=len(index),
        patients=len(np.unique(patient)),
        scores=scores,
        labels=codes,
        patient=patient,
        index=index,
        loss=functional.cross_entropy(logits, labels, weight=weights).item(),
    )


def read_model(checkpoint: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What is known of a trained model, and its network's state dict, from ``best.ckpt``.

    Raises:
        InputError: no such file, or not the best.ckpt of a run.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}: expected the best.ckpt in the folder of a run")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a checkpoint: {error}") from error
    if not isinstance(content, dict) or "wavestream" not in content:
        raise InputError(f"{path} is not the best.ckpt of a wavestream run (last.ckpt is only to continue one)")
    return content["wavestream"], content["state_dict"]


def without_augmentation(transform: Transform) -> Transform:
    """The transform as validation and test use it."""
    return replace(transform, rotate=False, flip=False)


def _refuse_other_classes(dataset: SplitDataset, categories: tuple[str, ...]) -> None:
    """Refuse a split that the model cannot score, or on which no AUC is defined."""
    column = f"label {dataset.target!r} of {dataset.store.path}"
    if dataset.categories != categories:
        raise InputError(
            f"{column} has the classes {', '.join(dataset.categories)}; "
            f"the model was trained on {', '.join(categories)}"
        )
    counts = np.bincount(dataset.labels, minlength=len(categories))
    if np.count_nonzero(counts) < 2:
        listed = ", ".join(f"{category} {count}" for category, count in zip(categories, counts, strict=True))
        raise InputError(f"{column}: expected at least two classes in the {dataset.split} split, got {listed}")


@torch.inference_mode()
def _forward(classifier: Classifier, loader: DataLoader) -> tuple[Tensor, Tensor]:
    """Logits (images, classes) and labels (images,) of the whole loader, on the CPU."""
    parts = [(classifier(images).cpu(), labels.cpu()) for images, labels in loader]
    logits, labels = zip(*parts, strict=True)
    return torch.cat(logits), torch.cat(labels)
