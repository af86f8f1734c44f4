"""Prefixes of a stream are the injected image, and reduced ones; what must be read for them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from format_encoder import transform
from format_images import (
    MAKERS,
    Maker,
    checkerboard,
    constant,
    cut_out,
    injected,
    noise,
    reduced,
    same,
    smooth,
    whole_range,
)
from format_stream import DTYPES, layers_of

from wavestream.engine.layers import (
    DEFAULT_FRACTIONS,
    REDUCTIONS,
    CodecError,
    decode_image,
    encode_image,
    header_of,
    needed_ranges,
    segment_ends,
)

KEEPS = (0.00005, 0.0001, 0.0004, 0.001, 0.003, 0.01, 0.05, 0.1, 0.4, 0.999, 1.0)


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_prefixes_are_the_injected_image(maker: Maker, dtype: str) -> None:
    value_range = whole_range(dtype)
    for size in ((1, 1), (1, 97), (101, 1), (31, 37), (97, 131)):
        image = maker(*size, dtype)
        stream = encode_image(image, value_range)
        ends = segment_ends(stream)
        assert ends.dtype == np.int64
        assert ends.shape == (len(DEFAULT_FRACTIONS) + 1, REDUCTIONS)
        for keep in KEEPS:
            ranges = needed_ranges(ends, DEFAULT_FRACTIONS, keep)
            layer = next((i for i, fraction in enumerate(DEFAULT_FRACTIONS) if fraction >= keep), 4)
            assert ranges == [(0, ends[layer, 3])]
            expected = injected(image, keep, value_range=value_range)
            same(decode_image(cut_out(stream, ranges), keep), expected)
            same(decode_image(stream, keep), expected)


@pytest.mark.parametrize(
    ("rows", "cols", "keep", "count"), [(3, 15, 0.1, 5), (5, 25, 0.044, 5), (25, 25, 0.0024, 2), (25, 25, 0.0056, 3)]
)
def test_how_many_coefficients_are_kept_is_computed_row_by_row(rows: int, cols: int, keep: float, count: int) -> None:
    """``(keep * rows) * cols`` lies on the other side of a half than ``keep * (rows * cols)``, or on it."""
    assert round(keep * (rows * cols)) != count
    image = noise(rows, cols, "uint16")
    weighted = [np.abs(band.values).astype(np.float32) * band.weight for band in transform(image, 2)]
    largest = np.sort(np.concatenate([part.ravel() for part in weighted]))[::-1]
    (first, _) = layers_of(encode_image(image, levels=2, fractions=(keep,)))
    assert largest[count - 1] == first.threshold
    assert largest[count - 1] not in (largest[count - 2], largest[count])
    for stream in (encode_image(image, levels=2, fractions=(keep,)), encode_image(image, levels=2)):
        same(decode_image(stream, keep), reduced(image, 2, keep, 0))
        same(decode_image(stream, keep), injected(image, keep, 2))


@pytest.mark.parametrize("maker", MAKERS)
def test_reduced_images(maker: Maker) -> None:
    for (rows, cols), dtype in (((97, 131), "uint8"), ((64, 8), "int16"), ((1, 97), "uint16"), ((33, 9), "int32")):
        image = maker(rows, cols, dtype)
        stream = encode_image(image, whole_range(dtype))
        ends = segment_ends(stream)
        for reduction in range(REDUCTIONS):
            for keep in (0.0001, 0.003, 0.01, 0.1, 0.5, 1.0):
                ranges = needed_ranges(ends, DEFAULT_FRACTIONS, keep, reduction)
                found = decode_image(cut_out(stream, ranges), keep, reduction)
                assert found.shape == (-(-rows >> reduction), -(-cols >> reduction))
                same(found, reduced(image, header_of(stream).levels, keep, reduction))


def test_needed_ranges_are_what_the_document_says_and_no_more() -> None:
    image = smooth(128, 128)
    stream = encode_image(image)
    layers = list(layers_of(stream))
    ends = segment_ends(stream)
    for index, layer in enumerate(layers):
        stops = [stop for _, stop in layer.spans] * (4 if len(layer.spans) == 1 else 1)
        assert ends[index].tolist() == stops
    assert ends[-1, -1] == len(stream)
    for reduction in range(REDUCTIONS):
        for last, keep in enumerate((*DEFAULT_FRACTIONS, 1.0)):
            needed = set()
            for layer in layers[: last + 1]:
                stop = layer.spans[min(3 - reduction, len(layer.spans) - 1)][1]
                needed |= set(range(layer.start, stop))
            ranges = needed_ranges(ends, DEFAULT_FRACTIONS, keep, reduction)
            assert set().union(*(range(*span) for span in ranges)) == needed
            assert all(first[1] < second[0] for first, second in pairwise(ranges))
    # Between two fractions the threshold is that of the whole image.
    assert needed_ranges(ends, DEFAULT_FRACTIONS, 0.05, 2) == [(0, ends[3, 3])]


@pytest.mark.parametrize(("rows", "cols", "levels"), [(1, 1, 1), (3, 3, 2), (9, 9, 1), (150, 130, 2)])
def test_images_with_few_levels_have_fewer_reductions(rows: int, cols: int, levels: int) -> None:
    image = noise(rows, cols)
    stream = encode_image(image, levels=levels)
    ends = segment_ends(stream)
    for layer, row in zip(layers_of(stream), ends, strict=True):
        stops = [stop for _, stop in layer.spans] * (levels + 1 if len(layer.spans) == 1 else 1)
        assert row.tolist() == [stops[0]] * (3 - levels) + stops
    same(decode_image(stream, 1.0, levels), reduced(image, levels, 1.0, levels))
    with pytest.raises(CodecError, match=f"{levels}"):
        decode_image(stream, 1.0, levels + 1)


def test_ties_stay_together() -> None:
    """In a constant image all of LL ties, in a checkerboard every coefficient."""
    for image in (constant(64, 64), checkerboard(64, 64), np.zeros((64, 64), np.uint8)):
        stream = encode_image(image)
        for keep in KEEPS:
            same(decode_image(stream, keep), injected(image, keep))
        assert len(stream) < 400
    layers = list(layers_of(encode_image(np.zeros((64, 64), np.uint8))))
    assert [float(layer.threshold) for layer in layers] == [0.0] * 5
