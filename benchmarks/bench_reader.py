"""Random batches out of a store, against other ways to read them: python -m wavestream.benchmarks.bench_reader

Images per second and bytes read per batch of the reader (everything; the images at three compression levels; at half
the size) and of the peers in :mod:`wavestream.benchmarks.reader_peers`, all on the same images and the same batches, in
interleaved rounds. The files lie in the page cache: this measures decoding and what surrounds it, not the disk.

``pytest benchmarks/bench_reader.py`` runs the same contestants under pytest-benchmark.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wavestream.benchmarks.bench_loader import Setting, synthesise
from wavestream.benchmarks.reader_peers import FileReader, Indices, ZarrReader, zarr_threads
from wavestream.benchmarks.rounds import Contest, circumstances, measure, retain_memory
from wavestream.benchmarks.tables import aligned, markdown
from wavestream.engine.export import export
from wavestream.engine.reader import Reader
from wavestream.engine.store import Store, open_store

CLEAN = "Reader, everything"
ZARR, PNG = "zarr-python, layers store", "PNG files"
HEADER = ("reader", "threads", "images/s", "bytes per batch", f"times {ZARR}", f"times {PNG}")
KEEPS = (0.1, 0.01, 0.001)
_BATCHES = 16


@dataclass
class Batches:
    """Reads the next of the batches with every call, and counts.

    Attributes:
        reader: has ``bytes_read``.
        read: reads a batch.
        batches: (n, batch) indices, over and over.
        calls: how many were read.
    """

    reader: Any
    read: Callable[[Indices], NDArray[Any]]
    batches: Iterator[Indices]
    calls: int = 0

    def __call__(self) -> int:
        self.calls += 1
        return len(self.read(next(self.batches)))

    @property
    def bytes_per_batch(self) -> float:
        """Mean over the calls."""
        return float(self.reader.bytes_read / self.calls)


def contestants(store: Store, folder: Path, batch: int, threads: int, seed: int = 0) -> dict[str, Batches]:
    """Every reader by name; ``folder`` holds the exports ``zarr-zstd``, ``png`` and ``npy`` of the store."""
    canvas, dtype = store.header.canvas, store.header.dtype
    random = np.random.default_rng(seed)
    drawn = [random.choice(len(store), batch, replace=False) for _ in range(_BATCHES)]

    def ours(opened: Store, **options: Any) -> Batches:
        reader = Reader(opened, threads=threads)
        return Batches(reader, partial(reader.read, **options), itertools.cycle(drawn))

    def peer(reader: ZarrReader | FileReader) -> Batches:
        return Batches(reader, reader.read, itertools.cycle(drawn))

    return {
        CLEAN: ours(store),
        **{f"Reader, keep {keep:g}": ours(store, keep=keep) for keep in KEEPS},
        "Reader, size 1/2": ours(store, reduction=1),
        "Reader, zstd store": ours(open_store(folder / "zarr-zstd")),
        ZARR: peer(ZarrReader(store.path, threads)),
        "zarr-python, zstd store": peer(ZarrReader(folder / "zarr-zstd", threads)),
        PNG: peer(FileReader(folder / "png", canvas, dtype, threads)),
        "NPY files": peer(FileReader(folder / "npy", canvas, dtype, threads)),
    }


def write_peers(store: Store, folder: Path) -> Path:
    """Export the store as the peers read it; returns ``folder``."""
    for form in ("zarr-zstd", "png", "npy"):
        export(store, folder / form, format=form, progress=False)
    return folder


def check(readers: dict[str, Batches], store: Store, indices: Indices) -> None:
    """That all who read everything read the same.

    Raises:
        ArithmeticError: one of them does not.
    """
    expected = Reader(store).read(indices)
    for name, batches in readers.items():
        if "keep" not in name and "1/2" not in name and not np.array_equal(batches.read(indices), expected):
            raise ArithmeticError(f"{name} reads other pixels")


def rows_of(store: Store, folder: Path, batch: int, threads: int, rounds: int) -> list[tuple[str, ...]]:
    """The table's rows for a number of threads."""
    with zarr_threads(threads):
        check(contestants(store, folder, batch, threads), store, np.arange(min(batch, len(store))))
        readers = contestants(store, folder, batch, threads)
        rates = measure(Contest((), batch, threads, dict(readers)), rounds).rates
    return [
        (name, str(threads), f"{rates[name]:,.0f}", f"{found.bytes_per_batch:,.0f}",
         *(f"{rates[name] / rates[peer]:.2f}" for peer in (ZARR, PNG)))
        for name, found in readers.items()
    ]  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="The reader against zarr-python and per-image files, random batches")
    parser.add_argument("--store", type=Path, help="a store of layers to measure on instead of synthetic images")
    parser.add_argument("--images", type=int, default=256, help="number of synthetic images")
    parser.add_argument("--size", type=int, default=512, help="their side in pixels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contestant")
    parser.add_argument("--markdown", action="store_true", help="the table in Markdown instead of aligned text")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = open_store(options.store or synthesise(folder, Setting(images=options.images, size=options.size)))
        if len(store) < options.batch:
            parser.error(f"expected a store of at least {options.batch} images, got {len(store)}")
        height, width = store.header.canvas
        setting = (
            f"{len(store)} images on a {height}x{width} canvas of {store.header.dtype}, batches of {options.batch}"
        )
        print(circumstances(f"{setting}, medians of {options.rounds} interleaved rounds"), end="\n\n", flush=True)
        exports = write_peers(store, folder / "exports")
        rows = [
            row
            for threads in options.threads
            for row in rows_of(store, exports, options.batch, threads, options.rounds)
        ]
    print((markdown if options.markdown else aligned)(HEADER, rows))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store ``bench.zarr`` of synthetic images and its ``exports``, for pytest-benchmark."""
    folder = tmp_path_factory.mktemp("reader")
    write_peers(open_store(synthesise(folder, Setting(images=32))), folder / "exports")
    return folder


_NAMES = [CLEAN, *(f"Reader, keep {keep:g}" for keep in KEEPS), "Reader, size 1/2", "Reader, zstd store",
          ZARR, "zarr-python, zstd store", PNG, "NPY files"]  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", _NAMES)
def test_speed(benchmark: Any, folder: Path, name: str, threads: int) -> None:
    """One reader under pytest-benchmark."""
    benchmark.group = f"{threads} threads"
    with zarr_threads(threads):
        read = contestants(open_store(folder / "bench.zarr"), folder / "exports", 32, threads)[name]
        assert benchmark(read) == 32


if __name__ == "__main__":
    retain_memory()
    main()
