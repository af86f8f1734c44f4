"""Train a torchvision classifier on a store, keep its best epoch, and test that on the held-out split."""

from __future__ import annotations

import logging
import pickle
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from wavestream.bindings.loader import DataLoader
from wavestream.engine.errors import InputError
from wavestream.engine.lock import exclusive
from wavestream.engine.store import open_store
from wavestream.trainers.checkpoints import BEST, LAST, Interrupted, RunKeeper
from wavestream.trainers.classifier import Classifier
from wavestream.trainers.configuration import Optimiser as Optimiser
from wavestream.trainers.configuration import TrainConfig as TrainConfig
from wavestream.trainers.evaluate import evaluate, without_augmentation
from wavestream.trainers.machine import find_device, limited_threads, seeded
from wavestream.trainers.networks import build_network, check_image_size
from wavestream.trainers.result import RESULT, read_json, read_result, write_json, write_result
from wavestream.trainers.result import TrainResult as TrainResult
from wavestream.trainers.target import Target, read_target

CONFIG, DATA, LOCK = "config.json", "data.json", ".lock"


def train(config: TrainConfig, progress: bool = True) -> TrainResult:
    """Train, keep the epoch with the best validation AUC, and test it on the clean test split.

    The folder ``config.out`` gets ``config.json``, ``data.json`` (classes and counts), ``best.ckpt``, ``last.ckpt``,
    ``history.csv``, ``tensorboard/``, and at the end ``test.npz`` and ``result.json`` in place of ``last.ckpt``. The
    same call continues a run that was stopped: exactly where it was after SIGINT or SIGTERM, else from the end of the
    last epoch or at most ten minutes back; a finished run returns its result at once. On a CPU the result is a
    function of the configuration, the store and the number of threads, to the bit, interrupted or not.

    A last batch of one image is left out of its epoch, since batch norm may not be able to train on it.

    Args:
        config: what to train; see :class:`TrainConfig`.
        progress: show a progress bar.

    Raises:
        InputError: nothing that can be trained: classes missing in a split, a network that does not take the size,
            weights that do not fit, another run in the folder, or this one going on in another process; or training
            diverged.
        StoreError: the store cannot be opened.
        KeyboardInterrupt, SystemExit: after SIGINT, SIGTERM (status 143), with the run saved.
    """
    device = find_device(config.device)
    target = read_target(open_store(config.store), config.target)
    out = Path(config.out)
    _refuse_another_run(out, config, target)
    if (finished := read_result(out)) is not None:
        (out / LAST).unlink(missing_ok=True)
        return finished
    with limited_threads(config.threads), seeded(config.seed, device):
        network = build_network(config.model, len(target.categories), config.weights)
        check_image_size(network, config.model, config.transform.image_size, config.optimiser.batch_size)
        out.mkdir(parents=True, exist_ok=True)
        with exclusive(out / LOCK, str(out)):
            write_json(out / CONFIG, config.to_json())
            write_json(out / DATA, _data(target))
            classifier = Classifier(network, target.class_weights(), config.optimiser, config.seed)
            keeper = _fit(config, classifier, target, device, progress)
            test = evaluate(out / BEST, store=config.store, device=str(device), threads=config.threads)
            result = write_result(out, keeper.history, keeper.seconds, test)
            (out / LAST).unlink(missing_ok=True)
    return result


def _refuse_another_run(out: Path, config: TrainConfig, target: Target) -> None:
    """Refuse a folder with a run that is worth keeping, of another configuration or on other data."""
    if not ((out / LAST).is_file() or (out / RESULT).is_file()):
        return
    differing = config.differences(read_json(out / CONFIG))
    if differing:
        raise InputError(
            f"{out} holds a run with another {', '.join(differing)}: give this one another folder, "
            f"or delete {out} to start over"
        )
    if read_json(out / DATA) != _data(target):
        raise InputError(
            f"{out} holds a run on other data than {config.store} has now; give this run another folder, "
            f"or delete {out} to start over"
        )


def _data(target: Target) -> dict[str, Any]:
    return {
        "target": target.name,
        "categories": list(target.categories),
        "counts": {split: list(counts) for split, counts in target.counts.items()},
        "fingerprint": target.fingerprint,
    }


def _fit(
    config: TrainConfig, classifier: Classifier, target: Target, device: torch.device, progress: bool
) -> RunKeeper:
    """Train to the end, from ``last.ckpt`` where there is one; the weights end up in ``best.ckpt``."""
    out, size = Path(config.out), config.optimiser.batch_size
    loader = _loader(config, target, device, "train", drop_last=sum(target.counts["train"]) % size == 1 and size > 1)
    description = {
        "config": config.to_json(),
        "target": target.name,
        "categories": list(target.categories),
        "class_weights": list(target.class_weights()),
    }
    keeper = RunKeeper(out, description, config.optimiser.patience, loader)
    last = out / LAST if (out / LAST).is_file() else None
    if last is not None:
        keeper.load_state_dict(_read_last(last)["callbacks"][keeper.state_key])
        if keeper.stopped_early or len(keeper.history) >= config.optimiser.epochs:
            return keeper
    with _only_our_words():
        trainer = pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=[device.index] if device.type == "cuda" else 1,
            # One process, also inside a SLURM job that has more.
            plugins=[LightningEnvironment()],
            precision="bf16-mixed" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "32-true",
            benchmark=device.type == "cuda",
            max_epochs=config.optimiser.epochs,
            callbacks=[keeper, *([_Bar()] if progress else [])],
            logger=TensorBoardLogger(str(out), name="tensorboard", version=""),
            default_root_dir=str(out),
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=progress,
        )
        validation = _loader(config, target, device, "val")
        try:
            with keeper.signals_noted():
                trainer.fit(classifier, loader, validation, ckpt_path=last, weights_only=True)
        except Interrupted as stop:
            if stop.number == signal.SIGINT:
                raise KeyboardInterrupt from None
            raise SystemExit(128 + stop.number) from None
    return keeper


def _loader(config: TrainConfig, target: Target, device: torch.device, split: str, **options: Any) -> DataLoader:
    """The loader of one split: shuffled, augmented and injected for training, clean and in order else."""
    training = split == "train"
    return DataLoader(
        config.store,
        split=split,
        batch_size=config.optimiser.batch_size,
        target=target.name,
        transform=config.transform if training else without_augmentation(config.transform),
        artifacts=config.artifacts if training else None,
        device=str(device),
        seed=config.seed,
        threads=config.threads,
        shuffle=training,
        **options,
    )


class _Bar(TQDMProgressBar):
    """Lightning's bar without the version of the logger."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}


@contextmanager
def _only_our_words() -> Iterator[None]:
    """Keep Lightning's banners, and its advice about worker processes that the loader has not, off the terminal."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            # Lightning 2.6 on torch 2.15; nothing that a user of either could act on.
            warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _read_last(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}): delete {path.parent} to start over") from error
