"""The layout of ``images`` as its ``zarr.json`` declares it, checked against what the reader understands."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavestream.engine.errors import StoreError
from wavestream.engine.store import Store

_CODECS = {"zstd": ["bytes", "zstd"], "layers": ["wavestream.layers"]}


@dataclass(frozen=True)
class ImageArray:
    """Layout of the sharded array ``images`` [N, H, W].

    Attributes:
        count: number of images N.
        canvas: (H, W) in pixels.
        dtype: NumPy dtype of a pixel in native byte order.
        shard_images: images per shard; the index of every shard has this many entries.
        fill_value: pixel value of an image that has no chunk.
        swap_bytes: pixels are stored in the other byte order than this machine's.
        fractions: of the layers that a chunk consists of, ascending, without the last, which holds everything; None:
            a chunk is a canvas, compressed by zstd.
    """

    count: int
    canvas: tuple[int, int]
    dtype: np.dtype[Any]
    shard_images: int
    fill_value: int
    swap_bytes: bool
    fractions: tuple[float, ...] | None


def read_image_array(store: Store) -> ImageArray:
    """Read and check ``images/zarr.json``.

    Raises:
        StoreError: the file is missing or damaged, disagrees with the header, or declares a layout other than one
            image per chunk of the header's codec in shards with a crc32c-checked index at the end.
    """
    file = store.folder.within("images/zarr.json")
    header, (height, width) = store.header, store.header.canvas
    try:
        declared = json.loads(store.folder.contents("images/zarr.json"))
        shape, shard_shape = declared["shape"], declared["chunk_grid"]["configuration"]["chunk_shape"]
        (sharding,) = declared["codecs"]
        inside = sharding["configuration"]
        inner = {codec["name"]: codec.get("configuration", {}) for codec in inside["codecs"]}
        outer = [codec["name"] for codec in inside["index_codecs"]]
        layout = (sharding["name"], inside["chunk_shape"], list(inner), outer, inside.get("index_location", "end"))
        dtype = np.dtype(declared["data_type"])
        layers = inner.get("wavestream.layers")
        array = ImageArray(
            count=int(shape[0]),
            canvas=(height, width),
            dtype=dtype,
            shard_images=int(shard_shape[0]),
            fill_value=int(declared["fill_value"]),
            swap_bytes=layers is None and dtype.itemsize > 1 and inner["bytes"]["endian"] != sys.byteorder,
            fractions=None if layers is None else tuple(float(fraction) for fraction in layers["fractions"]),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreError(f"{file} is missing or damaged ({error!r}): ingest again") from error
    expected = ("sharding_indexed", [1, height, width], _CODECS[header.codec], ["bytes", "crc32c"], "end")
    agrees = shape == [header.count, height, width] and str(array.dtype) == header.dtype
    agrees = agrees and (array.fractions or ()) == header.layers
    if layout != expected or not agrees or shard_shape[1:] != [height, width] or array.shard_images < 1:
        raise StoreError(
            f"{file}: expected {header.dtype} {[header.count, height, width]} laid out as {expected} with the layers "
            f"{header.layers}, got {array.dtype} {shape} laid out as {layout} with the layers {array.fractions or ()}; "
            "ingest again"
        )
    return array
