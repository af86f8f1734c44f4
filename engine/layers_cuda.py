"""Decode a batch of ``wavestream.layers`` streams on a CUDA device: headers and checksums here, the rest there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wavestream.engine.errors import CodecError
from wavestream.engine.layers import (
    bounds_of,
    checked_layers,
    header_of,
    is_stored,
    last_layer,
    segments_of,
)
from wavestream.kernels.arrays import dtype_of, is_contiguous
from wavestream.kernels.cpu.layer_decoder import DAMAGES
from wavestream.kernels.cuda.layer_plan import LayeredImage
from wavestream.kernels.cuda.layers import decode_layers_cuda
from wavestream.kernels.layers import tiling_of
from wavestream.kernels.select import kept_count


def decode_batch(streams: Sequence[Any], keeps: Sequence[float], reduction: int, out: Any) -> None:
    """Decode one stream into each canvas of a batch, in the stream of ``out``; waits for the device once, at the end.

    Args:
        streams: buffers in host memory, each of which begins with a stream and holds (at least) the bytes of
            :func:`wavestream.engine.layers.needed_ranges`.
        keeps: fraction of the coefficients to keep of each, in (0, 1]; as in
            :func:`wavestream.engine.layers.decode_image`, whose pixels these are, bit for bit.
        reduction: give the images at ``2**-reduction`` of their sizes.
        out: (batch, rows, cols) C-contiguous CUDA array of the images' dtype. Their top-left corners receive the
            images, the rest becomes 0.

    Raises:
        CodecError: a stream that is damaged, cut short or of an unknown version, or has not this reduction; names its
            number in the batch.
        ValueError: a keep outside (0, 1]; ``out`` does not fit.
        RuntimeError: there is no CUDA device.
    """
    shape = tuple(int(side) for side in out.shape)
    if not len(streams) == len(keeps) == shape[0]:
        raise ValueError(f"expected as many streams and keeps as canvases in out, {shape[0]}, got {len(streams)} "
                         f"streams and {len(keeps)} keeps")  # fmt: skip
    if not is_contiguous(out):
        raise ValueError(f"out: expected a C-contiguous array, got a view of shape {shape} with gaps; pass a new one")
    images = []
    for index, (stream, keep) in enumerate(zip(streams, keeps, strict=True)):
        try:
            images.append(_parsed(stream, float(keep), reduction, dtype_of(out), shape[1:]))
        except (CodecError, ValueError) as error:
            raise type(error)(f"sample {index} of the batch: {error}") from error
    damage = decode_layers_cuda(images, reduction, out)
    for index in np.flatnonzero(damage[:, 0]).tolist():
        kind, number = damage[index].tolist()
        start, length, layer, *_ = images[index].segments[number].tolist()
        raise CodecError(
            f"sample {index} of the batch: layer {layer + 1}, the segment at bytes {start} to {start + length}: "
            f"{DAMAGES[kind - 1]}"
        )


def _parsed(stream: Any, keep: float, reduction: int, dtype: np.dtype[Any], canvas: tuple[int, ...]) -> LayeredImage:
    """What the device needs of one stream, its checksums checked."""
    if not 0 < keep <= 1:
        raise ValueError(f"expected keep in (0, 1], got {keep}")
    header = header_of(stream)
    if not 0 <= reduction <= header.reductions:
        raise CodecError(f"expected a reduction from 0 to {header.reductions}, got {reduction}")
    rows, cols = -(-header.rows >> reduction), -(-header.cols >> reduction)
    if header.dtype != dtype or rows > canvas[0] or cols > canvas[1]:
        raise ValueError(
            f"out: expected canvases of at least {rows} x {cols} {header.dtype}, got {canvas[0]} x {canvas[1]} {dtype}"
        )
    stored = is_stored(header.fractions, keep)
    layers = checked_layers(stream, header, last_layer(header.fractions, keep), reduction if stored else 0)
    tiling = tiling_of(header.rows, header.cols, header.levels, header.tile)
    return LayeredImage(
        np.frombuffer(stream, np.uint8),
        segments_of(header, layers, reduction if stored else 0, tiling),
        tiling,
        bounds_of([layer.threshold for layer in layers], tiling),
        header.value_range,
        0 if stored else kept_count(keep, header.rows, header.cols),
    )
