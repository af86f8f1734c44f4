"""Everything that can only be known on a GPU, in one command: python -m wavestream.benchmarks.gpu_report OUT

Writes ``OUT/gpu_report.json`` and ``OUT/gpu_report.md``: copy bandwidth, ``inject`` against it, transfers, the loader,
training, and the tests that need a GPU. It takes less than eight minutes; each section has its own process and its own
share of the time, and one that fails or runs out of it is reported as such. Nothing is installed or downloaded.

Exit status: 0 if every section finished, 1 if one did not, 2 where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from wavestream.benchmarks.gpu_section import Outcome, Section, run_section
from wavestream.benchmarks.gpu_setting import BARS, Setting
from wavestream.benchmarks.rounds import circumstances

# The quick ones first; the tests last, with the time that is left.
SECTIONS = (
    Section("copy", "Copy bandwidth", "wavestream.benchmarks.gpu_memory:copies", 30),
    Section("transfer", "Host and device", "wavestream.benchmarks.gpu_memory:transfers", 30),
    Section("store", "Synthetic store", "wavestream.benchmarks.gpu_training:make_store", 60),
    Section("kernels", "inject", "wavestream.benchmarks.gpu_kernels:kernels", 150),
    Section("loader", "Loader alone", "wavestream.benchmarks.gpu_training:loaders", 45),
    Section("training", "Training", "wavestream.benchmarks.gpu_training:trainings", 60),
    Section("tests", "Tests on the device", "wavestream.benchmarks.gpu_tests:run_tests", 300),
)
SECONDS = 460.0

_SMI = (
    "name",
    "driver_version",
    "memory.total",
    "clocks.max.sm",
    "clocks.max.memory",
    "power.limit",
    "ecc.mode.current",
)


def device_facts(device: str) -> dict[str, Any]:
    """What the GPU is: from torch, and from nvidia-smi where it is there."""
    if not device.startswith("cuda"):
        return {"name": device}
    found = torch.cuda.get_device_properties(device)
    facts = {
        "name": found.name,
        "compute capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "memory, GiB": round(found.total_memory / 2**30, 1),
        "L2, MiB": round(found.L2_cache_size / 2**20, 1),
        "CUDA of torch": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version(),
    }
    return facts | _smi_facts()


def _smi_facts() -> dict[str, str]:
    command = ["nvidia-smi", f"--query-gpu={','.join(_SMI)}", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return {"nvidia-smi": f"no answer: {error}"}
    values = [value.strip() for value in answer.splitlines()[0].split(",")]
    return {f"nvidia-smi {name}": value for name, value in zip(_SMI, values, strict=True)}


def table_of(rows: Iterable[dict[str, Any]]) -> str:
    """Rows with the same columns as a markdown table."""
    lines: list[str] = []
    for row in rows:
        if not lines:
            lines = [f"| {' | '.join(row)} |", "|---" * len(row) + "|"]
        lines.append(f"| {' | '.join(_cell(name, value) for name, value in row.items())} |")
    return "\n".join(lines)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    if name.startswith("of the "):
        return f"{value:.0%}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def report_of(outcomes: Sequence[Outcome], facts: dict[str, Any], heading: str, seconds: float) -> str:
    """The whole report in markdown."""
    lines = ["# GPU report", "", heading, "", table_of([{"device": name, "": value} for name, value in facts.items()])]
    for outcome in outcomes:
        lines += ["", f"## {outcome.section.title}", ""]
        if outcome.section.name == "kernels":
            bars = ", ".join(f"{bar:,} at {size}" for size, bar in BARS.items())
            lines += [
                f"Keep 1 %, 4 levels. Bars (float32, images/s): {bars}. Traffic: each pixel read and written once.",
                "",
            ]
        if outcome.problem:
            lines += [f"**Not finished**: {outcome.problem}", ""]
        lines += [table_of(outcome.rows) or "No rows."]
        if outcome.output:
            lines += ["", "```", outcome.output, "```"]
        lines += ["", f"{outcome.seconds:.0f} s"]
    return "\n".join([*lines, "", f"{seconds:.0f} s in all."]) + "\n"


def make_report(out: Path, setting: Setting, sections: Sequence[Section], seconds: float) -> list[Outcome]:
    """Run the sections, and write the report anew after each, so that an interrupted one is not lost."""
    out.mkdir(parents=True, exist_ok=True)
    facts, heading = device_facts(setting.device), circumstances(f"device {setting.device}")
    outcomes: list[Outcome] = []
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        setting_file = Path(folder) / "setting.json"
        setting.write(setting_file)
        for section in sections:
            print(f"{section.title} ...", flush=True)
            left = seconds - (time.monotonic() - begin)
            outcomes.append(run_section(section, setting_file, Path(folder), left))
            print(f"  {outcomes[-1].problem or 'done'} ({outcomes[-1].seconds:.0f} s)", flush=True)
            spent = time.monotonic() - begin
            found = {"device": facts, "circumstances": heading, "seconds": spent, "setting": asdict(setting)}
            found["sections"] = [asdict(outcome) for outcome in outcomes]
            (out / "gpu_report.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
            (out / "gpu_report.md").write_text(report_of(outcomes, facts, heading, spent), encoding="utf-8")
    return outcomes


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    names = [section.name for section in SECTIONS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write gpu_report.json and gpu_report.md to")
    parser.add_argument(
        "--sections", nargs="+", choices=names, default=names, help="only these; store comes with loader"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for the whole report")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print(
            "gpu_report: expected a CUDA device, found none: torch sees no NVIDIA GPU (see nvidia-smi, and "
            "torch.version.cuda for whether torch was built for CUDA). Nothing was measured.",
            file=sys.stderr,
        )
        return 2
    wanted = set(options.sections) | ({"store"} if {"loader", "training"} & set(options.sections) else set())
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(str(Path(folder) / "report.zarr"))
        sections = [section for section in SECTIONS if section.name in wanted]
        outcomes = make_report(options.out, setting, sections, options.seconds)
    print((options.out / "gpu_report.md").read_text(encoding="utf-8"))
    return 0 if all(outcome.problem is None for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
