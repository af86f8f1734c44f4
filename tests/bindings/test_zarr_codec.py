"""The Zarr codec through zarr-python: what is put in comes out, and what cannot be is refused in clear words."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.abc.codec import SupportsSyncCodec
from zarr.core.array_spec import ArrayConfig, ArraySpec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.dtype import parse_dtype
from zarr.registry import get_codec_class

from wavestream.bindings.zarr_codec import LayersCodec
from wavestream.engine.errors import InputError
from wavestream.engine.layers import DEFAULT_FRACTIONS, CodecError, decode_image, encode_image, header_of

LIMITS = {"int32": (-65536, 65535)}
RANDOM = np.random.default_rng(8)


def noise(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    low, high = LIMITS.get(dtype, (np.iinfo(dtype).min, np.iinfo(dtype).max))
    return RANDOM.integers(low, high, shape, dtype, endpoint=True)


def specification(shape: tuple[int, ...], dtype: str) -> ArraySpec:
    kind: Any = parse_dtype(dtype, zarr_format=3)
    return ArraySpec(shape, kind, 0, ArrayConfig(order="C", write_empty_chunks=False), default_buffer_prototype())


def test_it_is_found_by_its_name() -> None:
    assert get_codec_class("wavestream.layers") is LayersCodec


def test_importing_it_imports_no_torch() -> None:
    script = (
        "import sys, wavestream.bindings.zarr_codec\nassert not {'torch', 'nvidia', 'lightning'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("fractions", [DEFAULT_FRACTIONS, (0.5,), ()])
def test_json_and_pickle_give_it_back(fractions: tuple[float, ...]) -> None:
    codec = LayersCodec(fractions)
    form = codec.to_dict()
    assert form == {"name": "wavestream.layers", "configuration": {"fractions": list(fractions)}}
    assert LayersCodec.from_dict(json.loads(json.dumps(form))) == codec
    assert pickle.loads(pickle.dumps(codec)) == codec
    assert LayersCodec.from_dict({"name": "wavestream.layers"}) == LayersCodec()


@pytest.mark.parametrize(
    "form",
    [
        {"name": "wavestream.layer"},
        {"name": "wavestream.layers", "configuration": {"fraction": [0.1]}},
        {"name": "wavestream.layers", "configuration": [0.1]},
        {"name": "wavestream.layers", "configuration": {"fractions": [0.1, 0.01]}},
        {"name": "wavestream.layers", "configuration": {"fractions": 0.1}},
    ],
)
def test_other_json_is_refused(form: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        LayersCodec.from_dict(form)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32"])
@pytest.mark.parametrize("image", [(1, 1), (1, 37), (41, 1), (13, 17), (32, 48)])
@pytest.mark.parametrize("shards", [None, 3])
def test_arrays_come_back(tmp_path: Path, dtype: str, image: tuple[int, int], shards: int | None) -> None:
    pixels = noise((5, *image), dtype)
    pixels[3] = 0
    zarr.create_array(
        tmp_path / "a.zarr",
        shape=pixels.shape,
        chunks=(1, *image),
        shards=None if shards is None else (shards, *image),
        dtype=dtype,
        serializer=LayersCodec((0.01, 0.1)),
        compressors=None,
        fill_value=0,
    )[...] = pixels
    found = zarr.open_array(tmp_path / "a.zarr", mode="r")  # the codec by its name, from zarr.json
    np.testing.assert_array_equal(found[...], pixels)
    np.testing.assert_array_equal(found[4, : image[0] // 2 + 1, -1:], pixels[4, : image[0] // 2 + 1, -1:])


@pytest.mark.parametrize("shape", [(9, 14), (1, 9, 14), (1, 1, 1, 9, 14)])
@pytest.mark.parametrize("dtype", ["uint16", ">u2"])
def test_images_may_have_any_number_of_axes_before_them(shape: tuple[int, ...], dtype: str) -> None:
    pixels = noise(shape, "uint16")
    array = zarr.create_array(
        zarr.storage.MemoryStore(), shape=shape, chunks=shape, dtype=dtype, serializer=LayersCodec(), compressors=None
    )
    array[...] = pixels
    np.testing.assert_array_equal(array[...], pixels)


def test_a_smaller_image_lies_in_the_corner_and_the_rest_is_zero() -> None:
    image = noise((7, 10), "int16")
    spec = specification((1, 9, 12), "int16")
    chunk = spec.prototype.buffer.from_bytes(encode_image(image, (-32768, 32767), fractions=(0.3,)))
    expected = np.zeros((1, 9, 12), np.int16)
    expected[0, :7, :10] = image
    # The layers of a stream are its own, not those of the codec that reads it.
    np.testing.assert_array_equal(LayersCodec()._decode_sync(chunk, spec).as_numpy_array(), expected)


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (np.ones((10, 12), np.uint16), "uint16 and 10 x 12 pixels"),
        (np.ones((9, 13), np.uint16), "uint16 and 9 x 13 pixels"),
        (np.ones((9, 12), np.int16), "int16 and 9 x 12 pixels"),
    ],
)
def test_a_stream_of_another_array_is_refused(image: np.ndarray, got: str) -> None:
    spec = specification((1, 9, 12), "uint16")
    chunk = spec.prototype.buffer.from_bytes(encode_image(image))
    with pytest.raises(CodecError, match=rf"expected an image of uint16 and at most 9 x 12 pixels.*, got one of {got}"):
        LayersCodec()._decode_sync(chunk, spec)


def test_a_damaged_chunk_raises_the_error_of_the_codec(tmp_path: Path) -> None:
    pixels = noise((2, 20, 30), "uint8")
    array = zarr.create_array(
        tmp_path / "a.zarr", data=pixels, chunks=(1, 20, 30), serializer=LayersCodec(), compressors=None
    )
    file = tmp_path / "a.zarr/c/1/0/0"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    np.testing.assert_array_equal(array[0], pixels[0])
    with pytest.raises(CodecError):
        array[1]
    file.write_bytes(b"no stream")
    with pytest.raises(CodecError, match="expected"):
        array[1]


def test_arrays_that_it_cannot_hold_are_refused() -> None:
    options: dict[str, Any] = {"shape": (4, 8, 8), "serializer": LayersCodec(), "compressors": None}
    for shards in (None, (2, 8, 8)):
        for dtype in ("float32", "int64", "bool"):
            with pytest.raises(InputError, match=f"expected an array of uint8, .*int32, got {dtype}"):
                zarr.create_array({}, chunks=(1, 8, 8), shards=shards, dtype=dtype, **options)
    with pytest.raises(InputError, match=r"expected chunks of one image, .* got chunks of \(2, 8, 8\)"):
        zarr.create_array({}, chunks=(2, 8, 8), dtype="uint8", **options)[...] = 1
    with pytest.raises(InputError, match=r"expected chunks of one image, .* got chunks of \(8,\)"):
        zarr.create_array({}, chunks=(8,), dtype="uint8", **{**options, "shape": (8,)})[...] = 1
    with pytest.raises(CodecError):
        zarr.create_array({}, chunks=(1, 8, 8), dtype="int32", **options)[...] = 70000


def test_hooks_without_and_with_an_event_loop_are_one() -> None:
    codec, spec, image = LayersCodec((0.2,)), specification((1, 11, 13), "uint16"), noise((1, 11, 13), "uint16")
    assert isinstance(codec, SupportsSyncCodec)
    pixels = spec.prototype.nd_buffer.from_numpy_array(image)
    encoded = codec._encode_sync(pixels, spec)
    assert encoded.to_bytes() == asyncio.run(codec._encode_single(pixels, spec)).to_bytes()
    assert header_of(encoded.to_bytes()).fractions == (0.2,)
    np.testing.assert_array_equal(decode_image(encoded.to_bytes()), image[0])
    for decoded in (codec._decode_sync(encoded, spec), asyncio.run(codec._decode_single(encoded, spec))):
        np.testing.assert_array_equal(decoded.as_numpy_array(), image)


def test_its_size_is_not_known_before() -> None:
    assert not LayersCodec.is_fixed_size
    with pytest.raises(NotImplementedError):
        LayersCodec().compute_encoded_size(100, specification((1, 10, 10), "uint8"))
