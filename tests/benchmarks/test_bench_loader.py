"""The loader's benchmark at a tiny size: every contestant runs, and the peers give what we give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from wavestream.benchmarks.bench_loader import BASELINE, Setting, contestants, main, synthesise, table_of
from wavestream.benchmarks.loader_peers import PngFolders, PyWaveletsOnTheFly, compress, write_png_folders
from wavestream.bindings.loader import DataLoader
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.store import open_store
from wavestream.engine.transform import Transform
from wavestream.kernels import inject

TINY = Setting(images=10, size=64, input_size=32, batch_size=4, threads=1, rounds=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesise(tmp_path_factory.mktemp("bench"), TINY)


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    main(["--store", str(store), "--input-size", "32", "--batch-size", "4", "--threads", "1", "--rounds", "2"])
    printed = capsys.readouterr().out.splitlines()
    rows = [line for line in printed if line.startswith("| ") and "loader" not in line]
    assert len(rows) == 6
    assert rows[0].startswith(f"| {BASELINE} |")
    assert rows[0].endswith("| 1.00 |")
    assert all(float(row.split("|")[2]) > 0 for row in rows)
    assert any("commit " in line for line in printed)


def test_every_contestant_gives_the_same_images_when_clean(store: Path, tmp_path: Path) -> None:
    opened = open_store(store)
    indices = opened.split_indices("train")
    loader = DataLoader(opened, batch_size=100, transform=Transform((32, 32)), shuffle=False, threads=1)
    ours = next(iter(loader))[0]
    folders = write_png_folders(opened, tmp_path / "png", (1.0, 0.1), (32, 32))
    png = torch.stack([image for image, _ in torch.utils.data.DataLoader(PngFolders(folders, (32, 32), 0.0), None)])
    raw = PyWaveletsOnTheFly(opened, (32, 32), Artifacts(0.0, 0.1))
    wavelets = torch.stack([raw[number][0] for number in range(len(raw))])
    assert ours.shape == png.shape == wavelets.shape == (len(indices), 1, 32, 32)
    # 8 bits of PNG; borders, where Pillow and DALI differ, aside.
    assert (ours - png).abs().max() < 0.5 / 255 / 0.25 + 1e-4
    assert (ours - wavelets)[..., 1:-1, 1:-1].abs().max() < 0.002
    assert not torch.equal(torch.stack([PngFolders(folders, (32, 32), 1.0)[i][0] for i in range(len(indices))]), png)


def test_the_peers_compression_is_ours() -> None:
    image = np.random.default_rng(0).normal(0, 1, (50, 61)).cumsum(0).cumsum(1).astype(np.float32)
    np.testing.assert_allclose(compress(image, 0.05), inject(image, 0.05), atol=1e-3 * np.abs(image).max())


def test_table_ratios() -> None:
    table = table_of({BASELINE: [100.0, 300.0, 200.0], "ours": [500.0]}).splitlines()
    assert table[-2] == f"| {BASELINE} | 200 | 100 to 300 | 1.00 |"
    assert table[-1] == "| ours | 500 | 500 to 500 | 2.50 |"


def test_contestants_serve_whole_epochs(store: Path, tmp_path: Path) -> None:
    opened = open_store(store)
    loaders = contestants(opened, tmp_path, TINY)
    for name, loader in loaders.items():
        assert sum(len(images) for images, *_ in loader) == len(opened.split_indices("train")), name
