"""Feeding the pipeline: what is compressed, with which arguments, and that memory is used again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wavestream.engine import injection
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError, MissingExtraError
from wavestream.engine.feed import Feeder
from wavestream.engine.injection import Injector
from wavestream.engine.reader import Reader
from wavestream.engine.store import open_store

INDICES = np.array([7, 0, 44, 5, 7])


def feeder(store: Path, artifacts: Artifacts | None) -> Feeder:
    reader = Reader(open_store(store), 2)
    injector = None if artifacts is None else Injector(artifacts, reader.store, 3, threads=2)
    return Feeder(reader, injector, device_id=None)


def test_without_source_artifacts_images_are_as_stored(tiny_store: Path) -> None:
    stored = Reader(open_store(tiny_store), 1).read(INDICES)
    for artifacts in (None, Artifacts(0.0), Artifacts(1.0, 1.0)):
        np.testing.assert_array_equal(feeder(tiny_store, artifacts).prepare(0, INDICES).images, stored)


def test_one_call_compresses_the_batch_with_the_tables_sizes_and_ranges(
    tiny_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def noted(images: Any, keep: Any, wavelet: str, levels: Any, **options: Any) -> None:
        calls.append((images, keep, wavelet, levels, options))

    monkeypatch.setattr(injection, "inject", noted)
    artifacts = Artifacts(0.5, (0.3, 0.1), wavelet="haar", levels=2)
    batch = feeder(tiny_store, artifacts).prepare(9, INDICES)
    ((images, keep, wavelet, levels, options),) = calls
    table = open_store(tiny_store).table
    assert images is batch.images
    assert options["out"] is batch.images
    assert (wavelet, levels, options["threads"]) == ("haar", 2, 2)
    np.testing.assert_array_equal(keep, artifacts.draw(3, 9, INDICES))
    np.testing.assert_array_equal(options["sizes"], np.column_stack([table["rows"], table["cols"]])[INDICES])
    np.testing.assert_array_equal(options["value_range"], [[0, 4095]] * 5)


def test_pixels_outside_an_image_stay(tiny_store: Path) -> None:
    stored = Reader(open_store(tiny_store), 1).read([7])
    found = feeder(tiny_store, Artifacts(1.0, 0.02)).prepare(0, np.array([7])).images
    table = open_store(tiny_store).table
    rows, cols = table["rows"][7], table["cols"][7]
    assert not np.array_equal(found[0, :rows, :cols], stored[0, :rows, :cols])
    assert not found[0, rows:].any()
    assert not found[0, :, cols:].any()


def test_released_memory_is_used_again(tiny_store: Path) -> None:
    one = feeder(tiny_store, None)
    first, second = one.prepare(0, INDICES), one.prepare(0, INDICES)
    assert not np.shares_memory(first.images, second.images)
    one.release(first)
    third = one.prepare(0, INDICES[:2])
    assert np.shares_memory(first.images, third.images)
    assert len(third.images) == 2
    one.release(third)
    assert not np.shares_memory(one.prepare(0, np.arange(9)).images, second.images)


def test_an_image_that_cannot_be_compressed_is_named(write_store: Any, tmp_path: Path) -> None:
    images = [np.full((16, 16), value, np.int32) for value in (1, 2, 2**25, 4)]
    store = write_store(tmp_path / "s.zarr", images, value_low=0, value_high=2**26)
    with pytest.raises(InputError, match=r"sample 1.*within the batch of images \[3, 2\]"):
        feeder(store, Artifacts(1.0, 0.1, wavelet="haar")).prepare(0, np.array([3, 2]))


def test_a_gpu_needs_cupy(tiny_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(MissingExtraError, match=r'device="cuda" needs cupy.*wavestream\[gpu\]'):
        Feeder(Reader(open_store(tiny_store), 1), None, device_id=0)
