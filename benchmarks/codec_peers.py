"""Lossless codecs of others: what :mod:`wavestream.benchmarks.bench_codec` measures against. All in one thread.

- zstd: numcodecs, level 3, bytes shuffled where a pixel has two: what a Zarr store without a codec for images holds
- PNG: imagecodecs (libpng), zlib level 6, the default of most programs
- JPEG-LS: imagecodecs (CharLS); it cannot be told how many of 16 bits are in use, which costs it up to 6 % in bytes
- JPEG 2000: imagecodecs (OpenJPEG), reversible 5/3, one quality layer, as DICOM files have it
- HTJ2K: imagecodecs (OpenJPH), reversible 5/3
- JPEG XL: imagecodecs (libjxl), lossless modular, effort 1 (fast), 3 and 7 (its default)

PNG, JPEG-LS and JPEG XL have no signed pixels: these are shifted to start at 0, outside the time that is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import imagecodecs
import numcodecs
import numpy as np
from numpy.typing import NDArray

from wavestream.benchmarks.image_sets import Image

Pixels = NDArray[Any]
Stream = bytes | bytearray

PEERS = ("zstd 3", "PNG", "JPEG-LS", "JPEG 2000", "HTJ2K", "JPEG XL effort 1", "JPEG XL effort 3", "JPEG XL effort 7")


@dataclass(frozen=True)
class Peer:
    """A codec, set up for one image.

    Attributes:
        pixels: the image as the codec takes it.
        encode: pixels to bytes.
        decode: bytes to pixels, of any shape.
    """

    pixels: Pixels
    encode: Callable[[Pixels], Stream]
    decode: Callable[[Stream], Pixels]


def peers_of(image: Image) -> dict[str, Peer]:
    """The codecs by name (:data:`PEERS`)."""
    low, high = image.value_range
    unsigned = image.pixels
    if unsigned.dtype.kind == "i":
        unsigned = (unsigned.astype(np.int32) - low).astype(f"u{unsigned.dtype.itemsize}")
        high -= low
    bits = max(1, high.bit_length())
    jpeg_2000 = partial(imagecodecs.jpeg2k_encode, codecformat="J2K", reversible=True, bitspersample=bits, numthreads=1)
    found = [
        _zstd(image.pixels),
        Peer(unsigned, partial(imagecodecs.png_encode, level=6), imagecodecs.png_decode),
        Peer(unsigned, imagecodecs.jpegls_encode, imagecodecs.jpegls_decode),
        Peer(image.pixels, jpeg_2000, partial(imagecodecs.jpeg2k_decode, numthreads=1)),
        Peer(image.pixels, partial(imagecodecs.htj2k_encode, reversible=True), imagecodecs.htj2k_decode),
        *(_jpeg_xl(unsigned, bits, effort) for effort in (1, 3, 7)),
    ]
    return dict(zip(PEERS, found, strict=True))


def _jpeg_xl(pixels: Pixels, bits: int, effort: int) -> Peer:
    encode = partial(imagecodecs.jpegxl_encode, lossless=True, effort=effort, bitspersample=bits, numthreads=1)
    return Peer(pixels, encode, partial(imagecodecs.jpegxl_decode, numthreads=1))


def _zstd(pixels: Pixels) -> Peer:
    """The size of an image stands in the metadata of its array, as in a Zarr store: the decoder gives flat pixels."""
    codec, dtype = numcodecs.Zstd(3), pixels.dtype
    if dtype.itemsize == 1:
        return Peer(pixels, codec.encode, lambda data: np.frombuffer(codec.decode(data), dtype))
    shuffle = numcodecs.Shuffle(dtype.itemsize)
    return Peer(
        pixels,
        lambda pixels: codec.encode(shuffle.encode(pixels)),
        lambda data: np.frombuffer(shuffle.decode(codec.decode(data)), dtype),
    )
