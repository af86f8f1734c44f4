"""The Zarr v3 codec ``wavestream.layers``: with wavestream installed, zarr-python reads and writes layered images."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.core.common import JSON

from wavestream.engine.errors import InputError
from wavestream.engine.image_metadata import LAYERS_CODEC
from wavestream.engine.layer_fractions import check_layer_fractions
from wavestream.engine.layers import DEFAULT_FRACTIONS, CodecError, decode_image, encode_image, header_of

_DTYPES = ("uint8", "int8", "uint16", "int16", "int32")


@dataclass(frozen=True)
class LayersCodec(ArrayBytesCodec):
    """Array-to-bytes codec: a chunk is one image as a ``wavestream.layers`` stream (docs/format.md).

    Chunks have the shape (..., rows, cols), all other axes 1, and a dtype of uint8, int8, uint16, int16 or int32 (with
    values from -65536 to 65535). Encoding takes the whole chunk as the image. Decoding takes streams of smaller images
    too, and puts them into the top-left corner of a chunk that is 0 elsewhere; it reads all layers, so it is lossless.

    Args:
        fractions: fractions of the coefficients that the layers hold, ascending; a last layer holds all. Needed to
            encode only: a stream says itself what its layers are.

    Raises:
        InputError: fractions, dtype or chunk shape that the codec does not know.
        CodecError: while decoding: a stream that is damaged, larger than its chunk, or of another dtype; while
            encoding: values out of range.
    """

    is_fixed_size = False

    fractions: tuple[float, ...] = DEFAULT_FRACTIONS

    def __post_init__(self) -> None:
        object.__setattr__(self, "fractions", check_layer_fractions(self.fractions))

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """The codec from its JSON form; what :meth:`to_dict` gives."""
        configuration: Any = data.get("configuration", {})
        if (
            data.get("name") != LAYERS_CODEC
            or not isinstance(configuration, dict)
            or set(configuration) - {"fractions"}
        ):
            raise InputError(
                f"expected the codec {LAYERS_CODEC!r} with a configuration of 'fractions' or none, got {data!r}"
            )
        return cls(**configuration)

    def to_dict(self) -> dict[str, JSON]:
        """The codec as JSON, as it stands in ``zarr.json``."""
        return {"name": LAYERS_CODEC, "configuration": {"fractions": list(self.fractions)}}

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known before encoding: raises NotImplementedError, as Zarr asks of compressors."""
        raise NotImplementedError("the size of a layered image is known only when it is encoded")

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """The codec itself, once the array's dtype is one that it knows."""
        _native_dtype(array_spec)
        return self

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        rows, cols = _image_shape(chunk_spec)
        dtype = _native_dtype(chunk_spec)
        stream = chunk_data.as_numpy_array()
        header = header_of(stream)
        if header.dtype != dtype or header.rows > rows or header.cols > cols:
            raise CodecError(
                f"expected an image of {dtype} and at most {rows} x {cols} pixels, the size of a chunk, "
                f"got one of {header.dtype} and {header.rows} x {header.cols} pixels: the stream is of another array"
            )
        image = np.zeros((rows, cols), dtype)
        decode_image(stream, out=image)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(image.reshape(chunk_spec.shape))

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        image: NDArray[Any] = chunk_data.as_numpy_array().reshape(_image_shape(chunk_spec))
        stream = encode_image(image.astype(_native_dtype(chunk_spec), copy=False), fractions=self.fractions)
        return chunk_spec.prototype.buffer.from_bytes(stream)


def _image_shape(chunk_spec: ArraySpec) -> tuple[int, int]:
    shape = chunk_spec.shape
    if len(shape) < 2 or any(side != 1 for side in shape[:-2]):
        raise InputError(
            f"{LAYERS_CODEC}: expected chunks of one image, (..., 1, rows, cols), got chunks of {shape}: "
            "choose chunks of size 1 along all but the last two axes"
        )
    return shape[-2], shape[-1]


def _native_dtype(chunk_spec: ArraySpec) -> np.dtype[Any]:
    dtype = chunk_spec.dtype.to_native_dtype().newbyteorder("=")
    if dtype.name not in _DTYPES:
        raise InputError(
            f"{LAYERS_CODEC}: expected an array of {', '.join(_DTYPES)}, got {dtype}: convert with astype()"
        )
    return dtype
