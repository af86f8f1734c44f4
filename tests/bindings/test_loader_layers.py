"""The loader on layered stores: pixels of compressed epochs, bytes per epoch, reduced resolution, remote stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wavestream.bindings.loader import DataLoader
from wavestream.engine import injection
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError
from wavestream.engine.layers import DEFAULT_FRACTIONS, needed_ranges
from wavestream.engine.schema import VOI_FUNCTIONS
from wavestream.engine.store import open_store
from wavestream.engine.transform import Transform

TRANSFORM = Transform((32, 40), rotate=True, flip=True)
# On a layer, between two, and above the last.
ARTIFACTS = Artifacts(0.75, (0.1, 0.05, 0.001, 0.4))


def load(store: Path | str, artifacts: Artifacts | None = None, **options: Any) -> DataLoader:
    options = {"batch_size": 8, "transform": TRANSFORM, "extras": ("index",), "seed": 3, "threads": 2} | options
    return DataLoader(store, artifacts=artifacts, **options)


def epoch_of(loader: DataLoader) -> dict[int, torch.Tensor]:
    return {
        int(index): image for images, _, extras in loader for index, image in zip(extras["index"], images, strict=True)
    }


def assert_same(left: dict[int, torch.Tensor], right: dict[int, torch.Tensor]) -> None:
    assert list(left) == list(right)
    assert all(torch.equal(left[index], right[index]) for index in left)


def needed(store: Path, indices: Any, keep: Any = 1.0, reduction: int = 0) -> int:
    """Bytes that images need, by the table."""
    ends = open_store(store).table["layer_ends"]
    keeps = np.broadcast_to(keep, np.shape(indices)).tolist()
    return sum(
        stop - start
        for index, kept in zip(indices, keeps, strict=True)
        for start, stop in needed_ranges(ends[index], DEFAULT_FRACTIONS, kept, reduction)
    )


@pytest.fixture(scope="module")
def byte_store(write_store: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8-bit images of mixed sizes, one of them far larger than the others."""
    random = np.random.default_rng(5)
    shapes = [(int(random.integers(20, 60)), int(random.integers(20, 60))) for _ in range(18)]
    shapes[7] = (150, 131)
    images: list[NDArray[Any]] = []
    for rows, cols in shapes:
        row, col = np.mgrid[0:rows, 0:cols]
        images.append((110 + 90 * np.sin(row / 7) * np.cos(col / 5) + random.normal(0, 6, (rows, cols))).astype("u1"))
    return Path(write_store(tmp_path_factory.mktemp("bytes") / "z.zarr", images, labels={"sex": ([0, 1] * 9, "FM")}))


@pytest.fixture(scope="module")
def byte_layers(byte_store: Path, in_layers: Any) -> Path:
    return Path(in_layers(byte_store, byte_store.with_name("l.zarr")))


