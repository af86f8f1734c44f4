"""Every kernel compiles for sm_80 and sm_90 without a driver, and the machine code fits: no spills, no doubles.

Every wavelet is compiled for its own coefficient type, as in deeper levels; every pixel type with ``bior4.4`` and
``cdf53``: the pixel type only changes the load.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from numba import boolean, float32, int8, int16, int32, int64, types, uint8, uint16
from ptx_translation import instructions

from wavestream.kernels import WAVELETS
from wavestream.kernels.cuda.analysis import analysis_kernel
from wavestream.kernels.cuda.launch import DEVICE
from wavestream.kernels.cuda.layer_decoder import decoder_kernel
from wavestream.kernels.cuda.layer_launch import DEVICE as LAYERS
from wavestream.kernels.cuda.layer_pixels import clear_kernel, clipped_kernel
from wavestream.kernels.cuda.layer_tables import tables_kernel
from wavestream.kernels.cuda.pixels import pixel_kernel
from wavestream.kernels.cuda.selection import begin_kernel, histogram_kernel, scan_kernel
from wavestream.kernels.cuda.synthesis import synthesis_kernel
from wavestream.kernels.cuda.threshold import threshold_kernel
from wavestream.kernels.cuda.volume_depth import depth_analysis_kernel, depth_synthesis_kernel

ARCHITECTURES = [(8, 0), (9, 0)]
INTEGERS = (uint8, uint16, int16, int32)
FLOATS = (types.float16, float32)

MAX_SHARED = 48 * 1024
REGISTERS_PER_MULTIPROCESSOR = 65536


def flat(dtype: Any) -> types.Array:
    return types.Array(dtype, 1, "C")


TABLE = types.Array(int64, 2, "C")
LEVELS, IMAGES, STATE = types.Array(int64, 3, "C"), types.Array(int64, 2, "C"), types.Array(int32, 2, "C")


@dataclass(frozen=True)
class Compiled:
    """One specialisation of a kernel: its name, how to get it, its argument types, threads per block."""

    name: str
    kernel: Callable[[], Any]
    signature: tuple[Any, ...]
    threads: int


def _pixels(kind: str, source: Any, work: Any, stored: Any) -> Compiled:
    signature = (flat(source), flat(work), flat(stored or source), IMAGES, STATE)
    name = f"pixels {kind} {source}" + (f" as {stored}" if stored else "")
    threads = DEVICE.pixel_threads[0] * DEVICE.pixel_threads[1]
    return Compiled(name, lambda: pixel_kernel(kind, stored.name if stored else None), signature, threads)


def _layers() -> list[Compiled]:
    """The decoder of layers; of its pixels the types that a store may have."""
    tables = (flat(uint16), flat(uint8), flat(int64), flat(int64))
    planes = (flat(int32), flat(uint8), flat(int32), flat(int32), flat(int32))
    threads, linear = LAYERS.threads, DEVICE.linear_threads
    decoder = (flat(uint8), TABLE, TABLE, TABLE, TABLE, *tables, *planes)
    found = [
        Compiled("layers tables", tables_kernel, (flat(uint8), TABLE, *tables, flat(int32)), threads),
        Compiled("layers decoder", lambda: decoder_kernel(LAYERS), decoder, threads),
        Compiled("layers clear", lambda: clear_kernel, (flat(int32), flat(uint8), flat(int32), flat(int32)), linear),
    ]
    for dtype in (int8, *INTEGERS):
        signature = (*[flat(int32)] * 3, types.Array(dtype, 3, "C"), IMAGES, LEVELS, int64)
        pixels = DEVICE.pixel_threads[0] * DEVICE.pixel_threads[1]
        found.append(Compiled(f"layers clipped {dtype}", lambda: clipped_kernel, signature, pixels))
    return found


def specialisations() -> list[Compiled]:
    tile_threads = DEVICE.tile_threads[0] * DEVICE.tile_threads[1]
    found = []
    for wavelet in WAVELETS:
        work = int32 if wavelet == "cdf53" else float32
        sources = {"cdf53": INTEGERS, "bior4.4": INTEGERS + FLOATS}.get(wavelet, (work,))
        for source in sources:
            signature = (flat(source), flat(work), flat(work), LEVELS, int64)
            name = f"analysis {wavelet} {source}"
            found.append(Compiled(name, lambda w=wavelet: analysis_kernel(w, DEVICE.tile), signature, tile_threads))
        signature = (flat(work), flat(work), flat(work), flat(float32), LEVELS, int64, boolean)
        name = f"synthesis {wavelet}"
        found.append(Compiled(name, lambda w=wavelet: synthesis_kernel(w, DEVICE.tile), signature, tile_threads))
        for source in sources:
            signature = (flat(source), flat(work), LEVELS, int64)
            name = f"depth analysis {wavelet} {source}"
            kernel = lambda w=wavelet: depth_analysis_kernel(w, DEVICE.tile)  # noqa: E731
            found.append(Compiled(name, kernel, signature, tile_threads))
        signature = (flat(work), flat(work), LEVELS, int64)
        name = f"depth synthesis {wavelet}"
        found.append(Compiled(name, lambda w=wavelet: depth_synthesis_kernel(w, DEVICE.tile), signature, tile_threads))
    for (lifted, work), axes in itertools.product(((False, float32), (True, int32)), (2, 3)):
        signature = (flat(work), LEVELS, STATE, flat(int32), int64, int64, int64)
        name, threads = f"histogram {work} {axes}-D", DEVICE.linear_threads
        found.append(Compiled(name, lambda f=lifted, a=axes: histogram_kernel(f, a), signature, threads))
        signature = (flat(work), flat(float32), flat(work), LEVELS)
        name = f"threshold {work} {axes}-D"
        found.append(Compiled(name, lambda f=lifted, a=axes: threshold_kernel(f, a), signature, threads))
    signature = (STATE, flat(int32), flat(int32), int64, int64)
    found.append(Compiled("scan", lambda: scan_kernel(DEVICE.scan_threads), signature, DEVICE.scan_threads))
    found.append(Compiled("begin", lambda: begin_kernel, (IMAGES, STATE, flat(int32)), DEVICE.linear_threads))
    for source, stored in itertools.product(INTEGERS, (None, *FLOATS)):
        for kind, work in (("integer", float32), ("lifted", int32)):
            found.append(_pixels(kind, source, work, stored))
    found += [_pixels(dtype.name, dtype, float32, None) for dtype in FLOATS]
    return found + _layers()


SPECIALISATIONS = specialisations()


def assemble(ptx: str, architecture: tuple[int, int]) -> str:
    """Assemble PTX to machine code with nvJitLink, which needs no driver; its report on registers and memory."""
    nvjitlink = pytest.importorskip("cuda.bindings.nvjitlink", reason="nvJitLink (nvidia-nvjitlink) is not installed")
    handle = nvjitlink.create(3, ["-arch=sm_{}{}".format(*architecture), "-verbose", "-Xptxas=-v"])
    try:
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, ptx.encode(), len(ptx), "kernel")
        nvjitlink.complete(handle)
        report = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, report)
        assert nvjitlink.get_linked_cubin_size(handle) > 0
    finally:
        nvjitlink.destroy(handle)
    return report.decode()


@pytest.mark.parametrize("case", SPECIALISATIONS, ids=lambda case: case.name)
def test_kernel_compiles_and_fits(compile_ptx: Any, case: Compiled, record_property: Callable[..., None]) -> None:
    for architecture in ARCHITECTURES:
        ptx = compile_ptx(case.kernel(), case.signature, architecture)
        assert ".target sm_{}{}".format(*architecture) in ptx
        used = set(instructions(ptx))
        assert not [name for name in used if ".f64" in name], "double precision"
        if "cdf53" in case.name or case.name.startswith(("histogram int32", "threshold int32")):
            assert not [name for name in used if name.startswith("fma")], "a contracted multiply"
        report = assemble(ptx, architecture)
        numbers = re.search(r"used (\d+) registers.* (\d+) stack, (\d+) bytes smem.* (\d+) bytes lmem", report)
        assert numbers is not None, report
        registers, stack, shared, local = (int(number) for number in numbers.groups())
        assert (stack, local) == (0, 0), report
        assert "0 bytes spill stores, 0 bytes spill loads" in report
        record_property("sm_{}{}".format(*architecture), f"{registers} registers, {shared} bytes shared, no spills")
        assert shared <= MAX_SHARED
        # At least two blocks at a time on a multiprocessor.
        assert 2 * registers * case.threads <= REGISTERS_PER_MULTIPROCESSOR


def test_every_wavelet_and_pixel_type_is_among_them() -> None:
    names = [case.name for case in SPECIALISATIONS]
    assert all(f"synthesis {wavelet}" in names for wavelet in WAVELETS)
    assert all(any(name.startswith("pixels") and str(t) in name.split() for name in names) for t in INTEGERS + FLOATS)
    assert len(set(names)) == len(names)
