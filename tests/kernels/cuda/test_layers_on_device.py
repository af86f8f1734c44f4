"""The decoder of layers on a real device, with the arrays people have: CuPy and torch, in streams."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from format_damage import damaged_streams
from layer_streams import DTYPES, KEEPS, check_batch, check_mutations, picture, plain_stream, product_streams

from wavestream.engine.layers import CodecError, decode_image, encode_image
from wavestream.engine.layers_cuda import decode_batch

pytestmark = pytest.mark.gpu


@pytest.fixture(params=["cupy", "torch"])
def backend(request: pytest.FixtureRequest) -> SimpleNamespace:
    """Arrays of CuPy and of torch on the device."""
    library = pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    if request.param == "cupy":
        return SimpleNamespace(to_device=library.asarray, to_host=lambda array: array.get())
    return SimpleNamespace(
        to_device=lambda array: library.from_numpy(array).cuda(), to_host=lambda tensor: tensor.cpu().numpy()
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", [0, 1])
def test_images_of_hostile_sizes(backend: Any, dtype: str, reduction: int) -> None:
    check_batch(backend, product_streams(dtype), KEEPS, reduction)


@pytest.mark.parametrize("reduction", [0, 1, 3])
def test_images_of_several_tiles(backend: Any, reduction: int) -> None:
    sizes = [(1021, 773), (512, 512), (64, 2000), (1300, 40), (300, 301)]
    check_batch(backend, product_streams("uint16", sizes), KEEPS, reduction)


@pytest.mark.parametrize("states", [0, 1, 2, 4, 8, 16, 32])
def test_streams_of_the_plain_encoder(backend: Any, states: int) -> None:
    images = [picture(shape, "uint8") for shape in ((67, 130), (70, 3), (40, 40))]
    check_batch(backend, [plain_stream(image, states=states) for image in images], [1.0, 1.0, 0.1])


def test_many_images_at_once_the_same_each_time(backend: Any) -> None:
    streams = product_streams("uint8", [(200, 130)] * 7) * 60
    for _ in range(3):
        check_batch(backend, streams, [1.0, 0.1, 0.01, 0.05] * 105)


def test_damaged_streams(backend: Any) -> None:
    for stream, _ in damaged_streams().values():
        with pytest.raises(CodecError, match="sample 0 of the batch: "):
            decode_batch([stream], [1.0], 0, backend.to_device(np.zeros((1, 24, 20), np.uint8)))


def test_mutated_streams(backend: Any) -> None:
    streams = [plain_stream(picture((17, 130), "uint8")), encode_image(picture((24, 20), "uint8"))]
    check_mutations(backend, streams, 300, 3)


def test_work_is_done_in_cupys_current_stream() -> None:
    cupy = pytest.importorskip("cupy")
    image = picture((512, 512), "uint8")
    stream = encode_image(image)
    with cupy.cuda.Stream(non_blocking=True):
        big = cupy.ones((4096, 4096), dtype=np.float32)
        for _ in range(20):
            big = big @ big * 0
        # The canvas is overwritten late: a decoder in another stream would come before.
        out = cupy.zeros((1, 512, 512), np.uint8)
        out += (big[0, 0] + 7).astype(np.uint8)
        decode_batch([stream], [1.0], 0, out)
        np.testing.assert_array_equal(out.get()[0], decode_image(stream))
