"""A Lightning DataModule over one store: augmented training, clean evaluation, the store's own split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule

from wavestream.bindings.loader import DataLoader
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.store import Store, open_store
from wavestream.engine.transform import Transform


class DataModule(LightningDataModule):
    """Loaders for the splits ``train``, ``val`` and ``test`` of a store; see :class:`DataLoader` for what they yield.

    Args:
        store: an opened store, or its path or URL.
        batch_size: of all splits.
        target: label column; None: the only one there is.
        transform: of training; None: ``Transform()``. Evaluation uses it without turns and flips.
        artifacts: of training; None: clean. Validation is always clean.
        test_artifacts: of testing; None: clean.
        device, seed, threads: as in :class:`DataLoader`.
        extras: further columns with every batch, as in :class:`DataLoader`.

    Raises:
        InputError, StoreError: when a loader is asked for; see :class:`DataLoader`.
    """

    def __init__(
        self,
        store: Store | str | Path,
        batch_size: int = 32,
        *,
        target: str | None = None,
        transform: Transform | None = None,
        artifacts: Artifacts | None = None,
        test_artifacts: Artifacts | None = None,
        device: str | torch.device = "cpu",
        seed: int = 0,
        threads: int | None = None,
        extras: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.store = store if isinstance(store, Store) else open_store(store)
        self.batch_size = batch_size
        self.target = target
        self.transform = transform or Transform()
        self.artifacts = artifacts
        self.test_artifacts = test_artifacts
        self.device = device
        self.seed = seed
        self.threads = threads
        self.extras = extras

    def train_dataloader(self) -> DataLoader:
        """Shuffled, augmented, compressed as ``artifacts`` say."""
        return self._loader("train", self.transform, self.artifacts)

    def val_dataloader(self) -> DataLoader:
        """In the store's order, clean."""
        return self._loader("val", replace(self.transform, rotate=False, flip=False), None)

    def test_dataloader(self) -> DataLoader:
        """In the store's order, compressed as ``test_artifacts`` say."""
        return self._loader("test", replace(self.transform, rotate=False, flip=False), self.test_artifacts)

    def _loader(self, split: str, transform: Transform, artifacts: Artifacts | None) -> DataLoader:
        return DataLoader(
            self.store,
            split,
            self.batch_size,
            target=self.target,
            transform=transform,
            artifacts=artifacts,
            device=self.device,
            seed=self.seed,
            threads=self.threads,
            extras=self.extras,
        )
