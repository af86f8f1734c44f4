"""Feeding the pipeline: what is read or compressed, with which arguments, and that memory is used again."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wavestream.engine import injection
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import CodecError, InputError, MissingExtraError, StoreError
from wavestream.engine.feed import Feeder
from wavestream.engine.injection import Injector
from wavestream.engine.layers import DEFAULT_FRACTIONS, decode_image, needed_ranges
from wavestream.engine.reader import Reader
from wavestream.engine.store import open_store
from wavestream.kernels import inject

INDICES = np.array([7, 0, 44, 5, 7])


def feeder(store: Path, artifacts: Artifacts | None, reduction: int = 0) -> Feeder:
    reader = Reader(open_store(store), 2)
    injector = None if artifacts is None else Injector(artifacts, reader.store, 3, threads=2)
    return Feeder(reader, injector, device_id=None, reduction=reduction)


def stored(store: Path, indices: Any, reduction: int = 0) -> list[Any]:
    """The images, each as large as it is."""
    reader = Reader(open_store(store), 1)
    canvases = reader.read(indices, reduction=reduction)
    sizes = reader.sizes(indices, reduction).tolist()
    return [canvas[:rows, :cols] for canvas, (rows, cols) in zip(canvases, sizes, strict=True)]


def assert_same(found: Any, expected: Any) -> None:
    for one, image in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, image)


@pytest.fixture
def equal_store(write_store: Any, tmp_path: Path) -> Path:
    """Images of one size, smaller than the canvas but for the last."""
    random = np.random.default_rng(2)
    shapes = [(24, 31)] * 6 + [(50, 60)]
    images = [random.integers(0, 4096, shape, np.uint16) for shape in shapes]
    return Path(write_store(tmp_path / "equal.zarr", images, value_low=0, value_high=4095))


def test_without_source_artifacts_images_are_as_stored(tiny_store: Path, layered_store: Path) -> None:
    for store in (tiny_store, layered_store):
        for artifacts in (None, Artifacts(0.0), Artifacts(1.0, 1.0)):
            assert_same(feeder(store, artifacts).prepare(0, INDICES).images, stored(store, INDICES))


def test_images_of_one_size_are_one_array_no_larger_than_they_are(equal_store: Path) -> None:
    batch = feeder(equal_store, None).prepare(0, np.arange(6)).images
    assert isinstance(batch, np.ndarray)
    assert batch.shape == (6, 24, 31)
    assert_same(batch, stored(equal_store, range(6)))
    mixed = feeder(equal_store, None).prepare(0, np.arange(7)).images
    assert [image.shape for image in mixed] == [(24, 31)] * 6 + [(50, 60)]
    assert_same(mixed, stored(equal_store, range(7)))


@pytest.mark.parametrize("ragged", [False, True])
def test_one_call_compresses_the_batch_with_the_tables_sizes_and_ranges(
    equal_store: Path, monkeypatch: pytest.MonkeyPatch, ragged: bool
) -> None:
    calls = []

    def noted(images: Any, keep: Any, wavelet: str, levels: Any, **options: Any) -> None:
        calls.append((images, keep, wavelet, levels, options))

    monkeypatch.setattr(injection, "inject_ragged" if ragged else "inject", noted)
    artifacts, indices = Artifacts(0.9, (0.3, 0.1), wavelet="haar", levels=2), np.array([6 if ragged else 0, 1, 2, 3])
    batch = feeder(equal_store, artifacts).prepare(9, indices)
    ((images, keep, wavelet, levels, options),) = calls
    assert images is options["out"] is batch.images
    assert (wavelet, levels, options["threads"]) == ("haar", 2, 2)
    np.testing.assert_array_equal(keep, artifacts.draw(3, 9, indices))
    np.testing.assert_array_equal(options["value_range"], [[0, 4095]] * 4)
    if not ragged:
        np.testing.assert_array_equal(options["sizes"], [[24, 31]] * 4)


def test_compressed_images_are_read_from_layers_and_nothing_is_compressed(
    tiny_store: Path, layered_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = Artifacts(0.75, (0.1, 0.05, 0.01))
    indices = np.arange(45)
    expected = feeder(tiny_store, artifacts).prepare(4, indices)

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("an image was compressed")

    monkeypatch.setattr(injection, "inject", forbidden)
    monkeypatch.setattr(injection, "inject_ragged", forbidden)
    batch = feeder(layered_store, artifacts).prepare(4, indices)
    assert_same(batch.images, expected.images)
    keep, ends = artifacts.draw(3, 4, indices), open_store(layered_store).table["layer_ends"]
    assert len(set(keep)) == 4
    assert batch.bytes_read == sum(
        stop - start
        for index, kept in enumerate(keep.tolist())
        for start, stop in needed_ranges(ends[index], DEFAULT_FRACTIONS, kept)
    )
    assert batch.bytes_read < ends[:, -1, -1].sum() / 2


@pytest.mark.parametrize("artifacts", [Artifacts(0.75, 0.1, wavelet="haar"), Artifacts(0.75, 0.1, levels=2)])
def test_other_artifacts_are_made_of_whole_images(tiny_store: Path, layered_store: Path, artifacts: Artifacts) -> None:
    batch = feeder(layered_store, artifacts).prepare(4, INDICES)
    assert_same(batch.images, feeder(tiny_store, artifacts).prepare(4, INDICES).images)
    ends = open_store(layered_store).table["layer_ends"]
    assert batch.bytes_read == ends[INDICES, -1, -1].sum()


def test_reduced_images(layered_store: Path) -> None:
    batch = feeder(layered_store, None, 2).prepare(0, INDICES)
    assert_same(batch.images, stored(layered_store, INDICES, 2))
    artifacts = Artifacts(1.0, 0.01)
    compressed = feeder(layered_store, artifacts, 1).prepare(0, INDICES)
    reader = Reader(open_store(layered_store), 1)
    expected = reader.read(INDICES, 0.01, 1)
    for image, canvas in zip(compressed.images, expected, strict=True):
        np.testing.assert_array_equal(image, canvas[: image.shape[0], : image.shape[1]])
    assert compressed.bytes_read == reader.bytes_read < batch.bytes_read


def test_an_image_is_compressed_like_alone(tiny_store: Path) -> None:
    found = feeder(tiny_store, Artifacts(1.0, 0.02)).prepare(0, INDICES).images
    for image, clean in zip(found, stored(tiny_store, INDICES), strict=True):
        np.testing.assert_array_equal(image, inject(clean, 0.02, "cdf53", value_range=(0, 4095)))


def test_released_memory_is_used_again(tiny_store: Path) -> None:
    one = feeder(tiny_store, None)
    first, second = one.prepare(0, INDICES), one.prepare(0, INDICES)
    assert not np.shares_memory(first.buffer, second.buffer)
    one.release(first)
    third = one.prepare(0, INDICES[:2])
    assert third.buffer is first.buffer
    assert all(np.shares_memory(image, third.buffer) for image in third.images)
    assert len(third.images) == 2
    one.release(third)
    assert one.prepare(0, np.arange(9)).buffer is not first.buffer
    assert_same(second.images, stored(tiny_store, INDICES))


def test_an_image_that_cannot_be_compressed_is_named(write_store: Any, tmp_path: Path) -> None:
    for shapes in ([(16, 16)] * 4, [(16, 16), (16, 16), (17, 16), (16, 16)]):
        values = (1, 2, 2**25, 4)
        images = [np.full(shape, value, np.int32) for shape, value in zip(shapes, values, strict=True)]
        store = write_store(tmp_path / f"{len(set(shapes))}.zarr", images, value_low=0, value_high=2**26)
        with pytest.raises(InputError, match=r"sample 1.*within the batch of images \[3, 2\]"):
            feeder(store, Artifacts(1.0, 0.1, wavelet="haar")).prepare(0, np.array([3, 2]))


def test_a_gpu_needs_cupy(tiny_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(MissingExtraError, match=r'device="cuda" needs cupy.*wavestream\[gpu\]'):
        Feeder(Reader(open_store(tiny_store), 1), None, device_id=0)


class PlayedArray(np.ndarray):
    """A NumPy array with the method of CuPy's that brings host memory to the device."""

    def set(self, values: np.ndarray, stream: Any) -> None:
        assert stream.entered
        self[...] = values


