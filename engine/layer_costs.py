"""What each compression level of a layered store costs to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wavestream.engine.store import Store

SIZES = ("1/8", "1/4", "1/2", "1/1")
"""Sides of the images that may be read, relative to those stored; the last axis of ``table/layer_ends``."""


@dataclass(frozen=True)
class LayerCost:
    """One keep of a store.

    Attributes:
        keep: fraction of the coefficients kept; 1 is lossless.
        bytes: size (``"1/8"`` to ``"1/1"`` of the stored sides) -> bytes to read for all images of the store.
        bits_per_pixel: size -> the same in bits per pixel of the images as stored.
    """

    keep: float
    bytes: dict[str, int]
    bits_per_pixel: dict[str, float]


def layer_costs(store: Store) -> tuple[LayerCost, ...]:
    """The costs of every layer's keep, smallest first and at last those of everything; empty without layers."""
    header, table = store.header, store.table
    if header.codec != "layers":
        return ()
    ends = table["layer_ends"].astype(np.int64)
    layer_starts = np.pad(ends[:, :-1, -1], ((0, 0), (1, 0)))
    totals = np.cumsum((ends - layer_starts[:, :, None]).sum(axis=0), axis=0)
    pixels = int((table["rows"].astype(np.int64) * table["cols"]).sum())
    return tuple(
        LayerCost(
            keep=keep,
            bytes=dict(zip(SIZES, costs, strict=True)),
            bits_per_pixel={size: 8 * cost / pixels for size, cost in zip(SIZES, costs, strict=True)},
        )
        for keep, costs in zip((*header.layers, 1.0), totals.tolist(), strict=True)
    )


def layer_lines(costs: Sequence[LayerCost]) -> list[str]:
    """The costs as a table for people: a row per keep, bits per stored pixel by size, and bytes at full size."""
    if not costs:
        return []
    lines = [f"{'keep':<12} {''.join(f'{size:>9}' for size in SIZES)} {'bytes':>16}   bits per stored pixel, by size"]
    for cost in costs:
        bits = "".join(f"{cost.bits_per_pixel[size]:9.4f}" for size in SIZES)
        lines.append(f"  {f'{cost.keep:.7g}':<10} {bits} {cost.bytes['1/1']:>16,}")
    return lines
