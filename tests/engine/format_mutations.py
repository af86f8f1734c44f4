"""Mutates streams and decodes them, in a process of its own: ``python format_mutations.py COUNT SEED FILE``.

Each mutated stream must decode or raise CodecError, in bounded memory. Where no CRC was set right after the mutation,
what decodes must be the image itself; some of the others are compared with the model of the document. The stream and
the arrays that the decoder works in lie against pages that nobody may touch. FILE holds the number of the mutation at
work, so that the parent can name the one that ended this process.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import format_decoder as model
import numpy as np
import psutil
from format_encoder import encode, resealed, with_body
from format_stream import DTYPES, Damaged, layers_of
from format_symbols import Choices

from wavestream.engine.layers import CodecError, decode_image, encode_image, header_of, segment_ends
from wavestream.kernels.cpu import layer_workspace

PROT_NONE = 0
FRACTIONS = (0.0001, 0.001, 0.01, 0.1)
UNITS = tuple(round(fraction * 10**7) for fraction in FRACTIONS)
MAX_PIXELS = 1 << 22
COMPARED_PIXELS = 1 << 12
# Of processor time for one stream; the process is killed by then.
SECONDS = 60


def allowed_bytes(pixels: int, stream: int) -> int:
    """What decoding may allocate: a few arrays of 32-bit numbers per pixel, and of the stream's size."""
    return (1 << 22) + 40 * pixels + 16 * stream


def sources() -> list[tuple[bytes, np.ndarray]]:
    """(stream, image): of the product's encoder and of the model's, small and not so small."""
    random = np.random.default_rng(0)
    row, col = np.mgrid[0:70, 0:90]
    smooth = ((np.sin(row / 9) + np.cos(col / 11) + 2) * 60 + random.normal(0, 1, row.shape)).astype(np.uint8)
    noise = random.integers(-32768, 32767, (21, 18), endpoint=True).astype(np.int16)
    images = [smooth, smooth[:24, :20].copy(), noise, smooth[:1, :40].copy(), np.full((40, 40), 7, np.uint16)]
    streams = [(encode_image(image, fractions=FRACTIONS), image) for image in images]

    def choices(layer: int, segment: int) -> Choices:
        return Choices(segment, 1 << (layer + segment) % 6, layer, 6, 40, True, layer == 2)

    for image, tile in ((smooth[:17, :130].copy(), (64, 64)), (noise, None), (smooth[:70, :3].copy(), (64, 64))):
        limits = np.iinfo(image.dtype)
        stream = encode(image, (limits.min, limits.max), UNITS, 3, tile=tile, one_segment=2, choices=choices)
        streams.append((stream, image))
    return streams


