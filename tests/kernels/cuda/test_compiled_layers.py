"""The compiled decoder of layers, run on the CPU in blocks of a device's size, gives the CPU decoder's pixels."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from format_damage import damaged_streams
from format_encoder import Choices, encode, with_body
from layer_streams import (
    DTYPES,
    KEEPS,
    SIZES,
    check_batch,
    check_mutations,
    decoded,
    expected_canvas,
    picture,
    plain_stream,
    product_streams,
)
from numba.cuda.dispatcher import CUDADispatcher

from wavestream.engine.layers import (
    CodecError,
    decode_image,
    encode_image,
    header_of,
    needed_ranges,
    segment_ends,
)
from wavestream.engine.layers_cuda import decode_batch
from wavestream.kernels.cpu.layer_decoder import DAMAGES
from wavestream.kernels.cuda import launch, layer_launch, layer_tables, layers, workspace

DAMAGED = damaged_streams()


@pytest.mark.parametrize("dtype", DTYPES)
def test_images_of_hostile_sizes(machine: Any, dtype: str) -> None:
    check_batch(machine, product_streams(dtype), KEEPS)


@pytest.mark.parametrize("reduction", [1, 2, 3])
def test_reduced_images(machine: Any, reduction: int) -> None:
    sizes = [(1, 1), *SIZES[1:]] if reduction == 1 else [size for size in SIZES if max(size) >= 2**reduction]
    check_batch(machine, product_streams("int16", sizes), KEEPS[-len(sizes) :], reduction)


@pytest.mark.parametrize("levels", [1, 2, 6])
def test_streams_of_the_plain_encoder(machine: Any, levels: int) -> None:
    """Several tiles, all numbers of states, shifts and scales; layers as one segment; tiles that hold nothing."""
    images = [picture(shape, "uint8", levels) for shape in ((1, 130), (67, 65), (70, 3), (40, 40))]
    images[3][:] = 7
    streams = [plain_stream(image, min(levels, 1 + int(np.log2(max(image.shape) - 1)))) for image in images]
    check_batch(machine, streams, [1.0, 1.0, 0.1, 1.0])
    check_batch(machine, streams, [0.03, 0.0001, 1.0, 0.5], 1)


@pytest.mark.parametrize("states", [1, 2, 8, 32])
@pytest.mark.parametrize("threads", [3, 32, 64])
def test_any_number_of_threads_for_any_number_of_states(
    machine: Any, monkeypatch: pytest.MonkeyPatch, threads: int, states: int
) -> None:
    monkeypatch.setattr(layer_launch, "DEVICE", replace(layer_launch.DEVICE, threads=threads))
    check_batch(machine, [plain_stream(picture((40, 37), "uint16"), states=states)], [1.0])


def test_the_order_of_threads_does_not_matter(machine: Any) -> None:
    machine.reverse = True
    check_batch(machine, product_streams("uint16"), KEEPS)


def test_layers_without_coefficients_and_large_values(machine: Any) -> None:
    random = np.random.default_rng(3)
    noise = random.integers(-65536, 65535, (40, 41), endpoint=True).astype(np.int32)
    spike = np.zeros((40, 41), np.int32)
    spike[20, 20] = 65535
    checkerboard = np.where(np.indices((40, 41)).sum(0) % 2 == 0, -65536, 65535).astype(np.int32)
    check_batch(machine, [encode_image(image) for image in (noise, spike, checkerboard)], [1.0] * 3)
    check_batch(machine, [encode_image(image) for image in (noise, spike, checkerboard)], [0.02, 0.001, 0.3], 1)


def test_streams_without_any_segment(machine: Any) -> None:
    empty = encode_image(np.zeros((24, 20), np.uint8))
    check_batch(machine, [empty], [1.0])
    check_batch(machine, [empty, encode_image(picture((24, 20), "uint8"))], [0.05, 1.0], 1)


@pytest.mark.parametrize("levels", [1, 2])
def test_low_passes_of_either_sign(machine: Any, levels: int) -> None:
    row, col = np.mgrid[0:40, 0:41]
    noise = np.random.default_rng(4).normal(0, 30, row.shape)
    waves = np.rint(200 * np.sin(row / 9) * np.cos(col / 8) + noise).astype(np.int16)
    check_batch(machine, [encode_image(waves, levels=levels), encode_image(-waves, levels=levels)], [1.0, 0.1])


def test_value_ranges_clip(machine: Any) -> None:
    image = np.clip(picture((40, 41), "int16"), -300, 500).astype(np.int16)
    streams = [encode_image(image, (-300, 500)), encode_image(image)]
    check_batch(machine, streams, [0.01, 0.01])
    assert decode_image(streams[0], 0.01).max() == 500 < decode_image(streams[1], 0.01).max()


def test_only_the_needed_bytes_are_read(machine: Any) -> None:
    """The buffer ends where the reader stops, and what the image does not need is garbage."""
    stream = encode_image(picture((66, 70), "uint8"))
    header, ends = header_of(stream), segment_ends(stream)
    for keep, reduction in ((0.01, 0), (0.1, 2), (1.0, 1)):
        ranges = needed_ranges(ends, header.fractions, keep, reduction)
        sparse = bytearray(b"\xa5" * ranges[-1][1])
        for start, stop in ranges:
            sparse[start:stop] = stream[start:stop]
        canvas = -(-66 >> reduction), -(-70 >> reduction)
        found = decoded(machine, [bytes(sparse)], [keep], reduction, canvas)[0]
        np.testing.assert_array_equal(found, expected_canvas(stream, keep, reduction, canvas))


def test_more_blocks_than_a_grid_holds(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "MAX_GRID_SIDE", 2)
    check_batch(machine, product_streams("uint8", SIZES[:4] + SIZES[:3]), [*KEEPS[:4], *KEEPS[:3]])


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_streams_are_refused_with_the_reason_that_the_cpu_gives(machine: Any, name: str) -> None:
    stream, _ = DAMAGED[name]
    with pytest.raises(CodecError) as expected:
        decode_image(stream)
    with pytest.raises(CodecError) as found:
        decode_batch([stream], [1.0], 0, machine.to_device(np.zeros((1, 24, 20), np.uint8)))
    assert str(found.value).startswith("sample 0 of the batch: ")
    # Of a stream that ends too early both reasons are true.
    reasons = {DAMAGES[layer_tables.STREAM - 1], DAMAGES[layer_tables.END - 1]}
    either = [text.rpartition(": ")[2] for text in (str(found.value), str(expected.value))]
    assert str(found.value).endswith(str(expected.value)) or set(either) <= reasons


def test_a_damaged_stream_is_named_and_leaves_the_others_alone(machine: Any) -> None:
    good = encode_image(picture((24, 20), "uint8"))
    out = machine.to_device(np.full((3, 24, 20), 7, np.uint8))
    with pytest.raises(CodecError, match=r"sample 1 of the batch: layer 5, the segment at bytes \d+ to \d+: "):
        decode_batch([good, DAMAGED["word missing"][0], good], [1.0] * 3, 0, out)
    found = machine.to_host(out)
    np.testing.assert_array_equal(found[0], decode_image(good))
    np.testing.assert_array_equal(found[2], decode_image(good))


def test_mutated_streams(machine: Any) -> None:
    """Whatever the bytes say: the machine ends with an error on any access outside the arrays."""
    streams = [
        plain_stream(picture((17, 130), "uint8")),
        plain_stream(picture((21, 18), "int16")),
        encode_image(picture((24, 20), "uint8")),
    ]
    check_mutations(machine, streams, 120, 1)


@pytest.mark.parametrize("odd", [0, 1])
def test_words_beyond_the_end_of_a_long_row_are_not_read(machine: Any, odd: int) -> None:
    """The row takes more words than lie behind the stream in the buffer that holds it."""
    noise = np.random.default_rng(6).integers(0, 65536, (1, 3000)).astype(np.uint16)
    stream = encode(noise, (0, 65535), (1_000,), choices=lambda layer, segment: Choices(interleaved=32, shared=64))
    stream = with_body(stream, 1, 3, lambda body: body[: len(body) // 16 * 2 + odd])
    reason = DAMAGES[(layer_tables.STREAM_LENGTH if odd else layer_tables.STREAM) - 1]
    with pytest.raises(CodecError, match=f"sample 0 of the batch: layer 2, .*{reason}"):
        decode_batch([stream], [1.0], 0, machine.to_device(np.zeros((1, 1, 3000), np.uint16)))


def test_a_workspace_is_used_again(machine: Any) -> None:
    full, sparse = picture((40, 41), "uint8"), picture((40, 41), "uint8", 9)
    sparse[:] = 3
    check_batch(machine, [encode_image(full)], [1.0])
    kept = list(workspace._kept.values())
    # Nothing of the image before may show.
    check_batch(machine, [encode_image(sparse)], [1.0])
    assert kept[0] in workspace._kept.values()


def test_all_is_queued_in_the_callers_stream(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """... and read back once, at the end, after all of it."""
    seen: list[tuple[str, Any]] = []
    queue = SimpleNamespace(device=0, pointer=77, stream=SimpleNamespace(synchronize=lambda: log("wait", queue.stream)))
    configured: Any = CUDADispatcher.__getitem__

    def log(name: str, stream: Any) -> None:
        seen.append((name, stream))

    def launched(kernel: Any, configuration: tuple[Any, ...]) -> Any:
        log("launch", configuration[2])
        return configured(kernel, configuration)

    def read(self: Any, stream: Any = None) -> np.ndarray:
        log("read", stream)
        return self.array.copy()

    monkeypatch.setattr(layers, "queue_of", lambda out: nullcontext(queue))
    monkeypatch.setattr(layers, "is_simulated", lambda: False)
    monkeypatch.setattr(CUDADispatcher, "__getitem__", launched)
    out = machine.to_device(np.zeros((1, 24, 20), np.uint8))
    monkeypatch.setattr(type(out), "copy_to_host", read)
    decode_batch([encode_image(picture((24, 20), "uint8"))], [0.05], 0, out)
    assert {stream is queue.stream for _, stream in seen} == {True}
    assert [name for name, _ in seen][-2:] == ["read", "wait"]
    assert {name for name, _ in seen[:-2]} == {"launch"}