@pytest.mark.parametrize("stores", [("tiny_store", "layered_store"), ("byte_store", "byte_layers")])
def test_a_compressed_epoch_is_read_and_equals_the_injected_one(
    stores: tuple[str, str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, layered = (request.getfixturevalue(name) for name in stores)
    made = [load(plain, ARTIFACTS), load(layered, ARTIFACTS, place="graph")]
    expected = [[epoch_of(loader) for _ in range(2)] for loader in made]

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("an image was compressed")

    monkeypatch.setattr(injection, "inject", forbidden)
    monkeypatch.setattr(injection, "inject_ragged", forbidden)
    loader = load(layered, ARTIFACTS)
    for epoch in range(2):
        found = epoch_of(loader)
        keep = ARTIFACTS.draw(3, epoch, list(found))
        assert len(set(keep)) == 5
        assert_same(found, expected[0][epoch])
        assert_same(found, expected[1][epoch])
        assert loader.epoch_bytes == needed(layered, list(found), keep)
    assert made[1].epoch_bytes == needed(layered, list(found))


def test_clean_epochs_of_both_codecs_are_the_same(tiny_store: Path, layered_store: Path) -> None:
    loader = load(layered_store)
    assert_same(epoch_of(loader), epoch_of(load(tiny_store)))
    assert loader.epoch_bytes == needed(layered_store, loader.dataset.indices)


@pytest.mark.parametrize("artifacts", [Artifacts(0.75, 0.1, "input", "haar"), Artifacts(0.75, 0.1, wavelet="haar")])
def test_other_artifacts_are_the_same_for_both_codecs(
    tiny_store: Path, layered_store: Path, artifacts: Artifacts
) -> None:
    assert_same(epoch_of(load(layered_store, artifacts)), epoch_of(load(tiny_store, artifacts)))


def test_the_bytes_of_an_epoch_are_those_of_the_batches_handed_out(layered_store: Path) -> None:
    loader = load(layered_store, ARTIFACTS, batch_size=4)
    assert loader.epoch_bytes == 0
    for epoch, most in enumerate((2, 7, 1)):
        seen: list[int] = []
        for number, (*_, extras) in enumerate(loader, 1):
            seen.extend(extras["index"].tolist())
            assert loader.epoch_bytes == needed(layered_store, seen, ARTIFACTS.draw(3, epoch, seen))
            if number == most:
                break
        assert loader.epoch_bytes == needed(layered_store, seen, ARTIFACTS.draw(3, epoch, seen))
    assert loader.bytes_read > loader.epoch_bytes
    state = loader.state_dict()
    resumed = load(layered_store, ARTIFACTS, batch_size=4)
    resumed.load_state_dict(state)
    rest = list(epoch_of(resumed))
    assert resumed.epoch_bytes == needed(layered_store, rest, ARTIFACTS.draw(3, 2, rest)) == resumed.bytes_read


def reduced_transform(**options: Any) -> Transform:
    return Transform((12, 10), resolution="auto", **options)


@pytest.mark.parametrize("artifacts", [None, ARTIFACTS, Artifacts(0.75, 0.2, "input", "haar")])
def test_a_reduced_epoch_needs_fewer_bytes_and_shows_the_same(
    layered_store: Path, tiny_store: Path, artifacts: Artifacts | None
) -> None:
    loader = load(layered_store, artifacts, transform=reduced_transform(rotate=True, flip=True))
    full = load(layered_store, artifacts, transform=Transform((12, 10), rotate=True, flip=True))
    found, expected = epoch_of(loader), epoch_of(full)
    assert list(found) == list(expected)
    source = artifacts is not None and artifacts.domain == "source"
    keep = artifacts.draw(3, 0, list(found)) if artifacts is not None and source else 1.0
    # The smallest region is 40x50 pixels: a quarter would be too small for 12.
    assert loader.epoch_bytes == needed(layered_store, list(found), keep, 1) < full.epoch_bytes
    difference = torch.stack([(found[index] - expected[index]).abs().mean() for index in found])
    assert difference.mean() < 0.05 * torch.stack(list(expected.values())).std()


@pytest.mark.parametrize("reduction", [1, 2, 3])
@pytest.mark.parametrize("roi", [False, True])
def test_a_reduced_image_lies_where_the_full_one_lies(
    write_store: Any, in_layers: Any, tmp_path: Path, reduction: int, roi: bool
) -> None:
    """Of a plane, which the low-pass leaves a plane, the centre is the same to a fraction of a network's pixel."""
    row, col = np.mgrid[0:131, 0:150]
    image = (300 + 11 * row + 5 * col).astype(np.uint16)
    region = {"roi_row": 13, "roi_col": 9, "roi_rows": 101, "roi_cols": 122} if roi else {}
    columns = {"window_center": 2048.0, "window_width": 4096.0, "voi_function": VOI_FUNCTIONS.index("LINEAR_EXACT")}
    columns |= {"value_low": 0, "value_high": 4095}
    store = in_layers(write_store(tmp_path / "s.zarr", [image], **columns, **region), tmp_path / "l.zarr")
    side = (min(101, 122) if roi else 131) // 2**reduction
    transforms = [Transform((side, side), std=1.0, mean=0.0, resolution=name) for name in ("full", "auto")]
    full, reduced = (next(iter(load(store, transform=transform)))[0][0, 0] for transform in transforms)
    steps = torch.diff(full[side // 4 : -side // 4, side // 4 : -side // 4], dim=0).mean()
    inner = slice(side // 4, -(side // 4))
    # Pixels that were aligned by their blocks, not their centres, would be (1 - 2^-r) / 2 pixels away.
    assert (full - reduced)[inner, inner].abs().max() < 0.05 * steps + 2 / 4096


def test_what_auto_cannot_do_is_refused(layered_store: Path, tiny_store: Path) -> None:
    with pytest.raises(InputError, match=r"resolution='auto' needs a store of the codec layers"):
        load(tiny_store, transform=reduced_transform())
    for artifacts, options in (
        (Artifacts(wavelet="haar"), {}),
        (Artifacts(levels=2), {}),
        (Artifacts(), {"place": "graph"}),
    ):
        with pytest.raises(InputError, match=r"reads images at 1/2 of their size, but artifacts of the source domain"):
            load(layered_store, artifacts, transform=reduced_transform(), **options)
        # Where nothing is reduced, nothing stands in the way.
        epoch_of(load(layered_store, artifacts, transform=Transform((32, 40), resolution="auto"), **options))


def test_an_epoch_from_a_url_is_the_local_one(layered_store: Path) -> None:
    fsspec.filesystem("memory").put(str(layered_store), "/epoch.zarr", recursive=True)
    try:
        local, remote = load(layered_store, ARTIFACTS), load("memory://epoch.zarr", ARTIFACTS)
        assert_same(epoch_of(remote), epoch_of(local))
        assert remote.epoch_bytes == local.epoch_bytes
    finally:
        fsspec.filesystem("memory").rm("/epoch.zarr", recursive=True)
