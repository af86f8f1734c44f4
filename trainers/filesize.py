"""The bytes-only guard: how well the stored size of an image alone predicts its label.

A classifier that sees compressed images could learn from how much detail was stored, and collections differ in how
their classes were acquired. An AUC is only worth reading beside the one that needs no pixels at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wavestream.engine.errors import StoreError
from wavestream.engine.imagearray import read_image_array
from wavestream.engine.shards import shard_path
from wavestream.engine.store import Store
from wavestream.trainers.statistics import auc, bootstrap_auc

WARN_ABOVE = 0.6


@dataclass(frozen=True)
class SizeGuard:
    """What file size alone predicts.

    Attributes:
        auc: AUC of the stored bytes per image on the test split, their direction learned on the train split.
        ci_low: lower end of its 95 % interval over patients.
        ci_high: upper end of it.
        auc_everywhere: AUC over all labelled images, the direction chosen on the same images (so at least 0.5).
        images: labelled images of the test split.
    """

    auc: float
    ci_low: float
    ci_high: float
    auc_everywhere: float
    images: int

    @property
    def warning(self) -> str:
        """A sentence for the report when size alone predicts the label; empty when it does not."""
        worst = max(self.auc, self.auc_everywhere)
        if not worst > WARN_ABOVE:
            return ""
        return (
            f"File size alone reaches an AUC of {worst:.2f} here (above {WARN_ABOVE}): the classes differ in how well "
            "they compress, so part of any AUC below may come from acquisition rather than anatomy."
        )


def stored_bytes(store: Store) -> NDArray[np.int64]:
    """Bytes of each image in the store, ``(N,)``, from the indexes of its shards; 0 for an image stored as empty.

    Raises:
        StoreError: a shard is missing or too short for its index.
    """
    array = read_image_array(store)
    sizes = np.zeros(array.count, np.int64)
    length = 16 * array.shard_images + 4
    for first in range(0, array.count, array.shard_images):
        shard = shard_path(store.path, first // array.shard_images)
        try:
            with shard.open("rb") as file:
                file.seek(-length, 2)
                index = np.frombuffer(file.read(length - 4), "<u8").reshape(-1, 2)
        except OSError as error:
            raise StoreError(f"{shard}: the shard index cannot be read ({error}); run `wavestream verify`") from error
        last = min(first + array.shard_images, array.count)
        present = index[: last - first, 0] != np.uint64(2**64 - 1)
        sizes[first:last] = np.where(present, index[: last - first, 1], 0)
    return sizes


def size_guard(store: Store, target: str) -> SizeGuard:
    """Measure what the stored bytes per image predict of the label column ``target``.

    Raises:
        InputError: no such categorical label column.
        StoreError: a shard index cannot be read.
    """
    codes, categories = store.target(target)
    sizes = stored_bytes(store).astype(np.float64)
    labelled = np.flatnonzero(codes >= 0)
    train, test = (part[codes[part] >= 0] for part in (store.split_indices("train"), store.split_indices("test")))
    held_out = _directed(sizes, codes, train, len(categories))[test]
    everywhere = _directed(sizes, codes, labelled, len(categories))[labelled]
    interval = bootstrap_auc(codes[test], held_out, store.table["patient"][test])
    return SizeGuard(interval.estimate, interval.low, interval.high, auc(codes[labelled], everywhere), len(test))


def _directed(
    sizes: NDArray[np.float64], codes: NDArray[np.int64], indices: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """The sizes as one score per class, ``(N, classes)``, signed so that each separates its class on ``indices``."""
    columns = np.empty((len(sizes), classes))
    for code in range(classes):
        area = auc((codes[indices] == code).astype(np.int64), sizes[indices])
        columns[:, code] = -sizes if area < 0.5 else sizes
    return columns
