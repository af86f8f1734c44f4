"""Compile every kernel for sm_80 and sm_90, write what the assembler says: python tests/kernels/cuda/compile_log.py OUT

Runs the compilation tests (no GPU and no driver needed, some minutes) and makes a table of what they recorded.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = ("test_compilation.py", "test_fused_compilation.py")
PACKAGES = ("numba-cuda", "nvidia-cuda-nvrtc", "nvidia-nvjitlink")
ARCHITECTURES = ("sm_80", "sm_90")


def table(report: Path) -> str:
    """A markdown table of the properties in a JUnit report."""
    lines = ["| kernel | " + " | ".join(ARCHITECTURES) + " |", "|---" * (1 + len(ARCHITECTURES)) + "|"]
    for case in ElementTree.parse(report).iter("testcase"):
        found = {entry.get("name"): entry.get("value") for entry in case.iter("property")}
        if found:
            name = case.get("name", "").partition("[")[2].removesuffix("]")
            kind = "fused " if "fused" in case.get("classname", "") else ""
            lines.append(f"| {kind}{name} | " + " | ".join(found.get(key) or "" for key in ARCHITECTURES) + " |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """The command line; returns pytest's exit status."""
    if len(arguments) != 1:
        print("compile_log: expected one argument, the markdown file to write", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "-o", "junit_family=xunit1"]
        command += [str(HERE / name) for name in TESTS]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        summary = run.stdout.strip().splitlines()[-1] if run.stdout.strip() else run.stderr
        packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        text = f"# Compile log\n\n{packages}; no driver. {summary}\n\n{table(report)}\n"
    Path(arguments[0]).write_text(text)
    print(summary)
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
