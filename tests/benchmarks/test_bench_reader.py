"""The reader's benchmark at a tiny size: every contestant reads the same images, and the bytes are counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wavestream.benchmarks import bench_reader
from wavestream.benchmarks.bench_reader import CLEAN, HEADER, PNG, ZARR, check, contestants, main, write_peers
from wavestream.benchmarks.reader_peers import zarr_threads
from wavestream.engine.layers import needed_ranges
from wavestream.engine.reader import Reader
from wavestream.engine.store import Store, open_store

ROOT = Path(__file__).resolve().parents[2]
PARTS = [f"Reader, keep {keep:g}" for keep in (0.1, 0.01, 0.001)] + ["Reader, size 1/2"]


@pytest.fixture(scope="module")
def store(layered_store: Path) -> Store:
    """Images of unequal size in layers."""
    return open_store(layered_store)


@pytest.fixture(scope="module")
def exports(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the peers read."""
    return write_peers(store, tmp_path_factory.mktemp("exports"))


@pytest.mark.parametrize("threads", [1, 2])
def test_all_read_the_same_images(store: Store, exports: Path, threads: int) -> None:
    expected = Reader(store).read(np.arange(7))
    with zarr_threads(threads):
        readers = contestants(store, exports, 4, threads)
        assert set(PARTS) < set(readers)
        for name, batches in readers.items():
            if name not in PARTS:
                np.testing.assert_array_equal(batches.read(np.arange(7)), expected, err_msg=name)
        check(readers, store, np.arange(7))


def test_signed_images_come_back_from_png(write_store: object, in_layers: object, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = [random.integers(-500, 500, (9 + index, 8)).astype(np.int16) for index in range(4)]
    path = write_store(tmp_path / "s.zarr", images, value_low=-500, value_high=500)  # type: ignore[operator]
    signed = open_store(in_layers(path, tmp_path / "layers.zarr"))  # type: ignore[operator]
    with zarr_threads(1):
        check(contestants(signed, write_peers(signed, tmp_path), 2, 1), signed, np.arange(4))


def test_other_pixels_are_no_contest(store: Store, exports: Path) -> None:
    with zarr_threads(1):
        readers = contestants(store, exports, 4, 1)
        readers[PNG].read = lambda indices: Reader(store).read(indices) + 1
        with pytest.raises(ArithmeticError, match="PNG files reads other pixels"):
            check(readers, store, np.arange(3))


def test_bytes_are_counted(store: Store, exports: Path) -> None:
    with zarr_threads(1):
        readers = contestants(store, exports, 5, 1, seed=3)
        for batches in readers.values():
            assert batches() == 5
    indices = np.random.default_rng(3).choice(len(store), 5, replace=False)
    chunks = [store.table["layer_ends"][index] for index in indices]
    needed = [needed_ranges(ends, store.header.layers, 0.01) for ends in chunks]
    assert readers[CLEAN].bytes_per_batch == sum(int(ends[-1, -1]) for ends in chunks)
    assert readers["Reader, keep 0.01"].bytes_per_batch == sum(b - a for parts in needed for a, b in parts)
    index_bytes = 16 * store.header.shard_images + 4
    assert readers[ZARR].bytes_per_batch == sum(int(ends[-1, -1]) for ends in chunks) + 5 * index_bytes
    sizes = [(exports / "png" / "images" / f"{index:06d}.png").stat().st_size for index in indices]
    assert readers[PNG].bytes_per_batch == sum(sizes)


def test_the_command_prints_a_table(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--store", str(store.path), "--batch", "4", "--threads", "1", "2", "--rounds", "1", "--markdown"]
    main(words)
    printed = capsys.readouterr().out.splitlines()
    assert "45 images on a 64x80 canvas of uint16, batches of 4, medians of 1 interleaved rounds" in printed[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed if line.startswith("| ")]
    assert tuple(rows[0]) == HEADER
    assert [row[:2] for row in rows[1:]] == [[name, threads] for threads in "12" for name in bench_reader._NAMES]
    for row in rows[1:]:
        assert all(float(cell.replace(",", "")) > 0 for cell in row[2:])
        assert row[0] != ZARR or row[4] == "1.00"
        assert row[0] != PNG or row[5] == "1.00"
    with pytest.raises(SystemExit):
        main([*words[:2], "--batch", "46"])
    assert "expected a store of at least 46 images, got 45" in capsys.readouterr().err


def test_every_contestant_is_collected_by_pytest() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "benchmarks/bench_reader.py"]
    listed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    for name in ("Reader, keep 0.01-2", "zarr-python, layers store-1", "PNG files-1"):
        assert f"::test_speed[{name}]" in listed
