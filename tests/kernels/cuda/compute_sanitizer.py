"""Run the kernels' GPU tests under NVIDIA's compute-sanitizer: python tests/kernels/cuda/compute_sanitizer.py

Four runs: ``memcheck`` (accesses outside allocations, misaligned ones), ``racecheck`` (races in shared memory),
``synccheck`` (barriers that not all threads reach) and ``initcheck`` (reads of memory that nothing wrote). It needs a
GPU and the CUDA toolkit, and takes minutes: every kernel runs many times slower.

Arguments after ``--`` go to pytest, ``-- -k inject`` for example. Exit status: 0 if nothing was found, 1 if a tool
found something or a test failed, 2 where there is no compute-sanitizer or no GPU.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
TESTS = Path(__file__).resolve().parent
# Not one that pytest uses: what is wrong is to be known from the status.
FOUND_SOMETHING = 86


def find_sanitizer() -> str | None:
    """The path of compute-sanitizer: on PATH, or in the toolkit's usual places."""
    roots = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")] + ["/usr/local/cuda"]
    folders = [os.environ.get("PATH", ""), *(f"{root}/bin" for root in roots if root)]
    return shutil.which("compute-sanitizer", path=os.pathsep.join(folders))


def has_device() -> bool:
    """Whether torch sees a CUDA device."""
    import torch

    return torch.cuda.is_available()


def check(sanitizer: str, tool: str, arguments: Sequence[str]) -> str:
    """Run the tests under one tool; what came of it in a few words."""
    command = [sanitizer, "--tool", tool, "--target-processes", "all", "--error-exitcode", str(FOUND_SOMETHING)]
    command += [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(TESTS), *arguments]
    # Each of torch's arrays in an allocation of its own, or memcheck sees one large block with room behind everything.
    status = subprocess.run(command, env=os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}, check=False).returncode
    known = {0: "nothing found", FOUND_SOMETHING: "found errors, see above", 1: "tests failed", 5: "no test ran"}
    return known.get(status, f"ended with status {status}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS), help="only these")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    options = parser.parse_args(arguments)
    sanitizer = find_sanitizer()
    if sanitizer is None:
        print(
            "compute_sanitizer: expected compute-sanitizer on PATH or under CUDA_HOME, found none: it comes with the "
            "CUDA toolkit (package cuda-sanitizer). Nothing was checked.",
            file=sys.stderr,
        )
        return 2
    if not has_device():
        print("compute_sanitizer: expected a CUDA device, found none. Nothing was checked.", file=sys.stderr)
        return 2
    results = {}
    for tool in options.tools:
        print(f"=== {tool}", flush=True)
        results[tool] = check(sanitizer, tool, options.pytest)
    for tool, result in results.items():
        print(f"{tool}: {result}")
    return 0 if set(results.values()) == {"nothing found"} else 1


if __name__ == "__main__":
    sys.exit(main())
