"""The GPU report without a GPU: sections that fail, hang or run dry, what is written, and its exit status."""

from __future__ import annotations

import importlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from wavestream.benchmarks import gpu_report
from wavestream.benchmarks.gpu_report import SECONDS, SECTIONS, main, make_report, report_of, table_of
from wavestream.benchmarks.gpu_section import Outcome, Section, run_section
from wavestream.benchmarks.gpu_setting import Setting

SAMPLE_SECTIONS = """
import os, subprocess, sys, time

def fine(setting):
    for number in range(setting.rounds):
        yield {"number": number, "of the copy": 0.25 * number, "device": setting.device}

def broken(setting):
    yield {"number": 1}
    raise ModuleNotFoundError("No module named 'cupy'")

def crashes(setting):
    yield {"number": 1}
    os.abort()

def hangs(setting):
    yield {"number": 1}
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(setting.store, "w").write(str(child.pid))
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a setting, whose module ``sample_sections`` sections can be taken from."""
    (tmp_path / "sample_sections.py").write_text(SAMPLE_SECTIONS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    Setting(str(tmp_path / "pid"), device="cpu", rounds=3).write(tmp_path / "setting.json")
    return tmp_path


def section(name: str, seconds: float = 60) -> Section:
    return Section(name, name.capitalize(), f"sample_sections:{name}", seconds)


def run(folder: Path, name: str, own: float = 60, left: float = 60) -> Outcome:
    return run_section(section(name, own), folder / "setting.json", folder, left)


def test_a_section_that_finishes(folder: Path) -> None:
    outcome = run(folder, "fine")
    assert outcome.rows == [{"number": n, "of the copy": 0.25 * n, "device": "cpu"} for n in range(3)]
    assert outcome.problem is None
    assert outcome.seconds > 0


def test_a_section_that_fails_leaves_its_rows_and_its_reason(folder: Path) -> None:
    outcome = run(folder, "broken")
    assert outcome.rows == [{"number": 1}]
    assert outcome.problem == "ModuleNotFoundError: No module named 'cupy'"
    assert "Traceback" in outcome.output


def test_a_section_that_crashes(folder: Path) -> None:
    outcome = run(folder, "crashes")
    assert outcome.rows == [{"number": 1}]
    assert outcome.problem


@pytest.mark.parametrize(("own", "left"), [(6, 600), (600, 6)])
def test_a_section_that_hangs_is_stopped_with_what_it_started(folder: Path, own: float, left: float) -> None:
    begin = time.monotonic()
    outcome = run(folder, "hangs", own, left)
    assert time.monotonic() - begin < 60
    assert outcome.rows == [{"number": 1}]
    assert outcome.problem is not None
    assert outcome.problem.startswith("stopped after 6 s")
    child = int((folder / "pid").read_text())
    while _runs(child):
        assert time.monotonic() - begin < 60
        time.sleep(0.05)


def _runs(process: int) -> bool:
    """Whether a process is alive; one that has ended but was not waited for is not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def test_no_time_left(folder: Path) -> None:
    assert run(folder, "fine", left=0).problem == "not run: the time for the whole report was used up"


def test_one_failing_section_does_not_stop_the_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setting = Setting(str(folder / "report.zarr"), device="cpu", rounds=2)
    make_report(folder / "out", setting, [section("broken"), section("fine")], 60)
    found = json.loads((folder / "out" / "gpu_report.json").read_text())
    assert [s["problem"] is None for s in found["sections"]] == [False, True]
    assert len(found["sections"][1]["rows"]) == 2
    assert found["device"] == {"name": "cpu"}
    assert found["setting"]["rounds"] == 2
    assert "torch" in found["circumstances"]
    text = (folder / "out" / "gpu_report.md").read_text()
    assert "**Not finished**: ModuleNotFoundError: No module named 'cupy'" in text
    assert "| 1 | 25% | cpu |" in text
    assert capsys.readouterr().out.splitlines()[0] == "Broken ..."


def test_tables() -> None:
    rows = [{"size": 224, "images/s": 3_141_592.6, "of the copy": 0.5, "error": 1.23456e-7, "note": None}]
    assert table_of(rows).splitlines() == [
        "| size | images/s | of the copy | error | note |",
        "|---|---|---|---|---|",
        "| 224 | 3,141,593 | 50% | 1.23e-07 |  |",
    ]
    assert table_of([]) == ""


def test_a_report_of_nothing_says_so() -> None:
    outcome = Outcome(section("fine"), problem="not run", output="the end of a log")
    text = report_of([outcome], {"name": "a device"}, "heading", 1.5)
    assert "No rows." in text
    assert "the end of a log" in text
    assert "| name | a device |" in text


def test_without_a_gpu_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([str(tmp_path / "out")]) == 2
    assert "expected a CUDA device, found none" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wanted", "run"), [(["copy"], ["copy"]), (["training"], ["store", "training"]), ([], [s.name for s in SECTIONS])]
)
def test_the_command_runs_the_sections_and_what_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: list[str], run: list[str]
) -> None:
    seen: list[str] = []

    def stub(one: Section, *_: Any) -> Outcome:
        seen.append(one.name)
        return Outcome(one, problem="stub" if one.name == "store" else None)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_report, "device_facts", lambda device: {"name": device})
    monkeypatch.setattr(gpu_report, "run_section", stub)
    assert main([str(tmp_path), *(["--sections", *wanted] if wanted else [])]) == (1 if "store" in run else 0)
    assert seen == run


def test_the_sections_exist_and_fit_into_eight_minutes() -> None:
    for one in SECTIONS:
        module, _, function = one.measure.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
    # The tests get what is left, but something must be.
    assert sum(one.seconds for one in SECTIONS if one.name != "tests") + 60 <= SECONDS
    assert SECONDS < 8 * 60
