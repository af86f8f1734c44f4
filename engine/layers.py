"""The ``wavestream.layers`` codec: one stream per image, of which a prefix is the image at each compression level.

The format is specified in ``docs/format.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wavestream.engine.bitstream import (
    LARGEST_SIDE,
    MOST_PIXELS,
    PIXEL_TYPES,
    SEGMENTS,
    Layer,
    LayersHeader,
    check_layer,
    fraction_units,
    read_header,
    read_layer,
    write_header,
    write_layer,
)
from wavestream.engine.errors import CodecError as CodecError
from wavestream.kernels.cpu.layer_decoder import DAMAGES, decode_coefficients_cpu, decode_layers_cpu
from wavestream.kernels.cpu.layer_encoder import encode_layers_cpu
from wavestream.kernels.dwt import forward, inverse
from wavestream.kernels.layers import DEFAULT_FRACTIONS as DEFAULT_FRACTIONS
from wavestream.kernels.layers import MOST_LEVELS, chosen_tile, layer_bounds, tiling_of
from wavestream.kernels.select import kth_magnitude
from wavestream.kernels.threshold import hard_threshold
from wavestream.kernels.wavelets import INTEGER_WAVELET, default_levels, max_levels

REDUCTIONS = SEGMENTS


def encode_image(
    image: NDArray[Any],
    value_range: tuple[int, int] | None = None,
    *,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    levels: int | None = None,
) -> bytes:
    """Encode one image losslessly.

    Args:
        image: (rows, cols) uint8, int8, uint16, int16 or int32; of int32 the values -65536 to 65535.
        value_range: lowest and highest value that a pixel may take, to which compressed images are clipped; None: that
            of the dtype, of int32 -65536 to 65535.
        fractions: of the coefficients in all layers up to each but the last: ascending multiples of 0.0000001.
        levels: of the transform; None: ``min(5, as many as the image allows)``.

    Returns:
        the stream.

    Raises:
        CodecError: an image, a range or fractions that the format does not take.
    """
    if image.ndim != 2 or image.dtype.name not in PIXEL_TYPES:
        raise CodecError(
            f"expected an image (rows, cols) of {', '.join(PIXEL_TYPES)}, got {image.dtype} of shape {image.shape}"
        )
    rows, cols = image.shape
    if not (1 <= rows <= LARGEST_SIDE and 1 <= cols <= LARGEST_SIDE and rows * cols <= MOST_PIXELS):
        raise CodecError(f"expected sides from 1 to {LARGEST_SIDE} and up to {MOST_PIXELS} pixels, got {rows} x {cols}")
    fraction_units(fractions)
    pixels = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))
    value_range = _checked_range(pixels, value_range)
    depth = default_levels(rows, cols, INTEGER_WAVELET) if levels is None else levels
    if not 1 <= depth <= min(MOST_LEVELS, max_levels(rows, cols, INTEGER_WAVELET)):
        raise CodecError(f"levels: an image of {rows} x {cols} pixels allows 1 to "
                         f"{min(MOST_LEVELS, max_levels(rows, cols, INTEGER_WAVELET))}, got {levels}")  # fmt: skip
    header = LayersHeader(
        rows, cols, pixels.dtype, value_range, depth, tuple(fractions), chosen_tile(rows, cols, depth), 0
    )
    tiling = tiling_of(rows, cols, depth, header.tile)
    if pixels.dtype == np.int8:
        pixels = pixels.astype(np.int16)
    packed = forward(pixels[None], INTEGER_WAVELET, depth, threads=1)
    thresholds = [
        float(kth_magnitude(packed, fraction, (rows, cols), INTEGER_WAVELET, depth, threads=1)[0])
        for fraction in fractions
    ]
    layers = encode_layers_cpu(packed[0], tiling, bounds_of([*thresholds, 0.0], tiling))
    parts = [
        write_layer(b"" if number else write_header(header), threshold, segments)
        for number, (threshold, segments) in enumerate(zip([*thresholds, None], layers, strict=True))
    ]
    return b"".join(parts)


def _checked_range(pixels: NDArray[Any], value_range: tuple[int, int] | None) -> tuple[int, int]:
    if value_range is None:
        limits = np.iinfo(pixels.dtype)
        value_range = (-65536, 65535) if pixels.dtype == np.int32 else (int(limits.min), int(limits.max))
    low, high = int(value_range[0]), int(value_range[1])
    if pixels.min() < low or pixels.max() > high:
        raise CodecError(f"expected pixels from {low} to {high}, got {pixels.min()} to {pixels.max()}")
    return low, high


def header_of(data: Any) -> LayersHeader:
    """What a stream says of its image.

    Raises:
        CodecError: not a stream of this format, or one that this version cannot read.
    """
    return read_header(data)


def segment_ends(data: Any) -> NDArray[np.int64]:
    """Where a reader can stop: (layers, 4) int64 bytes from the start of the stream.

    ``[j, s]`` is the end of what layer ``j + 1`` needs for the image at ``2**-(3 - s)`` of its size; images too small
    for that reduction repeat the end of the smallest they have.

    Raises:
        CodecError: a stream that is damaged or not whole.
    """
    header = read_header(data)
    layers = checked_layers(data, header, len(header.fractions), 0)
    spare = SEGMENTS - 1 - header.reductions
    ends = []
    for layer in layers:
        stops = [end for _, end in layer.segments]
        if len(stops) == 1:
            stops *= header.reductions + 1
        ends.append([stops[0]] * spare + stops)
    return np.array(ends, np.int64)


def needed_ranges(
    ends: ArrayLike, fractions: Sequence[float], keep: float = 1.0, reduction: int = 0
) -> list[tuple[int, int]]:
    """The byte ranges, [start, stop), that :func:`decode_image` reads; ranges that meet are one.

    Args:
        ends: (layers, 4) of :func:`segment_ends`.
        fractions: of the layers.
        keep: fraction of the coefficients to keep, in (0, 1].
        reduction: the image is wanted at ``2**-reduction`` of its size, 0 to 3.
    """
    last = last_layer(fractions, keep)
    column = SEGMENTS - 1 - (reduction if is_stored(fractions, keep) else 0)
    ranges: list[tuple[int, int]] = []
    start = 0
    for row in np.asarray(ends)[: last + 1].tolist():
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], row[column])
        else:
            ranges.append((start, row[column]))
        start = row[-1]
    return ranges


def last_layer(fractions: Sequence[float], keep: float) -> int:
    """The last layer that an image with ``keep`` needs, from 0."""
    return next((index for index, fraction in enumerate(fractions) if fraction >= keep), len(fractions))


def is_stored(fractions: Sequence[float], keep: float) -> bool:
    return keep in fractions or keep == 1.0


def decode_image(data: Any, keep: float = 1.0, reduction: int = 0, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Decode one image. Releases the GIL, runs in the calling thread, may run in many.

    Args:
        data: a buffer that begins with the stream and holds (at least) the bytes of :func:`needed_ranges`.
        keep: fraction of the coefficients to keep, in (0, 1]; the image is then, bit for bit, what
            ``inject(image, keep, "cdf53", value_range=...)`` makes of the whole one.
        reduction: give the image at ``2**-reduction`` of its size, the low-pass of the transform; at most 3, and at
            most the levels of the transform.
        out: (at least rows, at least cols) C-contiguous array of the image's dtype, whose top-left corner receives it.

    Returns:
        (ceil(rows / 2**reduction), ceil(cols / 2**reduction)) of the image's dtype; ``out`` where it was given.

    Raises:
        CodecError: a stream that is damaged, cut short or of an unknown version; a reduction that it does not have.
        ValueError: ``keep`` outside (0, 1], or ``out`` does not fit.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"expected keep in (0, 1], got {keep}")
    header = read_header(data)
    if not 0 <= reduction <= header.reductions:
        raise CodecError(f"expected a reduction from 0 to {header.reductions}, got {reduction}")
    shape = -(-header.rows >> reduction), -(-header.cols >> reduction)
    if out is None:
        out = np.empty(shape, header.dtype)
    elif not _fits(out, shape, header.dtype):
        raise ValueError(
            f"out must be C-contiguous, writeable {header.dtype} of at least {shape}, got {out.dtype} {out.shape}"
        )
    target = out if header.dtype != np.int8 else np.empty(shape, np.int16)
    if is_stored(header.fractions, keep):
        _decode_stored(data, header, keep, reduction, target)
    else:
        _decode_between(data, header, keep, reduction, target)
    if target is not out:
        out[: shape[0], : shape[1]] = target
    return out


def _fits(out: NDArray[Any], shape: tuple[int, int], dtype: np.dtype[Any]) -> bool:
    usable = out.ndim == 2 and out.dtype == dtype and out.flags.c_contiguous and out.flags.writeable
    return usable and out.shape[0] >= shape[0] and out.shape[1] >= shape[1]


def _decode_stored(data: Any, header: LayersHeader, keep: float, reduction: int, out: NDArray[Any]) -> None:
    layers = checked_layers(data, header, last_layer(header.fractions, keep), reduction)
    tiling = tiling_of(header.rows, header.cols, header.levels, header.tile)
    segments = segments_of(header, layers, reduction, tiling)
    bounds = bounds_of([layer.threshold for layer in layers], tiling)
    _report(
        decode_layers_cpu(_array(data), segments, tiling, bounds, reduction, header.value_range, out), header, segments
    )


def _decode_between(data: Any, header: LayersHeader, keep: float, reduction: int, out: NDArray[Any]) -> None:
    """An image of a keep that is no layer's: of the coefficients of the next layer the largest."""
    layers = checked_layers(data, header, last_layer(header.fractions, keep), 0)
    tiling = tiling_of(header.rows, header.cols, header.levels, header.tile)
    layout, shape = tiling.layout, (header.rows, header.cols)
    segments = segments_of(header, layers, 0, tiling)
    bounds = bounds_of([layer.threshold for layer in layers], tiling)
    packed = np.empty((1, layout.size), np.int32)
    _report(decode_coefficients_cpu(_array(data), segments, tiling, bounds, packed[0]), header, segments)
    threshold = kth_magnitude(packed, keep, shape, INTEGER_WAVELET, header.levels, threads=1)
    hard_threshold(packed, threshold, shape, INTEGER_WAVELET, header.levels, out=packed, threads=1)
    rows, cols = layout.low_shapes[reduction].tolist()
    levels = header.levels - reduction
    if levels:
        pixels = inverse(packed[:, : rows * cols].copy(), (rows, cols), INTEGER_WAVELET, levels, threads=1)[0]
    else:
        pixels = packed[0, : rows * cols].reshape(rows, cols)
    out[:rows, :cols] = np.clip(pixels, *header.value_range)


