"""What a split holds, position by position: the map-style description behind a loader."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavestream.engine.errors import InputError
from wavestream.engine.schema import SPLITS, TABLE
from wavestream.engine.store import Store

_SHOWN = 5


class SplitDataset(torch.utils.data.Dataset[tuple[int, int]]):
    """The images of one split of a store with the labels of one column; samplers draw positions in it.

    ``dataset[position]`` is (index of the image in the store, label code); pixels come in batches, from the loader.

    Args:
        store: an opened store.
        split: ``train``, ``val``, ``test`` or ``none``.
        target: label column to classify by; None: the only one there is. A store without label columns gives label -1
            everywhere, which no loss function takes for a class.
        extras: further columns to hand out with every batch: ``index`` (of the image in the store), and columns of the
            store's table or labels.

    Attributes:
        indices: (n,) int64, index in the store of each position.
        labels: (n,) int64, label code of each position.
        categories: what the codes 0, 1, ... mean; empty without labels.
        target: name of the label column, or None.

    Raises:
        InputError: an empty or unknown split; an unknown or numeric target; several label columns and no target;
            missing labels; an unknown extra.
    """

    def __init__(self, store: Store, split: str, target: str | None = None, extras: tuple[str, ...] = ()) -> None:
        self.store = store
        self.split = split
        self.indices = store.split_indices(split)
        if not self.indices.size:
            sizes = ", ".join(f"{name} {store.split_indices(name).size}" for name in SPLITS)
            raise InputError(f"the split {split!r} of {store.location} holds no images; sizes: {sizes}")
        self.target = _choose_target(store, target)
        self.labels: NDArray[np.int64] = np.full(self.indices.size, -1)
        self.categories: tuple[str, ...] = ()
        if self.target is not None:
            codes, self.categories = store.target(self.target)
            self.labels = codes[self.indices]
            _require_labels(self)
        self._extras = {name: _extra_column(store, name) for name in extras}

    def __len__(self) -> int:
        return int(self.indices.size)

    def __getitem__(self, position: int) -> tuple[int, int]:
        return int(self.indices[position]), int(self.labels[position])

    def extras(self, positions: NDArray[np.int64]) -> dict[str, Tensor]:
        """The extra columns at some positions, each (batch,); hashes as int64 of the same bits."""
        indices = self.indices[positions]
        return {name: torch.from_numpy(values[indices]) for name, values in self._extras.items()}


def _choose_target(store: Store, target: str | None) -> str | None:
    if target is not None:
        return target
    names = list(store.labels)
    if len(names) > 1:
        raise InputError(f"{store.location} has {len(names)} label columns: choose target= out of {', '.join(names)}")
    return names[0] if names else None


def _require_labels(dataset: SplitDataset) -> None:
    missing = dataset.indices[dataset.labels < 0]
    if missing.size:
        shown = ", ".join(str(index) for index in missing[:_SHOWN]) + (", ..." if missing.size > _SHOWN else "")
        raise InputError(
            f"{missing.size} of {len(dataset)} images of split {dataset.split!r} have no label {dataset.target!r} "
            f"(images {shown} of {dataset.store.location}): complete the label CSV and ingest again, with "
            "unlabelled='skip' to leave such images out; or choose another target"
        )


def _extra_column(store: Store, name: str) -> NDArray[np.generic]:
    if name == "index":
        return np.arange(len(store))
    if name in store.labels:
        values = store.labels[name]
    elif name in TABLE and not TABLE[name].shape:
        values = store.table[name]
    else:
        columns = [column for column in TABLE if not TABLE[column].shape]
        raise InputError(f"unknown extra {name!r}: expected index, or one of {', '.join([*store.labels, *columns])}")
    # torch computes little with unsigned integers; the bits of a hash are what matters.
    return values.view(np.int64) if values.dtype == np.uint64 else values
