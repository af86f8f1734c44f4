"""What a loader asks of the engine: batches of positions, drawn from its samplers and checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavestream.bindings.dataset import SplitDataset
from wavestream.engine.errors import InputError


class Request(NamedTuple):
    """A batch asked for: its epoch, its positions in the split, and the images of the store that they are."""

    epoch: int
    positions: NDArray[np.int64]
    indices: NDArray[np.int64]


class Requests:
    """The requests for batches of positions as they are drawn; knows when there are no more."""

    def __init__(self, batches: Iterator[Any], dataset: SplitDataset, epoch: int) -> None:
        self._batches = batches
        self._dataset = dataset
        self._epoch = epoch
        self.count = 0
        self.exhausted = False

    def __iter__(self) -> Iterator[Request]:
        for batch in self._batches:
            positions = np.asarray(batch, np.int64).reshape(-1)
            if not positions.size or positions.min() < 0 or positions.max() >= len(self._dataset):
                raise InputError(
                    f"batch {self.count} of the sampler: expected positions in [0, {len(self._dataset)}), the size of "
                    f"split {self._dataset.split!r}, and at least one, got {positions.tolist()}"
                )
            self.count += 1
            yield Request(self._epoch, positions, self._dataset.indices[positions])
        self.exhausted = True
