"""An export as a store of its own, with the codec zstd: readable by wavestream and by plain zarr-python alike."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from tqdm import tqdm

from wavestream.engine.columns import current_version, write_columns, write_group
from wavestream.engine.durable import write_durably
from wavestream.engine.export_source import ExportSource
from wavestream.engine.image_metadata import image_metadata
from wavestream.engine.ordered import map_ordered
from wavestream.engine.pixel_codecs import Canvas, PixelCodec
from wavestream.engine.schema import FORMAT_VERSION, TABLE
from wavestream.engine.shards import ShardWriter, shard_path
from wavestream.engine.store import HEADER_ATTRIBUTE

_CODEC = PixelCodec("zstd", ())


def write_zarr(source: ExportSource, target: Path, plan: dict[str, Any], jobs: int, progress: bool) -> int:
    """Write the shards that are not there yet, then table, labels and header; returns the number of images written.

    A shard gets its name when it is complete and on disk, the group its header when all else is.

    Args:
        source: the images.
        target: folder of the new store; a Zarr group already, with ``plan`` as its attributes.
        plan: attributes of the group beside the header: where the images come from.
        jobs: threads.
        progress: show a progress bar.
    """
    store, count = source.store, len(source)
    size = store.header.shard_images
    (target / "images").mkdir(exist_ok=True)
    write_durably(target / "images" / "zarr.json", image_metadata(count, _canvas(source), size, _CODEC))
    there = np.array([shard_path(target, number).is_file() for number in range(-(-count // size))], bool)
    indices = np.flatnonzero(~there[np.arange(count) // size]).tolist()
    hashes = np.zeros((count, 32), np.uint8)
    with tqdm(total=count, initial=count - len(indices), desc="exporting", unit="image", disable=not progress) as bar:
        _write_shards(source, target, indices, hashes, jobs, bar)
    table = {name: source.table[name] for name in TABLE}
    if not source.lossless:
        _hash_earlier(source, target, sorted(set(range(count)) - set(indices)), hashes, jobs)
        table["pixel_sha256"] = hashes
    labels = {name: (values, store.categories(name)) for name, values in store.labels.items()}
    write_columns(target, table, TABLE, labels)
    header = replace(
        store.header,
        format=FORMAT_VERSION,
        canvas=source.canvas,
        codec="zstd",
        layers=(),
        labels=tuple(sorted(labels)),
        written_by=current_version(),
    )
    write_group(target, {**plan, HEADER_ATTRIBUTE: header.to_json()})
    return len(indices)


def _write_shards(
    source: ExportSource, target: Path, indices: list[int], hashes: NDArray[np.uint8], jobs: int, bar: tqdm[Any]
) -> None:
    """Write the shards of these images, ascending and of whole shards; and into ``hashes`` those of their pixels."""
    size = source.store.header.shard_images
    canvas = _canvas(source)

    def encode(index: int) -> tuple[int, bytes]:
        pixels = source.read(index)
        little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
        hashes[index] = _hash(little)
        return index, _CODEC.encode(little, source.value_range(index), canvas)[0]

    writer: ShardWriter | None = None
    with closing(map_ordered(encode, indices, jobs)) as chunks:
        try:
            for index, chunk in chunks:
                if writer is None:
                    writer = ShardWriter(shard_path(target, index // size), size)
                writer.append(chunk)
                if writer.full or index + 1 == len(source):
                    writer.finish()
                    writer = None
                bar.update()
        finally:
            if writer is not None:
                writer.close()


def _hash_earlier(source: ExportSource, target: Path, indices: list[int], hashes: NDArray[np.uint8], jobs: int) -> None:
    """Read back what an earlier run left, and put the hashes of its pixels into ``hashes``."""
    images = zarr.open_array(target / "images", mode="r")

    def read_back(index: int) -> None:
        rows, cols = int(source.table["rows"][index]), int(source.table["cols"][index])
        pixels = np.asarray(images[index])[:rows, :cols]
        hashes[index] = _hash(np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<")))

    for _ in map_ordered(read_back, indices, jobs):
        pass


def _hash(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.sha256(pixels.data).digest(), np.uint8)


def _canvas(source: ExportSource) -> Canvas:
    return Canvas(*source.canvas, source.store.header.dtype)
