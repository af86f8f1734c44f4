"""The kernel of one level of the forward transform: a block turns a tile of pixels into a tile of four subbands."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import cuda, uint32, uint64

from wavestream.kernels.cuda.geometry import COLS, HH, HL, IMAGE, LAST, LH, LOW, PITCH, ROWS
from wavestream.kernels.cuda.lines import analysis_line
from wavestream.kernels.wavelets import INTEGER_WAVELET


@cache
def analysis_kernel(wavelet: str, tile: tuple[int, int]) -> Any:
    """The kernel (source, lows, coefficients, levels, level) of a wavelet.

    Columns are transformed first, then rows: for ``cdf53`` the order is part of the definition (ITU-T T.800, F.4.2).

    Args:
        wavelet: its name.
        tile: (rows, cols) of low-pass coefficients per block.

    The kernel's arguments: ``source`` flat pixels of any dtype (finest level) or ``lows``; ``lows`` flat intermediate
    low-passes; ``coefficients`` flat packed coefficients; ``levels`` as in ``geometry``; ``level`` 0 for the finest.
    """
    line = analysis_line(wavelet)
    lead, dtype, extend, analyse = line.lead, line.dtype, line.extend, line.analyse
    tile_rows, tile_cols = tile
    in_rows, in_cols = 2 * (tile_rows - 1) + line.span, 2 * (tile_cols - 1) + line.span
    # Even and odd columns are kept apart between the two steps: neighbouring threads then read neighbouring words.
    half = (in_cols + 1) // 2
    mid_cols = 2 * half
    # Numba takes the size of shared memory only as a bare constant.
    samples_size, mid_size = in_rows * in_cols, tile_rows * mid_cols
    halfway_size = 2 * mid_size
    rounding = 0 if wavelet == INTEGER_WAVELET else 1

    @cuda.jit
    def analysis(source, lows, coefficients, levels, level):
        samples = cuda.shared.array(samples_size, dtype)
        halfway = cuda.shared.array(halfway_size, dtype)
        first_row = cuda.blockIdx.y * tile_rows
        first_col = cuda.blockIdx.x * tile_cols
        image = cuda.blockIdx.z
        while image < levels.shape[1]:
            rows = levels[level, image, ROWS]
            cols = levels[level, image, COLS]
            low_rows, low_cols = (rows + 1) >> 1, (cols + 1) >> 1
            if first_row < low_rows and first_col < low_cols:
                start = levels[level, image, IMAGE]
                pitch = levels[level, image, PITCH]
                r = cuda.threadIdx.y
                while r < in_rows:
                    row_start = start + extend(2 * first_row - lead + r, rows) * pitch
                    c = cuda.threadIdx.x
                    while c < in_cols:
                        col = extend(2 * first_col - lead + c, cols)
                        samples[uint32(r * in_cols + c)] = dtype(source[uint64(row_start + col)])
                        c += cuda.blockDim.x
                    r += cuda.blockDim.y
                cuda.syncthreads()
                k = cuda.threadIdx.y
                while k < tile_rows:
                    c = cuda.threadIdx.x
                    while c < in_cols:
                        low, high = analyse(samples, 2 * k * in_cols + c, in_cols, 2 * in_cols)
                        place = k * mid_cols + (c & 1) * half + (c >> 1)
                        halfway[uint32(place)] = low
                        halfway[uint32(mid_size + place)] = high
                        c += cuda.blockDim.x
                    k += cuda.blockDim.y
                cuda.syncthreads()
                high_rows, high_cols = (rows + rounding) >> 1, (cols + rounding) >> 1
                last = levels[level, image, LAST] == 1
                ll = levels[level, image, LOW]
                hl = levels[level, image, HL]
                lh = levels[level, image, LH]
                hh = levels[level, image, HH]
                k = cuda.threadIdx.y
                while k < tile_rows and first_row + k < low_rows:
                    row = first_row + k
                    c = cuda.threadIdx.x
                    while c < tile_cols and first_col + c < low_cols:
                        col = first_col + c
                        place = k * mid_cols + c
                        low, high = analyse(halfway, place, half, 1)
                        if last:
                            coefficients[uint64(ll + row * low_cols + col)] = low
                        else:
                            lows[uint64(ll + row * low_cols + col)] = low
                        if col < high_cols:
                            coefficients[uint64(hl + row * high_cols + col)] = high
                        if row < high_rows:
                            low, high = analyse(halfway, mid_size + place, half, 1)
                            coefficients[uint64(lh + row * low_cols + col)] = low
                            if col < high_cols:
                                coefficients[uint64(hh + row * high_cols + col)] = high
                        c += cuda.blockDim.x
                    k += cuda.blockDim.y
            # No barrier before the next image: what it overwrites first was read before the last barrier.
            image += cuda.gridDim.z

    return analysis
