"""CUDA C++ compiled for the CPU by g++, together with the host shim; once per source and session."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# As NVRTC with --fmad=false compiles, and as CUDA defines what C++ leaves open (wrapping, aliasing).
KERNEL_FLAGS = ("-std=c++17", "-O1", "-g1", "-fPIC", "-w", "-ffp-contract=off", "-fwrapv", "-fno-strict-aliasing")
KERNEL_FLAGS += ("-fno-exceptions", "-fno-stack-protector", "-fno-jump-tables", "-DWAVESTREAM_HOST_SHIM=1")
CHECKS = ("-fsanitize=thread", "-fsanitize=alignment,shift,bounds,integer-divide-by-zero,float-cast-overflow")


def compile_module(
    source: str | Sequence[Path],
    defines: Mapping[str, object],
    functions: Sequence[str],
    checked: bool,
    portable: bool,
) -> Path:
    """The shared library of a source and its kernels' entry points; see :class:`host_shim.launcher.HostModule`."""
    text, folders = _joined(source)
    # In the text, where they cannot disturb the shim's own header.
    text = "".join(f"#define {name} {value}\n" for name, value in defines.items()) + text
    text += "\n" + "\n".join(_entry_points(number, name) for number, name in enumerate(functions))
    headers = tuple(path.read_bytes() for folder in folders for path in sorted(folder.glob("*.cuh")))
    flags = (*KERNEL_FLAGS, *(CHECKS if checked else ()), *(f"-I{folder}" for folder in folders))
    return _library(text, headers, flags, portable)


def source_line(library: Path, offset: int) -> str:
    """The source line of an instruction, as file:line; empty where binutils cannot tell."""
    if not offset or shutil.which("addr2line") is None:
        return ""
    command = ["addr2line", "-i", "-e", str(library), hex(offset)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    line = next((line for line in lines if "shim.hpp" not in line), lines[0])
    return line.partition(" (discriminator")[0]


def _joined(source: str | Sequence[Path]) -> tuple[str, list[Path]]:
    """The text to compile, its lines numbered as in their files, and the folders to look for includes in."""
    if isinstance(source, str):
        return f'#line 1 "kernel"\n{source}', []
    texts = [f'#line 1 "{path}"\n{path.read_text()}' for path in source]
    return "\n".join(texts), list(dict.fromkeys(path.parent for path in source))


def _entry_points(number: int, name: str) -> str:
    return (
        f'extern "C" void shim_call_{number}(void** arguments) {{ shim_call({name}, arguments); }}\n'
        f'extern "C" int shim_describe_{number}(int* kinds, int* bytes) '
        f"{{ return shim_describe({name}, kinds, bytes); }}"
    )


@cache
def _build_folder() -> Path:
    """Where this session's modules are compiled; removed when it ends."""
    folder = tempfile.mkdtemp(prefix="wavestream-host-shim-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _compiler() -> str:
    found = shutil.which("g++")
    if found is None:
        pytest.skip("no C++ compiler (g++): CUDA C++ cannot be run on the CPU")
    return found


def _compile(*arguments: str) -> None:
    done = subprocess.run([_compiler(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the host compiler refuses the source:\n{done.stderr[:4000]}")


@cache
def _runtime_objects(portable: bool) -> tuple[str, ...]:
    """The shim's own code, compiled once a session."""
    objects = []
    flags = ["-std=c++17", "-O2", "-fPIC", "-Wall", "-Werror", *(["-DSHIM_UCONTEXT"] if portable else [])]
    for source in sorted(HERE.glob("*.cpp")):
        target = _build_folder() / f"{source.stem}-{portable}.o"
        _compile(*flags, "-c", str(source), "-o", str(target))
        objects.append(str(target))
    return tuple(objects)


@cache
def _library(text: str, headers: tuple[bytes, ...], flags: tuple[str, ...], portable: bool) -> Path:
    """Compile and link; ``headers``, what the text may include, only tells one library from another."""
    name = hashlib.sha256(repr((text, headers, flags, portable)).encode()).hexdigest()[:16]
    source, target = _build_folder() / f"{name}.cpp", _build_folder() / f"{name}.so"
    source.write_text(text)
    unit = str(source.with_suffix(".o"))
    _compile(*flags, "-include", str(HERE / "shim.hpp"), "-c", str(source), "-o", unit)
    _compile("-shared", "-Wl,-Bsymbolic", "-Wl,-z,noexecstack", unit, *_runtime_objects(portable), "-o", str(target))
    return target