class PlayedStream:
    """Notes whether it is the current one, and that it was waited for."""

    entered = synchronised = False

    def __enter__(self) -> None:
        self.entered = True

    def __exit__(self, *_: Any) -> None:
        self.entered = False

    def synchronize(self) -> None:
        self.synchronised = True


def played_cupy(monkeypatch: pytest.MonkeyPatch) -> PlayedStream:
    """CuPy played by NumPy, as far as the feeder uses it; its only stream."""
    stream = PlayedStream()
    cuda = SimpleNamespace(Device=lambda number: contextlib.nullcontext(), Stream=lambda non_blocking: stream)
    cupy = SimpleNamespace(cuda=cuda, empty=lambda size, dtype: np.empty(size, dtype).view(PlayedArray))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace(empty_pinned=np.empty))
    return stream


def played_decoder(monkeypatch: pytest.MonkeyPatch, stream: PlayedStream) -> list[int]:
    """The device's decoder played by the CPU's; notes how many bytes it was given."""
    given: list[int] = []

    def decode_batch(streams: Any, keeps: Any, reduction: int, out: Any) -> None:
        assert stream.entered
        assert isinstance(out, PlayedArray)
        for compressed, keep, image in zip(streams, keeps, out, strict=True):
            given.append(len(compressed))
            decode_image(compressed, keep, reduction, out=np.asarray(image))

    monkeypatch.setattr("wavestream.engine.layers_cuda.decode_batch", decode_batch)
    return given