def guarded(values: np.ndarray) -> np.ndarray:
    """A copy that ends, but for less than a cache line, where a page begins that may neither be read nor written."""
    size = -(-max(values.nbytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = np.frombuffer(mmap.mmap(-1, size + 2 * mmap.PAGESIZE), np.uint8)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for place in (0, mmap.PAGESIZE + size):
        if protect(ctypes.c_void_p(memory.ctypes.data + place), mmap.PAGESIZE, PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect failed")
    start = mmap.PAGESIZE + (size - values.nbytes) // 64 * 64
    copy = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def guard_workspaces() -> None:
    """Let the decoder allocate its scratch memory anew for each stream, and guarded."""
    allocate = layer_workspace._allocate

    def allocate_guarded(*sizes: Any) -> layer_workspace.LayerWorkspace:
        parts = allocate(*sizes)
        return type(parts)(*(guarded(part) if isinstance(part, np.ndarray) else part for part in parts))

    layer_workspace._allocate = allocate_guarded


def decoded(data: bytes, keep: float, reduction: int) -> np.ndarray:
    layer_workspace._kept.work = None
    return decode_image(memoryview(guarded(np.frombuffer(data, np.uint8))), keep, reduction)


def mutated(stream: bytes, random: np.random.Generator) -> bytes:
    """One to three changes: bits flipped, a byte replaced, a range cut, inserted, duplicated, or the end cut off."""
    data = bytearray(stream)
    for _ in range(random.integers(1, 4)):
        # Half of the changes hit the first bytes, where the headers are.
        place = int(random.integers(0, max(1, len(data) if random.integers(2) else min(len(data), 80))))
        length = int(random.integers(1, 1 + int(random.choice([1, 4, 64]))))
        kind = random.integers(6)
        if kind == 0 and data:
            for at in random.integers(place, min(len(data), place + 40), 1 + length % 8):
                data[at] ^= 1 << random.integers(8)
        elif kind == 1 and data:
            data[place] = random.choice([0, 1, 0x7F, 0x80, 0xFF, int(random.integers(256))])
        elif kind == 2:
            del data[place : place + length]
        elif kind == 3:
            data[place:place] = random.bytes(length)
        elif kind == 4:
            data[place:place] = data[place : place + length]
        else:
            del data[random.choice([place, max(place, len(data) - length)]) :]
    return bytes(data)


def answered(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result, None if it was a CodecError."""
    try:
        return function(*arguments)
    except CodecError:
        return None


def try_one(stream: bytes, image: np.ndarray, random: np.random.Generator) -> bool:
    """Whether one mutated stream decodes, having checked that it does or raises CodecError, and nothing else.

    Half of them are changed within a segment, a quarter anywhere, with all CRCs set right; a quarter anywhere without.
    """
    kind = random.integers(4)
    sealed = kind < 3
    if kind < 2:
        layers = list(layers_of(stream))
        layer = int(random.integers(len(layers)))
        segment = int(random.integers(len(layers[layer].spans)))
        data = with_body(stream, layer, segment, lambda body: mutated(body, random))
    else:
        data = resealed(mutated(stream, random)) if sealed else mutated(stream, random)
    keep = float(random.choice([*FRACTIONS, 1.0, 1.0, 0.03]))
    reduction = int(random.choice([0, 0, 0, 1, 3]))
    if not sealed:
        keep, reduction = 1.0, 0
    header = answered(header_of, data)
    answered(segment_ends, data)
    pixels = 0 if header is None else header.rows * header.cols
    if pixels > MAX_PIXELS:
        return False
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    found = answered(decoded, data, keep, reduction)
    allocated = tracemalloc.get_traced_memory()[1] - before
    assert allocated <= allowed_bytes(pixels, len(data)), f"{allocated} bytes allocated for {pixels} pixels"
    if found is not None and not sealed:
        np.testing.assert_array_equal(found, image)
    if sealed and 0 < pixels <= COMPARED_PIXELS and random.integers(8) == 0:
        compare_with_model(data, keep, reduction, found)
    return found is not None


def compare_with_model(data: bytes, keep: float, reduction: int, found: np.ndarray | None) -> None:
    try:
        expected = model.decode(data, keep, reduction)
    except (Damaged, ValueError):
        assert found is None, "decoded, though the model calls it damaged"
    else:
        assert found is not None, "refused, though the model decodes it"
        np.testing.assert_array_equal(found, expected)


def compile_everything() -> None:
    """A mutation may change the type of the pixels; compiling for it takes memory that no bound allows for."""
    for dtype in DTYPES:
        for side, levels in ((9, 2), (40, 5)):
            stream = encode_image(np.arange(side * side).reshape(side, side).astype(dtype), levels=levels)
            for keep in (*FRACTIONS, 0.03, 0.5, 1.0):
                for reduction in range(1 + min(levels, 3)):
                    decoded(stream, keep, reduction)


def main(count: int, seed: int, progress: str) -> None:
    guard_workspaces()
    originals = sources()
    compile_everything()
    for stream, image in originals:
        np.testing.assert_array_equal(decode_image(stream), image)
    used = psutil.Process().memory_info().vms
    limit = used + 2 * allowed_bytes(MAX_PIXELS, 1 << 16)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    tracemalloc.start()
    decoded = 0
    place = os.open(progress, os.O_WRONLY | os.O_CREAT)
    for number in range(count):
        os.pwrite(place, b"%12d" % number, 0)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        random = np.random.default_rng([seed, number])
        decoded += try_one(*originals[random.integers(len(originals))], random)
    print(f"{count} mutated streams: {decoded} decoded, {count - decoded} refused")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
