"""What one training run is: everything that decides its result, and where it runs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError
from wavestream.engine.transform import Transform
from wavestream.trainers.machine import device_number
from wavestream.trainers.networks import check_name

# Where a run goes does not change which run it is: these may differ when it is continued. The store may have moved;
# that it holds the same data is known by its fingerprint, see wavestream.trainers.target.
PLACE_FIELDS = ("store", "out", "device", "threads")


@dataclass(frozen=True)
class Optimiser:
    """How the weights are fitted: AdamW, the rate lowered on a plateau of the validation AUC, early stopping.

    Attributes:
        epochs: passes over the train split at most.
        batch_size: images per step.
        learning_rate: of AdamW, at the start.
        weight_decay: of AdamW, decoupled (Loshchilov & Hutter 2019).
        patience: epochs without a better validation AUC after which training stops.
        plateau_patience: epochs without a better validation AUC after which the learning rate is multiplied by 0.3.
    """

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    patience: int = 8
    plateau_patience: int = 3

    def __post_init__(self) -> None:
        for name, lowest in (("epochs", 1), ("batch_size", 1), ("patience", 1), ("plateau_patience", 0)):
            _check_whole(f"optimiser.{name}", getattr(self, name), lowest)
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(f"optimiser.learning_rate: expected a number above 0, got {self.learning_rate}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InputError(f"optimiser.weight_decay: expected a number of at least 0, got {self.weight_decay}")


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Attributes:
        store: path of the store, as ``wavestream ingest`` wrote it.
        out: folder for the checkpoints, the history and the result; the same folder continues the run.
        target: label column to predict; None: the only one there is.
        model: name of a torchvision classifier, such as ``resnet18``.
        weights: weights to start from: a name of torchvision (``DEFAULT``, ``IMAGENET1K_V2``) or a file with a state
            dict of that network; its last layer may differ. None: random.
        artifacts: wavelet artifacts injected into the train split; None: none. Validation and test stay clean.
        transform: window, crop, size and augmentation; rotation and flip apply to the train split only.
        optimiser: epochs, batch size, learning rate and when to stop.
        seed: of the initial weights, the order of images, augmentation, artifacts and dropout, >= 0.
        device: ``auto`` (a CUDA device where there is one), ``cpu``, ``cuda`` or ``cuda:1``.
        threads: CPU threads of torch and of the loader; None: their own defaults.
    """

    store: str
    out: str
    target: str | None = None
    model: str = "resnet50"
    weights: str | None = None
    artifacts: Artifacts | None = None
    transform: Transform = field(default_factory=Transform)
    optimiser: Optimiser = field(default_factory=Optimiser)
    seed: int = 0
    device: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("store", "out", "weights"):
            if isinstance(getattr(self, name), Path):
                object.__setattr__(self, name, str(getattr(self, name)))
        check_name(self.model)
        _check_whole("seed", self.seed, 0)
        if self.threads is not None:
            _check_whole("threads", self.threads, 1)
        device_number(self.device)

    def to_json(self) -> dict[str, Any]:
        """The configuration as JSON types."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        plain["artifacts"] = None if self.artifacts is None else self.artifacts.to_json()
        plain["transform"] = self.transform.to_json()
        plain["optimiser"] = asdict(self.optimiser)
        return json.loads(json.dumps(plain))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TrainConfig:
        """The configuration from what :meth:`to_json` wrote."""
        parts = dict(value)
        if parts.get("artifacts") is not None:
            parts["artifacts"] = Artifacts.from_json(parts["artifacts"])
        parts["transform"] = Transform.from_json(parts["transform"])
        parts["optimiser"] = Optimiser(**parts["optimiser"])
        return cls(**parts)

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Names of the fields, in dots, in which the run of the JSON configuration ``other`` is another run."""
        mine, theirs = _flat(self.to_json()), _flat(other)
        names = [name for name in {**mine, **theirs} if name not in PLACE_FIELDS]
        return [name for name in names if name not in mine or name not in theirs or mine[name] != theirs[name]]


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        flat |= _flat(item, f"{prefix}{name}.") if isinstance(item, dict) else {prefix + name: item}
    return flat


def _check_whole(name: str, value: object, lowest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise InputError(f"{name}: expected a whole number of at least {lowest}, got {value!r}")
