"""``device.cuh`` function by function: compiled without headers, run in the shim and on a device."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from device_cases import THREADS, Case, cases
from host_shim.launcher import ORDERS, HostModule
from test_compilation import assemble

import wavestream.kernels.cuda

DEVICE = (Path(wavestream.kernels.cuda.__file__).parent / "fused" / "device.cuh").resolve()
CASES = cases()

# What must become of a function, so that no slow way stands in for the instruction.
INSTRUCTIONS = {
    "multiply_add": "fma.rn.f32",
    "round_to_int": "cvt.rni.s32.f32",
    "half_to_float": "cvt.f32.f16",
    "float_to_half": "cvt.rn.f16.f32",
    "named_barrier": "barrier",
    "warp_reduce_add": "redux.sync.add.u32",
    "warp_reduce_max": "redux.sync.max.u32",
    "shared_atomic_add": r"(atom|red).shared.add.u32",
    "global_atomic_add": r"(atom|red).global.add.u32",
    "global_atomic_max": r"(atom|red).global.max.u32",
    "streaming 16 bytes": "ld.global.cs.v4",
    "cluster_load of float": "ld.shared::cluster.u32",
    "cluster_store of unsigned short": "st.shared::cluster.u16",
    "cluster_atomic_add": "atom.shared::cluster.add.u32",
}


def compile_ptx(source: str, architecture: tuple[int, int]) -> str:
    """PTX of a source by NVRTC, which gets no include path; the test is skipped where NVRTC is not installed."""
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="NVRTC (nvidia-cuda-nvrtc) is not installed")
    options = ["--gpu-architecture=compute_{}{}".format(*architecture), "--std=c++17", "--fmad=false"]
    _, program = nvrtc.nvrtcCreateProgram(source.encode(), b"kernel.cu", 0, [], [])
    (failure,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = bytearray(size)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert failure == nvrtc.nvrtcResult.NVRTC_SUCCESS, log.decode()
    _, size = nvrtc.nvrtcGetPTXSize(program)
    ptx = bytearray(size)
    nvrtc.nvrtcGetPTX(program, ptx)
    return ptx.rstrip(b"\0").decode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_result_in_the_shim(case: Case) -> None:
    module = HostModule(DEVICE.read_text() + case.text(), functions=["run"])
    for order in ORDERS:
        result = np.zeros_like(case.expected)
        source = np.ascontiguousarray(case.source)
        module.launch("run", case.blocks, THREADS, 4 * THREADS, source, result, cluster=case.blocks, order=order)
        np.testing.assert_array_equal(result, case.expected)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_result_on_the_device(case: Case) -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if case.blocks > 1 and int(cupy.cuda.Device().compute_capability) < 90:
        pytest.skip("clusters need compute capability 9.0")
    module = cupy.RawModule(code=DEVICE.read_text() + case.text(), options=("--std=c++17", "--fmad=false"))
    result = cupy.zeros(case.expected.shape, case.expected.dtype)
    module.get_function("run")((case.blocks,), (THREADS,), (cupy.asarray(case.source), result), shared_mem=4 * THREADS)
    np.testing.assert_array_equal(result.get(), case.expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_compiles_without_headers(case: Case) -> None:
    for architecture in ((8, 0), (9, 0)):
        if case.blocks > 1 and architecture < (9, 0):
            continue
        ptx = compile_ptx(DEVICE.read_text() + case.text(), architecture)
        assert re.search(INSTRUCTIONS.get(case.name, "st.global").replace(".", r"\."), ptx), ptx
        report = assemble(ptx, architecture)
        assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in report


def test_every_function_has_a_case() -> None:
    text = DEVICE.read_text()
    defined = set(re.findall(r"__device__ __forceinline__ [\w ]+?\*?(\w+)\(", text)) - {
        "shared_address",
        "remote_address",
    }
    bodies = "".join(case.body for case in CASES)
    assert {"block_barrier", "cluster_load", "float_to_half"} < defined
    assert [name for name in sorted(defined) if f"{name}(" not in bodies] == []


def test_multiply_and_add_are_not_fused_by_themselves() -> None:
    body = "result[i] = source[i] * source[i] + 0.1f;"
    case = Case("", body, np.zeros(THREADS, np.float32), np.zeros(THREADS, np.float32))
    assert "fma." not in compile_ptx(DEVICE.read_text() + case.text(), (9, 0))


def test_the_shim_has_no_functions_of_its_own() -> None:
    """A kernel that runs in the shim finds every name on the device too."""
    shim = (Path(__file__).parent / "host_shim" / "shim.hpp").read_text()
    names = set(re.findall(r"^inline .*?(\w+)\(", shim, re.MULTILINE))
    device = DEVICE.read_text()
    unknown = [n for n in sorted(names) if f" {n}(" not in device and not n.startswith(("shim_", "make_"))]
    assert unknown == ["max", "min"]
