"""What one study is: which models are trained, and at which levels they are tested."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError
from wavestream.engine.transform import Transform
from wavestream.trainers.configuration import Optimiser, TrainConfig


@dataclass(frozen=True)
class StudyConfig:
    """One study.

    Attributes:
        store: path of the store, as ``wavestream ingest`` wrote it.
        out: folder of the study; the same folder continues it.
        target: label column to predict; None: the only one there is.
        model: name of a torchvision classifier.
        weights: weights to start from; see :class:`TrainConfig`.
        probabilities: shares of training images that get an artifact, in [0, 1]; 0 is clean training.
        keeps: levels that artifacts are drawn from while training, in (0, 1).
        levels: levels at which the test images are compressed, in (0, 1]; 1 is lossless.
        domain: what is compressed, ``source`` (the stored image) or ``input`` (the network's input).
        seeds: of the trials; one trial per probability and seed.
        margin: largest fall in AUC that counts as none, declared before the study.
        transform: window, crop, size and augmentation.
        optimiser: epochs, batch size, learning rate and when to stop.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: CPU threads of torch and of the loader; None: their own defaults.
    """

    store: str
    out: str
    target: str | None = None
    model: str = "resnet50"
    weights: str | None = None
    probabilities: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75)
    keeps: tuple[float, ...] = (0.10, 0.01, 0.001)
    levels: tuple[float, ...] = (1.0, 0.1, 0.01, 0.001, 0.0001)
    domain: str = "source"
    seeds: tuple[int, ...] = (0,)
    margin: float = 0.02
    transform: Transform = field(default_factory=Transform)
    optimiser: Optimiser = field(default_factory=Optimiser)
    device: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("store", "out", "weights"):
            if isinstance(getattr(self, name), Path):
                object.__setattr__(self, name, str(getattr(self, name)))
        for name, kind in (("probabilities", float), ("keeps", float), ("levels", float), ("seeds", int)):
            values = getattr(self, name)
            if isinstance(values, str) or not isinstance(values, Iterable):
                raise InputError(f"{name}: expected several numbers, such as ({values},), got {values!r}")
            object.__setattr__(self, name, _distinct(name, [kind(value) for value in values]))
        _require_range("probabilities", self.probabilities, lambda value: 0 <= value <= 1, "in [0, 1]")
        _require_range("keeps", self.keeps, lambda value: 0 < value < 1, "in (0, 1); 1 would be no artifact")
        _require_range("levels", self.levels, lambda value: 0 < value <= 1, "in (0, 1]")
        _require_range("seeds", self.seeds, lambda value: value >= 0, "of at least 0")
        if not (math.isfinite(self.margin) and 0 < self.margin < 0.5):
            raise InputError(f"margin: expected an AUC difference in (0, 0.5), got {self.margin}")
        # Mild to harsh, whatever order they were given in.
        object.__setattr__(self, "levels", tuple(sorted(self.levels, reverse=True)))
        object.__setattr__(self, "probabilities", tuple(sorted(self.probabilities)))
        # Let the parts that are handed down complain now instead of in the middle of the first trial.
        self.training(self.probabilities[-1], self.seeds[0])
        Artifacts(probability=1.0, keep=self.levels[-1:], domain=self.domain)

    def training(self, probability: float, seed: int) -> TrainConfig:
        """The training run of a trial; its ``out`` is the study's."""
        artifacts = Artifacts(probability=probability, keep=self.keeps, domain=self.domain) if probability else None
        return TrainConfig(
            store=self.store,
            out=self.out,
            target=self.target,
            model=self.model,
            weights=self.weights,
            artifacts=artifacts,
            transform=self.transform,
            optimiser=self.optimiser,
            seed=seed,
            device=self.device,
            threads=self.threads,
        )

    def to_json(self) -> dict[str, Any]:
        """The configuration as JSON types."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        plain["transform"] = self.transform.to_json()
        plain["optimiser"] = asdict(self.optimiser)
        return json.loads(json.dumps(plain))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StudyConfig:
        """The configuration from what :meth:`to_json` wrote."""
        parts = dict(value)
        parts["transform"] = Transform.from_json(parts["transform"])
        parts["optimiser"] = Optimiser(**parts["optimiser"])
        return cls(**parts)


def _distinct(name: str, values: list[Any]) -> tuple[Any, ...]:
    if not values or len(set(values)) != len(values):
        raise InputError(f"{name}: expected at least one number, each once, got {tuple(values)}")
    return tuple(values)


def _require_range(name: str, values: Iterable[float], inside: Any, where: str) -> None:
    outside = [value for value in values if not inside(value)]
    if outside:
        raise InputError(f"{name}: expected numbers {where}, got {outside[0]}")
