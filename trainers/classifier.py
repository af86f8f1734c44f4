"""The classifier as a Lightning module: weighted cross-entropy, AUC, learning rate lowered on a plateau."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau

from wavestream.engine.errors import InputError
from wavestream.trainers.configuration import Optimiser
from wavestream.trainers.statistics import auc

PLATEAU_FACTOR = 0.3


class Classifier(pl.LightningModule):
    """A network over single-channel images, trained with weighted cross-entropy.

    The loss of a batch is the weighted mean of its images' cross-entropies (weights of their classes, divided by the
    sum of the weights, as ``torch.nn.CrossEntropyLoss`` has it). Logs ``train_loss``, ``val_loss``, ``val_auc`` and
    ``learning_rate`` once per epoch. Dropout and the like draw from a generator seeded anew for every step from
    (seed, step), so that a run continued in the middle draws what an undisturbed one would have drawn.

    Args:
        network: takes (batch, 3, rows, cols) float32, returns logits (batch, classes).
        class_weights: weight of each class in the loss, (classes,).
        optimiser: learning rate, weight decay and plateau patience.
        seed: of dropout and the like, >= 0.
    """

    class_weights: Tensor
    _train_sums: Tensor  # of weighted losses and of weights, over the epoch so far

    def __init__(self, network: nn.Module, class_weights: Sequence[float], optimiser: Optimiser, seed: int) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.register_buffer("class_weights", torch.tensor(class_weights, dtype=torch.float32))
        self.optimiser = optimiser
        self.seed = seed
        self.plateau: ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        # A buffer, so that a checkpoint within the epoch keeps it.
        self.register_buffer("_train_sums", torch.zeros(2, dtype=torch.float64))
        self._seen: list[tuple[Tensor, Tensor]] = []  # logits and labels of the validation in progress
        self.measured: dict[str, float] = {}  # of the epoch at hand, under the names they are logged by

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, classes) in float32 of images (batch, 1, rows, cols); the one channel is repeated to three."""
        repeated = images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        return self.network(repeated).float()

    def on_train_batch_start(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Seed torch's generators for this step alone."""
        step = np.random.SeedSequence([self.seed, self.global_step]).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(step))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch (images, labels)."""
        images, labels = batch
        loss = functional.cross_entropy(self(images), labels, weight=self.class_weights)
        weight = self.class_weights[labels].sum().double()
        self._train_sums += torch.stack([loss.detach().double() * weight, weight])
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Keep the logits and labels of one batch; float32 also under autocast, because rounded scores tie."""
        images, labels = batch
        with torch.autocast(images.device.type, enabled=False):
            self._seen.append((self(images).cpu(), labels.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log loss and AUC of the whole validation split."""
        logits, labels = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        loss = functional.cross_entropy(logits, labels, weight=self.class_weights.cpu()).item()
        if not math.isfinite(loss):
            raise InputError(
                f"training diverged: the validation loss is {loss} in epoch {self.current_epoch + 1}; "
                f"lower optimiser.learning_rate (it is {self.optimiser.learning_rate})"
            )
        self._report("val_loss", loss)
        self._report("val_auc", auc(labels.numpy(), probabilities(logits)))

    def on_train_epoch_end(self) -> None:
        """Log the epoch's loss and lower the learning rate when the validation AUC has stopped rising."""
        loss, weight = self._train_sums.tolist()
        self._train_sums.zero_()
        self._report("train_loss", loss / weight)
        self._report("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"], prog_bar=False)
        assert self.plateau is not None
        self.plateau.step(self.measured["val_auc"])

    def _report(self, name: str, value: float, prog_bar: bool = True) -> None:
        self.measured[name] = value
        self.log(name, value, prog_bar=prog_bar)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; the plateau rule is stepped here and not by Lightning, which would do it after the checkpoint."""
        settings = self.optimiser
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.plateau = ReduceLROnPlateau(
            optimizer, mode="max", factor=PLATEAU_FACTOR, patience=settings.plateau_patience, threshold=0.0
        )
        if self._plateau_state is not None:
            self.plateau.load_state_dict(self._plateau_state)
        return optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of the plateau rule."""
        assert self.plateau is not None
        checkpoint["plateau"] = self.plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the state of the plateau rule until there is an optimizer."""
        self._plateau_state = checkpoint["plateau"]


def probabilities(logits: Tensor) -> np.ndarray:
    """Class probabilities (images, classes) in float64, where confident scores do not round to ties at 1."""
    return torch.softmax(logits.double(), dim=1).numpy()
