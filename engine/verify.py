"""Check a store against its own checksums and rules."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from wavestream.engine.schema import SPLITS
from wavestream.engine.store import Store, open_store
from wavestream.engine.stored_chunks import StoredChunks

_LISTED = 20


@dataclass(frozen=True)
class VerifyReport:
    """What :func:`verify` found; ``str()`` of it is for people.

    Attributes:
        store: path of the store.
        images: number of images looked at.
        damaged: index -> what is wrong, for every image whose pixels are not what was stored.
        problems: what is wrong with the table, the labels or the split.
    """

    store: Path
    images: int
    damaged: dict[int, str]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damaged and not self.problems

    def __str__(self) -> str:
        if self.ok:
            return f"{self.store}: {self.images} images verified, nothing wrong"
        lines = [f"{self.store}: {len(self.damaged)} of {self.images} images damaged, {len(self.problems)} problems"]
        lines += [f"  {problem}" for problem in self.problems]
        lines += [f"  image {index}: {what}" for index, what in list(self.damaged.items())[:_LISTED]]
        if len(self.damaged) > _LISTED:
            lines.append(f"  and {len(self.damaged) - _LISTED} more images")
        lines.append("ingest again with overwrite, or restore the store from a copy")
        return "\n".join(lines)


def verify(store: str | Path, progress: bool = True) -> VerifyReport:
    """Read everything in a store and check it.

    Checked are: the index checksum of every shard, and that its chunks fill it to the last byte; that every chunk
    decodes; the SHA-256 of every image's pixels, and zeros around them; with the codec ``layers`` the checksum of every
    segment, and that each stream is as the header and the table say, ``layer_ends`` among it; lengths, types and ranges
    of table and labels; that no patient is in two parts of the split.

    With ``layers`` no byte of a shard can change unnoticed. A zstd chunk has no checksum: a byte that does not matter
    to its pixels can.

    Args:
        store: path of the store.
        progress: show a progress bar on standard error.

    Raises:
        StoreError: there is no finished store at ``store``, or its ``images`` or table cannot be read at all.
    """
    opened = open_store(store)
    chunks = StoredChunks(opened)
    problems = (*_table_problems(opened), *chunks.problems())
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        checked = pool.map(chunks.image_problem, range(len(opened)))
        bar = tqdm(checked, total=len(opened), desc="verifying", unit="image", disable=not progress)
        damaged = {index: what for index, what in enumerate(bar) if what is not None}
    return VerifyReport(opened.path, len(opened), damaged, problems)


def _table_problems(store: Store) -> Iterator[str]:
    for name, column in store.header.columns.items():
        values = store.table[name]  # raises for a wrong length or type
        if column.categories and values.size and values.max() >= len(column.categories):
            yield f"table/{name} holds codes outside its {len(column.categories)} categories"
    table = store.table
    height, width = store.header.canvas
    if np.any((table["rows"] < 1) | (table["rows"] > height) | (table["cols"] < 1) | (table["cols"] > width)):
        yield f"table/rows and table/cols name images larger than the canvas of {height} x {width}"
    bottom, right = table["roi_row"] + table["roi_rows"], table["roi_col"] + table["roi_cols"]
    if np.any((table["roi_row"] < 0) | (table["roi_col"] < 0) | (bottom > table["rows"]) | (right > table["cols"])):
        yield "table/roi_* name regions outside their images"
    split = table["split"]
    divided = split != SPLITS.index("none")
    pairs = np.unique(np.stack([table["patient"][divided], split[divided].astype(np.uint64)]), axis=1)
    shared = pairs.shape[1] - len(np.unique(pairs[0]))
    if shared:
        yield f"{shared} patients are in more than one part of the split"
    for name, values in store.labels.items():
        categories = store.categories(name)
        if categories is not None and values.size and not -1 <= values.min() <= values.max() < len(categories):
            yield f"labels/{name} holds codes outside its {len(categories)} categories"
