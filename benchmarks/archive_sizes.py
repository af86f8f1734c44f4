"""One archive against a set of files for each compression level: python -m wavestream.benchmarks.archive_sizes DICOM

What a study of five compression levels keeps on disk: either the five precomputed sets, a PNG of each image's
reconstruction at 100, 10, 1, 0.1 and 0.01 % of its coefficients, or one store, of which a compressed sample reads a
prefix. Prints two Markdown tables: bytes on disk, and bytes that an epoch over all images reads.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from wavestream.benchmarks.image_sets import find_data, spread
from wavestream.benchmarks.rounds import circumstances
from wavestream.benchmarks.tables import markdown
from wavestream.engine.errors import InputError
from wavestream.engine.export_rasters import png_format
from wavestream.engine.export_source import ExportSource
from wavestream.engine.ingest import IngestConfig, ingest
from wavestream.engine.ordered import map_ordered
from wavestream.engine.store import Store, open_store
from wavestream.engine.workers import usable_cpus

KEEPS = (1.0, 0.1, 0.01, 0.001, 0.0001)
DRAWN = (0.1, 0.01, 0.001)
PROBABILITY = 0.75


@dataclass(frozen=True)
class ArchiveSizes:
    """What was measured.

    Attributes:
        images: how many.
        pixels: of all of them.
        store: bytes of all files of the store.
        sets: keep -> bytes of the PNG files of all reconstructions.
        epochs: keep -> bytes of the store that an epoch over all images reads.
    """

    images: int
    pixels: int
    store: int
    sets: dict[float, int]
    epochs: dict[float, int]

    @property
    def mixed_epoch(self) -> float:
        """Expected bytes of an epoch that compresses a sample with :data:`PROBABILITY`, to one of :data:`DRAWN`."""
        drawn = sum(self.epochs[keep] for keep in DRAWN) / len(DRAWN)
        return (1 - PROBABILITY) * self.epochs[1.0] + PROBABILITY * drawn

    def disk_table(self) -> str:
        """Bytes on disk."""
        together = sum(self.sets.values())
        rows = [(f"PNG of every image at {_percent(keep)}", size) for keep, size in self.sets.items()]
        rows += [(f"these {len(self.sets)} sets together", together), ("one wavestream store", self.store)]
        header = ("on disk", "bytes", "bits per pixel", "times the store")
        return markdown(header, [self._row(name, size, self.store) for name, size in rows])

    def epoch_table(self) -> str:
        """Bytes read."""
        clean = self.epochs[1.0]
        rows: list[tuple[str, float]] = [
            (f"all samples at {_percent(keep)}", size) for keep, size in self.epochs.items()
        ]
        levels = ", ".join(_percent(keep) for keep in DRAWN)
        rows.append((f"{_percent(PROBABILITY)} of the samples at one of {levels}; the others clean", self.mixed_epoch))
        header = ("read in an epoch", "bytes", "bits per pixel", "of a clean epoch")
        return markdown(header, [self._row(name, size, clean) for name, size in rows])

    def _row(self, name: str, size: float, base: float) -> tuple[str, ...]:
        return name, f"{size:,.0f}", f"{8 * size / self.pixels:.4f}", f"{size / base:.3f}"


def measure_sizes(store: Store, threads: int, progress: bool = True) -> ArchiveSizes:
    """Encode every reconstruction of the images of a store of layers, and count.

    Raises:
        InputError: the store has another codec.
    """
    if store.header.codec != "layers":
        raise InputError(
            f"expected a store of layers, got {store.header.codec} in {store.path}: ingest the files again"
        )
    sources = {keep: ExportSource(store, keep) for keep in KEEPS}
    table = store.table
    with tqdm(total=len(KEEPS) * len(store), desc="encoding PNG", unit="image", disable=not progress) as bar:
        sets = {keep: _png_bytes(source, threads, bar) for keep, source in sources.items()}
    return ArchiveSizes(
        images=len(store),
        pixels=int((table["rows"].astype(np.int64) * table["cols"]).sum()),
        store=sum(path.stat().st_size for path in store.path.rglob("*") if path.is_file()),
        sets=sets,
        epochs={keep: sum(map(source.compressed_bytes, range(len(store)))) for keep, source in sources.items()},
    )


def _png_bytes(source: ExportSource, threads: int, bar: tqdm) -> int:
    encode = png_format(source).encode
    total = 0
    for content in map_ordered(encode, range(len(source)), threads):
        total += len(content)
        bar.update()
    return total


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g} %"


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="One archive against a set of PNG files for each compression level")
    parser.add_argument("source", type=Path, nargs="?", help="folder of DICOM files (default: nih_cxr of --data)")
    parser.add_argument("--data", type=Path, help="folder with nih_cxr/ (default: $WAVESTREAM_DATA)")
    parser.add_argument("--store", type=Path, help="a store of layers that was ingested already, instead of a folder")
    parser.add_argument("--images", type=int, help="of the folder's files, at most (default: all)")
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(options.store or _ingested(options, Path(folder)))
        print(
            circumstances(f"{len(store)} images, written by wavestream {store.header.written_by}"),
            end="\n\n",
            flush=True,
        )
        found = measure_sizes(store, options.threads, not options.quiet)
    print(f"{found.images} images, {found.pixels:,} pixels\n\n{found.disk_table()}\n\n{found.epoch_table()}")


def _ingested(options: argparse.Namespace, folder: Path) -> Path:
    """A store of the folder that the options name, or of some of its files, spread evenly."""
    source = options.source or find_data(options.data) / "nih_cxr" / "dicom"
    files = sorted(path for path in source.rglob("*") if path.is_file())
    if options.images:
        files = spread(files, options.images)
    store = folder / "archive.zarr"
    print(ingest(files, store, config=IngestConfig(workers=options.threads), progress=not options.quiet), flush=True)
    return store


if __name__ == "__main__":
    main()
