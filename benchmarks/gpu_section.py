"""One section of a GPU report in a process of its own: what breaks the device in one does not break the others.

``python -m wavestream.benchmarks.gpu_section NAME SETTING ROWS`` appends the section's rows to the file ROWS, one JSON
object per line, as they are measured; so a section that is stopped leaves what it has.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from wavestream.benchmarks.gpu_setting import Row, Setting

# Of what a failed process wrote; the last line is the exception.
_LINES_KEPT = 40


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        name: in one word.
        title: its heading.
        measure: ``module:function`` that takes a :class:`Setting` and yields rows; imported only in its process.
        seconds: it may take; it is stopped then.
    """

    name: str
    title: str
    measure: str
    seconds: float


@dataclass
class Outcome:
    """What became of a section.

    Attributes:
        section: which one.
        rows: measured, all or those before it stopped.
        seconds: it took.
        problem: why it did not finish; None if it did.
        output: the end of what it wrote, where it failed.
    """

    section: Section
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    problem: str | None = None
    output: str = ""


def run_section(section: Section, setting: Path, folder: Path, seconds: float) -> Outcome:
    """Run a section in a process of its own, for ``seconds`` or its own limit at most, and read its rows."""
    limit = min(seconds, section.seconds)
    if limit <= 0:
        return Outcome(section, problem="not run: the time for the whole report was used up")
    rows = folder / f"{section.name}.jsonl"
    rows.write_text("", encoding="utf-8")
    command = [sys.executable, "-m", __spec__.name, section.measure, str(setting), str(rows)]
    outcome = Outcome(section)
    begin = time.monotonic()
    with (folder / f"{section.name}.log").open("w+", encoding="utf-8") as log:
        # In a session of its own, so that what it starts in turn can be stopped with it.
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            outcome.problem = (
                f"stopped after {limit:.0f} s, its share of the time; the rows are those measured until then"
            )
            status = 0
        finally:
            _stop(process)
        outcome.seconds = time.monotonic() - begin
        log.seek(0)
        lines = log.read().strip().splitlines()
    if status:
        outcome.output = "\n".join(lines[-_LINES_KEPT:])
        outcome.problem = lines[-1] if lines else f"ended with status {status}"
    complete = [line for line in rows.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    outcome.rows = [json.loads(line) for line in complete]
    return outcome


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main(arguments: list[str]) -> None:
    """Measure one section: ``module:function``, the setting's file, the file for rows."""
    module, _, function = arguments[0].partition(":")
    setting = Setting.read(Path(arguments[1]))
    with Path(arguments[2]).open("a", encoding="utf-8") as rows:
        for row in getattr(importlib.import_module(module), function)(setting):
            rows.write(json.dumps(row) + "\n")
            rows.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
