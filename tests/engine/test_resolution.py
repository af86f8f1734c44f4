"""Reduced resolution: how far, for which stores, and where the regions then lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wavestream.engine.errors import InputError
from wavestream.engine.resolution import chosen_reduction, reduced, reduced_regions
from wavestream.engine.store import open_store
from wavestream.engine.transform import Transform


def test_sides_are_rounded_up() -> None:
    assert [reduced(side, 3) for side in (1, 7, 8, 9, 16, 17)] == [1, 1, 1, 2, 2, 3]
    assert [reduced(side, 0) for side in (1, 7, 8)] == [1, 7, 8]
    np.testing.assert_array_equal(reduced(np.array([[5, 6]]), 1), [[3, 3]])


def test_the_largest_reduction_that_leaves_the_input_enough(write_store: Any, in_layers: Any, tmp_path: Path) -> None:
    images = [np.zeros((80, 100), np.uint8), np.zeros((64, 120), np.uint8)]
    columns = {"roi_rows": [80, 48], "roi_cols": [100, 120]}
    store = open_store(in_layers(write_store(tmp_path / "s.zarr", images, **columns), tmp_path / "l.zarr"))
    # The smallest side is 64, and 48 of the regions.
    for size, whole, region in [(8, 3, 2), (9, 2, 2), (6, 3, 3), (12, 2, 2), (13, 2, 1), (16, 2, 1), (17, 1, 1),
                                (24, 1, 1), (25, 1, 0), (32, 1, 0), (33, 0, 0), (500, 0, 0)]:  # fmt: skip
        transform = Transform((size, size), roi=False, resolution="auto")
        assert chosen_reduction(store, transform) == whole, size
        assert chosen_reduction(store, Transform((size, size), resolution="auto")) == region, size
        # Turned or not, in training and evaluation, of an oblong input the larger side counts.
        assert chosen_reduction(store, Transform((4, size), resolution="auto")) == region, size
        assert chosen_reduction(store, Transform((size, 4), resolution="auto", rotate=True)) == region, size
        assert chosen_reduction(store, Transform((size, size))) == 0


def test_without_layers_there_is_only_full_resolution(tiny_store: Path) -> None:
    with pytest.raises(
        InputError, match=r"needs a store of the codec layers, and .*tiny\.zarr has zstd, whose images can"
    ):
        chosen_reduction(open_store(tiny_store), Transform((500, 500), resolution="auto"))
    assert chosen_reduction(open_store(tiny_store), Transform((8, 8))) == 0


def test_full_resolution_leaves_regions_as_they_are() -> None:
    regions = np.array([[3, 5, 20, 31], [0, 0, 1, 1]], np.int32)
    found = reduced_regions(regions, np.array([[40, 40], [1, 1]]), 0)
    np.testing.assert_array_equal(found.start, regions[:, :2])
    np.testing.assert_array_equal(found.extent, regions[:, 2:])
    np.testing.assert_array_equal(found.low, 0)
    np.testing.assert_array_equal(found.high, regions[:, 2:])


@pytest.mark.parametrize("reduction", [1, 2, 3])
def test_boxes_cover_the_points_of_their_regions(reduction: int) -> None:
    """The point x lies at (x - 1/2) / 2^r + 1/2; the box has every pixel that the region touches, and no other."""
    random, step = np.random.default_rng(0), 2**reduction
    first, size = random.integers(0, 300, (500, 2)), random.integers(step, 300, (500, 2))
    sizes = first + size + random.integers(0, 3, (500, 2)) * random.integers(0, 20, (500, 2))
    found = reduced_regions(np.column_stack([first, size]).astype(np.int32), sizes, reduction)
    low, high = (edge / step - 0.5 / step + 0.5 for edge in (first, first + size))
    np.testing.assert_allclose(found.start + found.low, low, atol=1e-4)
    np.testing.assert_allclose(found.start + found.high, high, atol=1e-4)
    np.testing.assert_array_equal(found.start, np.floor(low))
    np.testing.assert_array_equal(found.start + found.extent, np.minimum(np.ceil(high), -(-sizes // step)))
    assert (found.high - found.extent < 0.5).all()
    assert (found.extent >= 1).all()


def test_regions_that_are_whole_arrays_need_no_cutting() -> None:
    sizes = np.array([[17, 32]] * 3)
    whole = reduced_regions(np.array([[0, 0, 17, 32]] * 3, np.int32), sizes, 3)
    assert whole.cover(3, 4)
    assert not whole.cover(3, 5)
    assert not reduced_regions(np.array([[0, 0, 17, 32], [9, 0, 8, 32]], np.int32), sizes[:2], 3).cover(3, 4)
