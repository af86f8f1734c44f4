"""Bytes and speed of the layers codec against other lossless codecs: python -m wavestream.benchmarks.bench_codec

One table per set of images (:mod:`wavestream.benchmarks.image_sets`); the codecs are in
:mod:`wavestream.benchmarks.codec_peers`, how they are measured in :mod:`wavestream.benchmarks.rounds`. Everything runs
in one thread. Before anything is timed each codec must give the pixels back, and ours at each layer what
``inject(image, keep, "cdf53")`` gives.

MB are of the pixels as stored (10^6 bytes of the whole image), also where a part is decoded: so the speeds of two rows
relate like their images per second. Bytes are means per image.

``pytest benchmarks/bench_codec.py`` runs the same contestants on synthetic images under pytest-benchmark.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wavestream.benchmarks.codec_peers import PEERS, Peer, Stream, peers_of
from wavestream.benchmarks.image_sets import IMAGE_SETS, Image, find_data, synthetic
from wavestream.benchmarks.rounds import OURS, Contest, Run, circumstances, measure, retain_memory
from wavestream.benchmarks.tables import aligned, markdown
from wavestream.engine.layers import (
    DEFAULT_FRACTIONS,
    REDUCTIONS,
    decode_image,
    encode_image,
    needed_ranges,
    segment_ends,
)
from wavestream.kernels import inject

KEEPS = (1.0, *reversed(DEFAULT_FRACTIONS))
HEADER = ("codec", "keep", "size", "bytes", "bits per pixel", "encode MB/s", "decode MB/s",
          "bytes: wavestream / peer", "encode: wavestream / peer", "decode: wavestream / peer")  # fmt: skip
# The peers that every part of ours is compared with.
FAMILY = ("JPEG 2000", "HTJ2K")
_SIZES = tuple("full" if reduction == 0 else f"1/{2**reduction}" for reduction in range(REDUCTIONS))


@dataclass(frozen=True)
class Entry:
    """One row of a table: a codec, or a part of ours.

    Attributes:
        name, keep, size: what it is.
        bytes: mean per image.
        encode: encodes all images; None where that is another row's.
        decode: decodes all images.
    """

    name: str
    keep: str
    size: str
    bytes: float
    encode: Run | None
    decode: Run

    @property
    def key(self) -> str:
        """The row in one word."""
        return f"{self.name} {self.keep} {self.size}"


def entries(images: Sequence[Image]) -> list[Entry]:
    """Every row, each checked to give the right pixels."""
    return [*(_peer_entry(name, images) for name in PEERS), *_our_entries(images)]


def _peer_entry(name: str, images: Sequence[Image]) -> Entry:
    peers = [peers_of(image)[name] for image in images]
    streams = [peer.encode(peer.pixels) for peer in peers]
    for peer, stream in zip(peers, streams, strict=True):
        _check(np.array_equal(np.ravel(peer.decode(stream)), peer.pixels.ravel()), f"{name} is not lossless")
    return Entry(
        name, "1", "full", _mean_bytes(streams), partial(_encode_each, peers), partial(_decode_each, peers, streams)
    )


def _our_entries(images: Sequence[Image]) -> list[Entry]:
    streams = [encode_image(image.pixels, image.value_range) for image in images]
    found = []
    for keep in KEEPS:
        for reduction, size in enumerate(_SIZES):
            prefixes = [_parts(stream, keep, reduction) for stream in streams]
            for image, prefix in zip(images, prefixes, strict=True):
                _check_ours(image, prefix, keep, reduction)
            encode = partial(_encode_all, images) if keep == 1 and reduction == 0 else None
            total = sum(_needed(stream, keep, reduction) for stream in streams)
            decode = partial(_decode_all, prefixes, keep, reduction)
            found.append(Entry(OURS, f"{keep:g}", size, total / len(images), encode, decode))
    return found


def _needed(stream: bytes, keep: float, reduction: int) -> int:
    return sum(stop - start for start, stop in needed_ranges(segment_ends(stream), DEFAULT_FRACTIONS, keep, reduction))


def _parts(stream: bytes, keep: float, reduction: int) -> bytes:
    """The bytes that are needed, in their places, and 0 elsewhere."""
    ranges = needed_ranges(segment_ends(stream), DEFAULT_FRACTIONS, keep, reduction)
    parts = bytearray(ranges[-1][1])
    for start, stop in ranges:
        parts[start:stop] = stream[start:stop]
    return bytes(parts)


def _check_ours(image: Image, prefix: bytes, keep: float, reduction: int) -> None:
    decoded = decode_image(prefix, keep, reduction)
    sides = tuple(-(-side // 2**reduction) for side in image.pixels.shape)
    _check(decoded.shape == sides, f"expected {sides} pixels at keep {keep:g}, got {decoded.shape}")
    if reduction == 0:
        wide = image.pixels.astype(np.int32)
        expected = inject(wide, keep, "cdf53", value_range=image.value_range, threads=1)
        _check(np.array_equal(decoded, expected), f"the layers codec gives other pixels at keep {keep:g}")


def _check(right: bool, what: str) -> None:
    if not right:
        raise ArithmeticError(what)


def _encode_each(peers: Sequence[Peer]) -> int:
    for peer in peers:
        peer.encode(peer.pixels)
    return len(peers)


def _decode_each(peers: Sequence[Peer], streams: Sequence[Stream]) -> int:
    for peer, stream in zip(peers, streams, strict=True):
        peer.decode(stream)
    return len(peers)


def _encode_all(images: Sequence[Image]) -> int:
    for image in images:
        encode_image(image.pixels, image.value_range)
    return len(images)


def _decode_all(streams: Sequence[bytes], keep: float, reduction: int) -> int:
    for stream in streams:
        decode_image(stream, keep, reduction)
    return len(streams)


def _mean_bytes(streams: Sequence[Stream]) -> float:
    return sum(map(len, streams)) / len(streams)


def rows_of(images: Sequence[Image], rounds: int) -> list[tuple[str, ...]]:
    """A set's table: the peers, with our lossless bytes and speeds in units of theirs; then ours, and its parts.

    In our rows the last column is the speed of that row's decoding in units of JPEG 2000's and HTJ2K's of all.
    """
    every = entries(images)
    encoders = {f"encode {entry.key}": entry.encode for entry in every if entry.encode is not None}
    decoders = {f"decode {entry.key}": entry.decode for entry in every}
    found = measure(Contest((), len(images), 1, {**encoders, **decoders}), rounds).rates
    megabytes = sum(image.pixels.nbytes for image in images) / len(images) / 1e6
    speeds = {name: rate * megabytes for name, rate in found.items()}
    pixels = sum(image.pixels.size for image in images) / len(images)
    ours = next(entry for entry in every if entry.name == OURS)
    peers = [entry for entry in every if entry.name != OURS]
    return [_row(entry, ours, peers, pixels, speeds) for entry in every]


def _row(entry: Entry, ours: Entry, peers: list[Entry], pixels: float, speeds: dict[str, float]) -> tuple[str, ...]:
    encoding, decoding = speeds.get(f"encode {entry.key}"), speeds[f"decode {entry.key}"]
    cells = [entry.name, entry.keep, entry.size, f"{entry.bytes:,.0f}", f"{8 * entry.bytes / pixels:.4f}"]
    cells += ["" if encoding is None else f"{encoding:,.0f}", f"{decoding:,.0f}"]
    if entry.name == OURS:
        family = (peer for peer in peers if peer.name in FAMILY)
        relative = (f"{peer.name} {decoding / speeds[f'decode {peer.key}']:.1f}" for peer in family)
        return (*cells, "", "", "; ".join(relative))
    cells += [f"{ours.bytes / entry.bytes:.2f}", f"{speeds[f'encode {ours.key}'] / speeds[f'encode {entry.key}']:.2f}"]
    return (*cells, f"{speeds[f'decode {ours.key}'] / decoding:.2f}")


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="The layers codec against other lossless codecs, in one thread")
    parser.add_argument("--sets", nargs="+", choices=tuple(IMAGE_SETS), default=list(IMAGE_SETS)[1:])
    parser.add_argument("--data", type=Path, help="folder with nih_cxr/ and dicom_torture/ (default: $WAVESTREAM_DATA)")
    parser.add_argument("--images", type=int, default=24, help="of each set, at most")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown instead of aligned text")
    options = parser.parse_args(arguments)
    folder = None if options.sets == ["synthetic"] else find_data(options.data)
    print(circumstances(f"one thread, medians of {options.rounds} interleaved rounds"), flush=True)
    for name in options.sets:
        images = IMAGE_SETS[name](folder, options.images)
        sizes = sorted({"x".join(map(str, image.pixels.shape)) for image in images})
        print(f"\n{name}: {len(images)} images, {', '.join(sizes)}\n", flush=True)
        print((markdown if options.markdown else aligned)(HEADER, rows_of(images, options.rounds)), flush=True)


@pytest.fixture(scope="module")
def contestants() -> dict[str, Run]:
    """The calls by name, on two synthetic images."""
    runs: dict[str, Run] = {}
    for entry in entries(synthetic(None, 2)):
        runs[f"decode {entry.key}"] = entry.decode
        if entry.encode is not None:
            runs[f"encode {entry.key}"] = entry.encode
    return runs


def pytest_generate_tests(metafunc: Any) -> None:
    """The contestants that pytest runs."""
    peers = [f"{name} 1 full" for name in PEERS]
    ours = [f"{OURS} {keep:g} {size}" for keep in KEEPS for size in _SIZES]
    names = [f"{what} {name}" for what in ("encode", "decode") for name in peers] + [f"encode {OURS} 1 full"]
    metafunc.parametrize("name", [*names, *(f"decode {name}" for name in ours)])


def test_speed(benchmark: Any, contestants: dict[str, Run], name: str) -> None:
    """One contestant under pytest-benchmark."""
    benchmark.group = name.split()[0]
    assert benchmark(contestants[name]) == 2


if __name__ == "__main__":
    retain_memory()
    main()
