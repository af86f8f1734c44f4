"""What the host does for the CUDA decoder: which bytes it hands over, and what it says of streams that it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wavestream.engine import layers_cuda
from wavestream.engine.layers import CodecError, encode_image, needed_ranges, segment_ends
from wavestream.engine.layers_cuda import decode_batch
from wavestream.kernels.cuda.layer_plan import HIGH, LENGTH, START, WIDE, streams_plan

IMAGE = np.random.default_rng(2).integers(0, 256, (40, 50), dtype=np.uint8)
STREAM = encode_image(IMAGE)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The batches that went to the device, which finds nothing wrong."""
    seen: list[Any] = []

    def decode(images: Any, reduction: int, out: Any) -> np.ndarray:
        seen.append(images)
        return np.zeros((len(images), 2), np.int64)

    monkeypatch.setattr(layers_cuda, "decode_layers_cuda", decode)
    return seen


def canvas(count: int = 2, dtype: str = "uint8", rows: int = 40, cols: int = 50) -> np.ndarray:
    return np.zeros((count, rows, cols), dtype)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"XX" + STREAM[2:], "sample 1 of the batch: expected a wavestream.layers stream"),
        (STREAM[:-1], "sample 1 of the batch: layer 5, segment 4: expected bytes"),
        (STREAM[:-1] + bytes([STREAM[-1] ^ 1]), r"sample 1 of the batch: layer 5, segment 4 .*: expected the checksum"),
    ],
)
def test_a_stream_that_the_host_refuses_is_named(given: list[Any], stream: bytes, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        decode_batch([STREAM, stream], [1.0, 1.0], 0, canvas())
    assert given == []


@pytest.mark.parametrize(
    ("keeps", "reduction", "out", "message"),
    [
        ([1.0, 0.0], 0, canvas(), r"sample 1 of the batch: expected keep in \(0, 1\], got 0.0"),
        ([1.0, np.nan], 0, canvas(), r"sample 1 of the batch: expected keep in \(0, 1\], got nan"),
        ([1.0, 1.0], 0, canvas(3), "expected as many streams and keeps as canvases in out, 3, got 2 streams and 2"),
        ([1.0], 0, canvas(), "got 2 streams and 1 keeps"),
        ([1.0, 1.0], 0, canvas(dtype="int16"), "sample 0 of the batch: .* 40 x 50 uint8, got 40 x 50 int16"),
        ([1.0, 1.0], 0, canvas(rows=39), "sample 0 of the batch: out: expected canvases of at least 40 x 50 uint8"),
        ([1.0, 1.0], 1, canvas(rows=20, cols=24), "at least 20 x 25 uint8, got 20 x 24 uint8"),
        ([1.0, 1.0], 0, canvas(4)[::2], "C-contiguous"),
    ],
)
def test_arguments_that_do_not_fit(given: list[Any], keeps: Any, reduction: int, out: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_batch([STREAM, STREAM], keeps, reduction, out)
    assert given == []


@pytest.mark.parametrize("reduction", [-1, 4])
def test_a_reduction_that_a_stream_does_not_have(given: list[Any], reduction: int) -> None:
    with pytest.raises(CodecError, match=f"sample 0 of the batch: expected a reduction from 0 to 3, got {reduction}"):
        decode_batch([STREAM], [1.0], reduction, canvas(1))


def test_only_the_segments_that_are_needed_go_to_the_device(given: list[Any]) -> None:
    ends, fractions = segment_ends(STREAM), (0.0001, 0.001, 0.01, 0.1)
    for keep, reduction in ((1.0, 0), (0.01, 0), (0.1, 2), (0.05, 2)):
        decode_batch([STREAM], [keep], reduction, canvas(1))
        ((image,),) = given
        plan = streams_plan([image], 2000)
        rows = plan.capacity.tables[0]
        segments = plan.plan[: rows[0] * rows[1]].reshape(rows)[: plan.segments]
        staged = plan.plan[-plan.capacity.words :].view(np.uint8)
        for (start, length, *_), row in zip(image.segments.tolist(), segments, strict=True):
            assert staged[row[START] :][: row[LENGTH]].tobytes() == STREAM[start : start + length]
            assert any(low <= start and start + length <= high
                       for low, high in needed_ranges(ends, fractions, keep, reduction))  # fmt: skip
        assert image.count == (100 if keep == 0.05 else 0)
        given.clear()


def test_a_plan_holds_each_tiling_once(given: list[Any]) -> None:
    other = encode_image(IMAGE[:30])
    decode_batch([STREAM, other, STREAM], [1.0, 1.0, 1.0], 0, canvas(3))
    (images,) = given
    plan = streams_plan(images, 2000)
    counts = [np.prod(shape) for shape in plan.capacity.tables]
    parts = plan.plan[sum(counts[:2]) : sum(counts[:3])].reshape(plan.capacity.tables[2])
    bands = len(images[0].tiling.layout.subbands)
    assert [tuple(parts[first, [HIGH, WIDE]]) for first in (bands - 1, 2 * bands - 1)] == [(20, 25), (15, 25)]
    assert plan.jobs == 3


def test_what_the_device_finds_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers_cuda, "decode_layers_cuda", lambda *_: np.array([[0, 0], [2, 1]]))
    with pytest.raises(CodecError, match=r"sample 1 of the batch: layer \d, .* \d+ to \d+: its tables do not fit"):
        decode_batch([STREAM, STREAM], [1.0, 1.0], 0, canvas())
