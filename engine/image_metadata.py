"""``images/zarr.json``: what tells any Zarr reader how the pixels of a store are laid out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from wavestream.engine.pixel_codecs import ZSTD_LEVEL, Canvas, PixelCodec

LAYERS_CODEC = "wavestream.layers"
"""Name of the Zarr codec of layers; its configuration is ``{"fractions": [...]}``."""


def image_metadata(count: int, canvas: Canvas, shard_images: int, codec: PixelCodec) -> bytes:
    """Metadata of the array ``images``: ``count`` images, one per chunk, ``shard_images`` chunks per shard.

    It is written here and not by zarr-python, which would need the codec registered to declare it.
    """
    chunk = [1, canvas.rows, canvas.cols]
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    if codec.name == "layers":
        codecs = [{"name": LAYERS_CODEC, "configuration": {"fractions": list(codec.fractions)}}]
    else:
        zstd = {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}}
        codecs = [little if np.dtype(canvas.dtype).itemsize > 1 else {"name": "bytes"}, zstd]
    sharding = {
        "chunk_shape": chunk,
        "codecs": codecs,
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    metadata: dict[str, Any] = {
        "shape": [count, canvas.rows, canvas.cols],
        "data_type": canvas.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [shard_images, *chunk[1:]]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {},
        "dimension_names": ["image", "row", "col"],
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    return json.dumps(metadata, indent=2).encode()
