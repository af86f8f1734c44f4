"""The fused kernel compiles with NVRTC for sm_80 and sm_90 without a driver, and fits a multiprocessor."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from test_compilation import REGISTERS_PER_MULTIPROCESSOR, assemble

from wavestream.kernels import WAVELETS
from wavestream.kernels.cuda.fused.source import (
    COMPILER_OPTIONS,
    TILES,
    WHOLE,
    module_text,
    tile_definitions,
    whole_definitions,
)

# Registers are capped at 64; what does not fit is kept in memory outside the loops over a line. Bytes per thread.
MOST_SPILLED = 320

# (wavelet, source, result, threads, cluster, pitch, architecture): each class on each architecture that has it, every
# kind of pixel, the shortest and the longest filter, the lifting.
CLASSES = [
    ("haar", "float32", "float32", 1024, 1, 193, 80),
    ("bior4.4", "uint8", "float16", 1024, 1, 225, 90),
    ("db8", "float32", "float32", 1024, 4, 225, 90),
    ("cdf53", "uint16", "uint16", 512, 1, 129, 80),
    ("cdf53", "int16", "float32", 1024, 8, 513, 90),
    ("bior4.4", "coefficient", "coefficient", 1024, 8, 513, 90, 1),
]
TILE_CLASSES = [("db8", "float32", "float32", True, 80), ("cdf53", "uint16", "float16", True, 90)]
TILE_CLASSES += [("bior4.4", "coefficient", "coefficient", False, 90)]
EVERY_WAVELET = [
    (wavelet, "int16" if wavelet == "cdf53" else "float32", "float32", 1024, cluster, 225, architecture)
    for wavelet in WAVELETS
    for cluster, architecture in ((1, 80), (1, 90), (2, 90))
]


def compile_ptx(text: str, architecture: int) -> str:
    """PTX of a source."""
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="NVRTC's bindings (cuda-bindings) are not installed")
    options = [*COMPILER_OPTIONS, f"--gpu-architecture=compute_{architecture}"]
    _, program = nvrtc.nvrtcCreateProgram(text.encode(), b"inject.cu", 0, [], [])
    (failed,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = bytearray(size)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert not failed, log.decode()
    assert log.rstrip(b"\0\n ") == b"", "a warning"
    _, size = nvrtc.nvrtcGetPTXSize(program)
    ptx = bytearray(size)
    nvrtc.nvrtcGetPTX(program, ptx)
    return ptx.rstrip(b"\0").decode()


def check(
    text: str, target: int, lifted: bool, cluster: int, threads: int, record_property: Callable[..., None]
) -> None:
    ptx = compile_ptx(text, target)
    assert f".target sm_{target}" in ptx
    assert (f".reqnctapercluster {cluster}" in ptx) == (cluster > 1)
    assert not re.search(r"\.f64\b[^;]*%fd", ptx), "double precision"
    assert ("fma.rn" in ptx) == (not lifted)
    report = assemble(ptx, (target // 10, target % 10))
    registers = [int(number) for number in re.findall(r"used (\d+) registers", report)]
    spills = [int(number) for number in re.findall(r"(\d+) bytes spill", report)]
    record_property(f"sm_{target}", f"{max(registers)} registers, {max(spills)} bytes spilled")
    assert registers
    assert max(registers) * max(threads, 1024) <= REGISTERS_PER_MULTIPROCESSOR
    assert max(spills) <= MOST_SPILLED


def check_class(
    record_property: Callable[..., None],
    wavelet: str,
    source: str,
    result: str,
    threads: int,
    cluster: int,
    pitch: int,
    target: int,
    peeled: int = 0,
) -> None:
    macros = whole_definitions(wavelet, source, result, threads, cluster, pitch, peeled)
    check(module_text(WHOLE, macros), target, wavelet == "cdf53", cluster, threads, record_property)


@pytest.mark.parametrize("case", CLASSES, ids=lambda case: " ".join(map(str, case)))
def test_a_class_compiles_and_fits(case: Any, record_property: Callable[..., None]) -> None:
    check_class(record_property, *case)


@pytest.mark.parametrize("case", TILE_CLASSES, ids=lambda case: " ".join(map(str, case)))
def test_tiles_compile_and_fit(case: Any, record_property: Callable[..., None]) -> None:
    *names, finest, target = case
    text = module_text(TILES, tile_definitions(*names, finest))
    check(text, target, names[0] == "cdf53", 1, 256, record_property)


@pytest.mark.slow
@pytest.mark.parametrize("case", EVERY_WAVELET, ids=lambda case: " ".join(map(str, case)))
def test_every_wavelet_compiles_and_fits(case: Any, record_property: Callable[..., None]) -> None:
    check_class(record_property, *case)
