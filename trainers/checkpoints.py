"""What a run leaves on disk while it goes: the best model, the point to continue from, the history."""

from __future__ import annotations

import csv
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint

from wavestream.bindings.loader import DataLoader
from wavestream.trainers.classifier import Classifier

BEST, LAST, HISTORY = "best.ckpt", "last.ckpt", "history.csv"
SAVE_EVERY_SECONDS = 600.0
HISTORY_FIELDS = (
    "epoch",
    "train_loss",
    "val_loss",
    "val_auc",
    "learning_rate",
    "seconds",
    "images_per_second",
    "bytes_read",
)


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived; raised once the run is saved. Not an error, so nothing that handles errors eats it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class RunKeeper(Checkpoint):
    """Writes ``best.ckpt``, ``last.ckpt`` and ``history.csv``, stops early, and makes the run continuable.

    ``last.ckpt`` is written after every epoch, every ten minutes within one, and after the step during which SIGINT or
    SIGTERM arrived; during validation the signal waits for its end, a second one does not. Every file is
    replaced whole, so a run killed at any moment leaves the previous one.

    Args:
        out: folder to write into.
        description: written into ``best.ckpt`` beside the weights; JSON types.
        patience: epochs without a better validation AUC after which training stops.
        loader: of the train split; told the epoch, asked for the bytes it has read.
    """

    # Lightning calls this kind of callback last at the end of an epoch, when the module has logged and stepped.
    def __init__(self, out: Path, description: dict[str, Any], patience: int, loader: DataLoader) -> None:
        self.out = out
        self.description = description
        self.patience = patience
        self.loader = loader
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0  # of fitting, over all sessions of this run
        self._epoch = {"seconds": 0.0, "images": 0, "bytes": 0}  # of the epoch so far
        self._signal = 0

    @property
    def best(self) -> dict[str, float] | None:
        """The epoch with the highest validation AUC, of equals the one with the lowest loss; None before any ended."""
        return max(self.history, key=lambda entry: (entry["val_auc"], -entry["val_loss"]), default=None)

    @property
    def stopped_early(self) -> bool:
        """Whether ``patience`` epochs have passed without a better one."""
        return self.best is not None and self.history[-1]["epoch"] - self.best["epoch"] >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """History and counters, for ``last.ckpt``."""
        return {"history": self.history, "seconds": self.seconds, "epoch": self._epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up history and counters from ``last.ckpt``; Lightning asks the loader for its iterator soon after."""
        self.history, self.seconds, self._epoch = state_dict["history"], state_dict["seconds"], state_dict["epoch"]
        self.loader.set_epoch(len(self.history))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clocks, and take the signals back from Lightning, which ends a run at SIGTERM without saving it."""
        self._clock = self._saved = time.monotonic()
        self._bytes = self.loader.bytes_read
        self._catch()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the epoch's counters and order of images."""
        self.loader.set_epoch(trainer.current_epoch)
        self._epoch = {"seconds": 0.0, "images": 0, "bytes": 0}
        self._tick()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count; save within an epoch when it is time or a signal arrived, but not after its last step.

        After the last step validation follows at once, and the checkpoint of the whole epoch with it.
        """
        self._epoch["seconds"] += self._tick()
        self._epoch["images"] += len(batch[1])
        if trainer.is_last_batch:
            return
        if self._signal or time.monotonic() - self._saved > SAVE_EVERY_SECONDS:
            self._save(trainer)
        if self._signal:
            raise Interrupted(self._signal)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave validation out of the training time."""
        self._tick()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the history, the best model if this is it, and the point to continue from."""
        assert isinstance(pl_module, Classifier)
        self._tick()
        seconds, images = self._epoch["seconds"], self._epoch["images"]
        entry = {"epoch": trainer.current_epoch + 1, **pl_module.measured, "seconds": seconds}
        entry |= {"images_per_second": images / seconds, "bytes_read": self._epoch["bytes"]}
        self.history.append(entry)
        if self.best is entry:
            description = {**self.description, "epoch": entry["epoch"], "val_auc": entry["val_auc"]}
            state = pl_module.network.state_dict()
            replace_file(
                self.out / BEST, lambda path: torch.save({"wavestream": description, "state_dict": state}, path)
            )
        self._save(trainer)
        replace_file(self.out / HISTORY, self._write_history)
        if self._signal:
            raise Interrupted(self._signal)
        trainer.should_stop = self.stopped_early

    @contextmanager
    def signals_noted(self) -> Iterator[None]:
        """Inside the block SIGINT and SIGTERM are noted and acted on where the run can be saved.

        Does nothing outside the main thread, where Python delivers no signals.

        Raises:
            Interrupted: a signal arrived.
        """
        before = self._catch()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._signal:
            raise Interrupted(self._signal)

    def _catch(self) -> dict[int, Any]:
        """Handle the signals; returns what handled them before."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        # A handler that was not installed from Python reads as None.
        return {number: signal.SIG_DFL if handler is None else handler for number, handler in before.items()}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._signal:
            raise Interrupted(number)
        self._signal = number

    def _tick(self) -> float:
        """Seconds since the last tick, which are also added to the run's; bytes read go to the epoch's."""
        now, read = time.monotonic(), self.loader.bytes_read
        passed, self._clock = now - self._clock, now
        self._epoch["bytes"] += read - self._bytes
        self._bytes = read
        self.seconds += passed
        return passed

    def _save(self, trainer: pl.Trainer) -> None:
        replace_file(self.out / LAST, trainer.save_checkpoint)
        self._saved = time.monotonic()

    def _write_history(self, path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, HISTORY_FIELDS)
            writer.writeheader()
            writer.writerows(self.history)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside ``path``, flush it to the disk, and put it in place of ``path`` at once."""
    temporary = path.with_name(f".{path.name}.partial")
    write(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
