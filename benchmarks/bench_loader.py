"""Images per second of the loader against what it replaces, in one run: python -m wavestream.benchmarks.bench_loader

Peers: torch's DataLoader over PNG folders precomputed for each compression level (at the stored size, and already
resized, the fastest that such a dataset can be), and torch's DataLoader with PyWavelets in the dataset. Rounds are
interleaved, so that a slow moment of the machine hits every contestant.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wavestream.benchmarks.loader_peers import PngFolders, PyWaveletsOnTheFly, write_png_folders
from wavestream.benchmarks.rounds import circumstances
from wavestream.bindings.loader import DataLoader
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.ingest import IngestConfig, ingest
from wavestream.engine.store import Store, open_store
from wavestream.engine.transform import Transform

KEEPS = (0.10, 0.01, 0.001)
BASELINE = "PNG folders, stored size"


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        images: number of images to synthesise where there is no store.
        size: their side in pixels.
        input_size: side of the network's input in pixels.
        batch_size: images per batch.
        threads: of our loader, and worker processes of torch's.
        rounds: timed epochs of each contestant, after one untimed.
    """

    images: int = 200
    size: int = 512
    input_size: int = 224
    batch_size: int = 32
    threads: int = 2
    rounds: int = 5


def synthesise(folder: Path, setting: Setting) -> Path:
    """Ingest smooth, noisy 12-bit images: their PNG and zstd sizes are those of radiographs, about half of the raw."""
    random = np.random.default_rng(0)
    (folder / "npy").mkdir(parents=True)
    row, col = np.mgrid[0 : setting.size, 0 : setting.size] / setting.size
    for number in range(setting.images):
        waves = sum(np.sin(2 * np.pi * (random.uniform(0, 6) * row + random.uniform(0, 6) * col)) for _ in range(4))
        noisy = 2048 + 300 * waves + random.normal(0, 12, row.shape)
        np.save(folder / "npy" / f"{number}.npy", noisy.clip(0, 4095).astype(np.uint16))
    store = folder / "bench.zarr"
    ingest(folder / "npy", store, config=IngestConfig(workers=1), progress=False)
    return store


def contestants(store: Store, folder: Path, setting: Setting) -> dict[str, Any]:
    """Every loader to be timed, by name: torch's over the peers' datasets, and ours."""
    size = (setting.input_size, setting.input_size)
    artifacts = Artifacts(0.75, KEEPS)
    stored = write_png_folders(store, folder / "stored", (1.0, *KEEPS), None)
    resized = write_png_folders(store, folder / "resized", (1.0, *KEEPS), size)

    def peer(dataset: Any) -> Any:
        workers = setting.threads
        return torch.utils.data.DataLoader(
            dataset, setting.batch_size, shuffle=True, num_workers=workers, persistent_workers=workers > 0
        )

    def ours(artifacts: Artifacts | None) -> DataLoader:
        return DataLoader(
            store,
            batch_size=setting.batch_size,
            transform=Transform(size),
            artifacts=artifacts,
            threads=setting.threads,
        )

    return {
        BASELINE: peer(PngFolders(stored, size, 0.75)),
        "PNG folders, resized": peer(PngFolders(resized, size, 0.75)),
        "PyWavelets on the fly": peer(PyWaveletsOnTheFly(store, size, artifacts)),
        "wavestream, clean": ours(None),
        "wavestream, source p=0.75": ours(artifacts),
        "wavestream, input p=0.75": ours(Artifacts(0.75, KEEPS, "input")),
    }


def images_per_second(loader: Any) -> float:
    """Run one epoch, looking at every batch."""
    start, count, total = time.perf_counter(), 0, 0.0
    for images, *_ in loader:
        count += len(images)
        total += float(images[0, 0, 0, 0])
    if not np.isfinite(total):
        raise ArithmeticError("a loader gave pixels that are not finite")
    return count / (time.perf_counter() - start)


def measure(loaders: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """Images per second of each loader in each round, after an untimed first epoch."""
    for loader in loaders.values():
        images_per_second(loader)
    speeds: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(rounds):
        for name, loader in loaders.items():
            speeds[name].append(images_per_second(loader))
    return speeds


def table_of(speeds: dict[str, list[float]]) -> str:
    """The result in Markdown: median, range, and the ratio to the PNG folders."""
    lines = ["| loader | images/s, median | min to max | ratio to PNG folders |", "|---|---:|---:|---:|"]
    base = statistics.median(speeds[BASELINE])
    for name, found in speeds.items():
        median = statistics.median(found)
        lines.append(f"| {name} | {median:.0f} | {min(found):.0f} to {max(found):.0f} | {median / base:.2f} |")
    return "\n".join(lines)


def heading_of(setting: Setting, store: Store) -> str:
    """What is measured, hardware, versions, command and commit."""
    height, width = store.header.canvas
    images = f"{len(store.split_indices('train'))} images on a {height}x{width} canvas of {store.header.dtype}"
    return circumstances(f"{images}; {setting}")


def run(setting: Setting, store: Path | None = None) -> dict[str, list[float]]:
    """Measure every contestant and print the report; images are synthesised where no store is given."""
    with tempfile.TemporaryDirectory() as folder:
        opened = open_store(store or synthesise(Path(folder), setting))
        print(heading_of(setting, opened))
        speeds = measure(contestants(opened, Path(folder), setting), setting.rounds)
    print(table_of(speeds))
    return speeds


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, help="a store to measure on instead of synthetic images")
    for name in Setting.__dataclass_fields__:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Setting, name))
    options = vars(parser.parse_args(arguments))
    store = options.pop("store")
    run(Setting(**options), store)


if __name__ == "__main__":
    main()
