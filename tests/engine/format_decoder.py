"""docs/format.md as a program: a second decoder of the wavestream.layers bitstream, written from the document alone.

It is slow, and shares no code with the product. Sections: format_coefficients.py (1, 2), format_stream.py (3),
format_entropy.py (4, 5), format_scan.py (5), and this (6).
"""

from __future__ import annotations

from itertools import islice

import numpy as np
from format_coefficients import MAGNITUDES, Subband, drop_below, inverse, kept, lowest_magnitude, subbands_of
from format_entropy import BLOCK_FLAGS, TileDecoder, read_tables
from format_scan import Part, scan_tile
from format_stream import Header, Reader, layers_of, read_header, require


def parts_of(
    bands: list[Subband],
    chosen: list[Subband],
    bounds: dict[tuple[str, int], tuple[int, int]],
    tile: tuple[int, int],
    tile_shape: tuple[int, int],
) -> list[Part]:
    """What of the subbands ``chosen`` lies in a tile, with the parents' part in it."""
    by_name = {(band.orientation, band.level): band for band in bands}
    parts = []
    for band in chosen:
        place = band.part(tile, tile_shape)
        above = by_name.get((band.orientation, band.level + 1))
        parent = None if above is None else above.values[above.part(tile, tile_shape)]
        lo, hi = bounds[band.orientation, band.level]
        parts.append(Part(band.orientation, band.values[place], band.known[place], lo, hi, parent))
    return parts


def decode_segment(
    data: bytes,
    header: Header,
    bands: list[Subband],
    chosen: list[Subband],
    bounds: dict[tuple[str, int], tuple[int, int]],
) -> None:
    """One segment, of the subbands ``chosen``."""
    reader = Reader(data)
    first = reader.take(1)[0]
    scale, log_interleaved = first & 15, first >> 4
    require(log_interleaved <= 5, f"log2 S of {log_interleaved}")
    tables = read_tables(reader, 0 if chosen[0].orientation == "LL" else BLOCK_FLAGS)
    tiles = header.tiles
    lengths = [reader.varint() for _ in tiles[:-1]]
    lengths.append(len(data) - reader.at - sum(lengths))
    require(lengths[-1] >= 0, "tiles longer than their segment")
    for tile, length in zip(tiles, lengths, strict=True):
        parts = parts_of(bands, chosen, bounds, tile, header.tile)
        if length > 0:
            decoder = TileDecoder(reader.take(length), tables, 1 << log_interleaved)
            scan_tile(decoder, parts, scale)
            decoder.finish()
        for part in parts:
            part.known |= part.lo == 0


def decode(data: bytes, keep: float = 1.0, reduction: int = 0) -> np.ndarray:
    """The image at 2^-reduction of its size, of the coefficients that ``keep`` keeps.

    Raises:
        Damaged: the stream is damaged, or ends before what is needed.
        ValueError: ``reduction`` above R.
    """
    data = bytes(data)
    header = read_header(Reader(data))
    if reduction > header.reductions:
        raise ValueError(f"reduction {reduction} of an image with {header.levels} levels")
    stored = [fraction / 10**7 for fraction in header.fractions] + [1.0]
    last = next(index for index, fraction in enumerate(stored) if fraction >= keep)
    finest = reduction if stored[last] == keep else 0
    bands = subbands_of(header.rows, header.cols, header.levels)
    bounds = {(band.orientation, band.level): (MAGNITUDES, MAGNITUDES - 1) for band in bands}
    for layer in islice(layers_of(data), last + 1):
        for band in bands:
            hi = bounds[band.orientation, band.level][0] - 1
            bounds[band.orientation, band.level] = (lowest_magnitude(layer.threshold, band.weight), hi)
        for segment, span in enumerate(layer.spans[: header.reductions - finest + 1]):
            layer.check(data, segment)
            chosen = [band for band in bands if len(layer.spans) == 1 or header.segment_of(band) == segment]
            if span[1] > span[0]:
                decode_segment(data[slice(*span)], header, bands, chosen, bounds)
            elif layer.threshold == 0:
                for band in chosen:
                    band.known[...] = True
    if stored[last] != keep:
        drop_below(bands, kept(keep, header.rows, header.cols))
    return np.clip(inverse(bands, reduction), header.low, header.high).astype(header.dtype)