@pytest.mark.parametrize("artifacts", [None, Artifacts(0.5, (0.1, 0.01))])
@pytest.mark.parametrize("reduction", [0, 1])
def test_layers_are_decoded_on_the_device(
    equal_store: Path,
    in_layers: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    artifacts: Artifacts | None,
    reduction: int,
) -> None:
    given = played_decoder(monkeypatch, played_cupy(monkeypatch))
    store = in_layers(equal_store, tmp_path / "layers.zarr")
    reader = Reader(open_store(store), 2)
    alike, mixed = np.arange(6), np.arange(7)
    injector = None if artifacts is None else Injector(artifacts, reader.store, 3, 2)
    there = Feeder(reader, injector, device_id=0, reduction=reduction)
    batch = there.prepare(1, alike)
    assert len(given) == len(alike)
    assert batch.bytes_read == reader.bytes_read > 0
    assert isinstance(batch.images, PlayedArray)
    assert_same(batch.images, feeder(store, artifacts, reduction).prepare(1, alike).images)
    there.release(batch)
    # Images of different sizes are no array: they are decoded before.
    assert_same(there.prepare(1, mixed).images, feeder(store, artifacts, reduction).prepare(1, mixed).images)
    assert len(given) == len(alike)


def test_damage_found_on_the_device_names_the_images(
    equal_store: Path, in_layers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played_cupy(monkeypatch)

    def decode_batch(*_: Any) -> None:
        raise CodecError("sample 1 of the batch: layer 2, its tables do not fit into it")

    monkeypatch.setattr("wavestream.engine.layers_cuda.decode_batch", decode_batch)
    reader = Reader(open_store(in_layers(equal_store, tmp_path / "layers.zarr")), 2)
    with pytest.raises(StoreError, match=r"sample 1 .*within the batch of images \[4, 2\].*wavestream verify"):
        Feeder(reader, None, device_id=0).prepare(0, np.array([4, 2]))


@pytest.mark.parametrize("layers", [False, True])
def test_images_are_brought_to_a_device_and_compressed_there(
    tiny_store: Path, layered_store: Path, monkeypatch: pytest.MonkeyPatch, layers: bool
) -> None:
    """CuPy played by NumPy: nothing but the device's copy is compressed, in its stream, and the host waits."""
    stream = played_cupy(monkeypatch)
    artifacts, store = Artifacts(1.0, 0.05), layered_store if layers else tiny_store
    reader = Reader(open_store(store), 2)
    compress = Injector.apply

    def noted(self: Injector, images: Any, *arguments: Any) -> None:
        assert stream.entered
        assert not layers
        compress(self, [np.asarray(image) for image in images], *arguments)

    monkeypatch.setattr(Injector, "apply", noted)
    batch = Feeder(reader, Injector(artifacts, reader.store, 3, 2), device_id=0).prepare(0, INDICES)
    assert stream.synchronised
    assert all(isinstance(image, PlayedArray) for image in batch.images)
    assert not any(np.shares_memory(image, batch.buffer) for image in batch.images)
    monkeypatch.undo()
    assert_same(batch.images, feeder(store, artifacts).prepare(0, INDICES).images)
    assert batch.bytes_read == reader.bytes_read