def checked_layers(data: Any, header: LayersHeader, last: int, reduction: int) -> list[Layer]:
    """The layers up to number ``last``, their checksums checked."""
    view = memoryview(data).cast("B")
    layers: list[Layer] = []
    for number in range(last + 1):
        layer = read_layer(view, header, layers)
        check_layer(view, header, number, layer, layer.segments_for(header.reductions, reduction))
        layers.append(layer)
    return layers


def segments_of(header: LayersHeader, layers: Sequence[Layer], reduction: int, tiling: Any) -> NDArray[np.int64]:
    """The segments to decode, as the decoder takes them; empty ones are left out."""
    rows = []
    for number, layer in enumerate(layers):
        for index, (start, end) in enumerate(layer.segments[: layer.segments_for(header.reductions, reduction)]):
            bands = (0, len(tiling.layout.subbands)) if len(layer.segments) == 1 else tiling.bands_of(index)
            if end > start:
                rows.append((start, end - start, number, *bands))
    return np.array(rows, np.int64).reshape(-1, 5)


def bounds_of(thresholds: Sequence[float], tiling: Any) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The magnitudes of each layer in each subband, as :func:`wavestream.kernels.layers.layer_bounds`."""
    return layer_bounds(np.array(thresholds, np.float32), tiling.layout)


def _array(data: Any) -> NDArray[np.uint8]:
    """The stream as an array that is never written: one kind of array, one compiled decoder."""
    array = np.frombuffer(data, np.uint8)
    array.flags.writeable = False
    return array


def _report(damage: tuple[int, int], header: LayersHeader, segments: NDArray[np.int64]) -> None:
    kind, number = damage
    if kind:
        start, length, layer, *_ = segments[number].tolist()
        raise CodecError(f"layer {layer + 1}, the segment at bytes {start} to {start + length}: {DAMAGES[kind - 1]}")
