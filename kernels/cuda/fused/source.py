"""The CUDA C++ sources of the fused kernels, with the definitions that make compiled modules of them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np

from wavestream.kernels.layout import ORIENTATIONS
from wavestream.kernels.wavelets import INTEGER_WAVELET, cdf53_norm, filter_bank

FOLDER = Path(__file__).parent

# The two sources. Kernels of the second: begin, analyse_tiles, synthesise_tiles.
WHOLE, TILES = "inject.cu", "tiles.cu"
WHOLE_KERNEL = "inject"
TILE_THREADS = 256

# A multiplication and an addition are fused only where the source says so.
COMPILER_OPTIONS = ("--std=c++17", "--fmad=false")

# Levels that the lifting's table of weights holds: enough for a side of 2**16 pixels.
NORM_LEVELS = 16


@cache
def wavelet_definitions(wavelet: str) -> dict[str, str]:
    """Macros with a wavelet's numbers: its filters as float literals, or the weights of ``cdf53``."""
    if wavelet == INTEGER_WAVELET:
        levels = range(1, NORM_LEVELS + 1)
        norms = [cdf53_norm(orientation, level) for level in levels for orientation in ORIENTATIONS]
        return {"LIFTED": "1", "NORM_LEVELS": str(NORM_LEVELS), "NORMS": _literals(norms)}
    bank = filter_bank(wavelet)
    filters = {"DEC_LO": bank.dec_lo, "DEC_HI": bank.dec_hi, "REC_LO": bank.rec_lo, "REC_HI": bank.rec_hi}
    return {"LIFTED": "0", "TAPS": str(bank.length)} | {name: _literals(taps) for name, taps in filters.items()}


def whole_definitions(
    wavelet: str, source: str, result: str, threads: int, cluster: int, pitch: int, peeled: int = 0
) -> dict[str, str]:
    """All macros of a module of :data:`WHOLE`.

    Args:
        wavelet: its name.
        source, result: names of the pixel types: ``uint8``, ``int16``, ``uint16``, ``float16``, ``float32``; or
            ``coefficient``.
        threads: per block.
        cluster: blocks per image.
        pitch: words per row in shared memory.
        peeled: finest levels that are done by tiles.
    """
    macros = {"SOURCE": source, "RESULT": result, "THREADS": str(threads), "CLUSTER": str(cluster)}
    return wavelet_definitions(wavelet) | macros | {"PITCH": str(pitch), "PEELED": str(peeled)}


def tile_definitions(wavelet: str, source: str, result: str, finest: bool) -> dict[str, str]:
    """All macros of a module of :data:`TILES`; ``finest``: whether it reads and writes the image itself."""
    macros = {"SOURCE": source, "RESULT": result, "THREADS": str(TILE_THREADS), "FINEST": str(int(finest))}
    return wavelet_definitions(wavelet) | macros


@cache
def kernel_text(file: str) -> str:
    """A source as one text, its own headers in place of their ``#include``.

    The text is what CuPy knows a compiled module by; it would not notice a header that has changed.
    """
    return re.sub(
        r'^#include "(\w+\.cuh)"\n',
        lambda found: (FOLDER / found[1]).read_text(),
        (FOLDER / file).read_text(),
        flags=re.M,
    )


def module_text(file: str, macros: dict[str, str]) -> str:
    """The source of one module: its macros, then the kernels."""
    return "".join(f"#define {name} {value}\n" for name, value in macros.items()) + kernel_text(file)


def _literals(values: tuple[float, ...] | list[np.float32]) -> str:
    # Nine digits tell one float32 from the next.
    return ", ".join(f"{np.float32(value):.8e}f" for value in values)
