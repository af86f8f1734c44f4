"""The long part of an ingest: decode the files in order, append their chunks to shards, keep the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wavestream.engine.decoding import Decoded, Row, decode
from wavestream.engine.errors import StoreError
from wavestream.engine.inventory import Entry
from wavestream.engine.limits import Limits
from wavestream.engine.manifest import Manifest
from wavestream.engine.pixel_codecs import Canvas, PixelCodec
from wavestream.engine.rejection import Reason, Rejection
from wavestream.engine.shards import ShardWriter, shard_path
from wavestream.engine.sources import Sources
from wavestream.engine.workers import WorkerPool


@dataclass
class _Part:
    """What the journal says about one shard; becomes JSON.

    Attributes:
        images: (entry, frame, row) of each image in the shard.
        quarantine: (source, reason, detail) of files met on the way that did not decode.
        next_entry, next_frame: where the next shard starts.
    """

    images: list[tuple[int, int, Row]] = field(default_factory=list)
    quarantine: list[tuple[int, str, str]] = field(default_factory=list)
    next_entry: int = 0
    next_frame: int = 0


@dataclass(frozen=True)
class ShardJob:
    """What :func:`write_shards` needs to know: where from, where to, and how."""

    sources: Sources
    entries: Sequence[Entry]
    store: Path
    manifest: Manifest
    canvas: Canvas
    codec: PixelCodec
    shard_images: int
    limits: Limits


def write_shards(job: ShardJob, pool: WorkerPool, advance: Callable[[int], object]) -> None:
    """Write all shards that the journal does not list yet; ``advance`` is told of every file's images when done.

    Only one image's chunk is in memory at a time. A journal part is written after its shard, so whatever happens in
    between is done again, to the same bytes.

    Raises:
        StoreError: the disk is full; a file of which an earlier run stored some images does not decode any more.
    """
    number = _finished_shards(job)
    last = job.manifest.read_part(number - 1) if number else {"next_entry": 0, "next_frame": 0}
    start, skip = last["next_entry"], last["next_frame"]
    advance(sum(entry.frames for entry in job.entries[:start]) + skip)
    spool = job.manifest.empty_spool()
    tasks = (
        (job.sources.path(entry.source), job.limits, job.canvas, job.codec, spool / f"{index}.chunks")
        for index, entry in enumerate(job.entries[start:], start)
    )
    part = _Part()
    writer: ShardWriter | None = None
    try:
        for index, result in enumerate(pool.map(decode, tasks), start):
            entry = job.entries[index]
            if isinstance(result, Rejection):
                if result.reason is Reason.UNWRITABLE:
                    raise StoreError(f"{spool} {result}: make room and run ingest again, it continues where it was")
                if skip:
                    raise StoreError(
                        f"{job.sources.path(entry.source)}: {result}, but {skip} of its images are stored already: "
                        "run ingest with overwrite to begin anew"
                    )
                part.quarantine.append((entry.source, str(result.reason), result.detail))
                advance(entry.frames)
                continue
            for frame, chunk in _chunks(result):
                if frame < skip:
                    continue
                if writer is None:
                    writer = ShardWriter(shard_path(job.store, number), job.shard_images)
                writer.append(chunk)
                part.images.append((index, frame, result.rows[frame]))
                if writer.full:
                    writer.finish()
                    writer = None
                    exhausted = frame + 1 == len(result.rows)
                    part.next_entry, part.next_frame = (index + 1, 0) if exhausted else (index, frame + 1)
                    job.manifest.write_part(number, vars(part))
                    number, part = number + 1, _Part()
            result.spool.unlink()
            advance(entry.frames - skip)
            skip = 0
        if writer is not None:
            writer.finish()
        if part.images or part.quarantine:
            part.next_entry = len(job.entries)
            job.manifest.write_part(number, vars(part))
    finally:
        if writer is not None:
            writer.close()
        job.manifest.empty_spool()


def _finished_shards(job: ShardJob) -> int:
    """Number of journal parts whose shards are there; from the first that was lost on, the journal is forgotten."""
    parts = job.manifest.count_parts()
    for number in range(parts):
        there = shard_path(job.store, number).is_file()
        # Only the last part can be without images.
        if not there and (number < parts - 1 or job.manifest.read_part(number)["images"]):
            job.manifest.truncate_journal(number)
            return number
    return parts


def _chunks(decoded: Decoded) -> Iterator[tuple[int, bytes]]:
    with decoded.spool.open("rb") as file:
        for frame, length in enumerate(decoded.lengths):
            yield frame, file.read(length)
