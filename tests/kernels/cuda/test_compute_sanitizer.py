"""The script that runs the GPU tests under compute-sanitizer, with a stand-in for it."""

from __future__ import annotations

from pathlib import Path

import compute_sanitizer
import pytest
from compute_sanitizer import TESTS, TOOLS, main

STAND_IN = """#!/bin/sh
echo "$PYTORCH_NO_CUDA_MEMORY_CACHING $@" >> "{log}"
[ "$2" = "{failing}" ] && exit {status}
exit 0
"""


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, failing: str = "none", status: int = 86) -> Path:
    """Put a compute-sanitizer into CUDA_HOME that writes how it is called, and fails for one tool."""
    log, program = folder / "calls", folder / "bin" / "compute-sanitizer"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(log=log, failing=failing, status=status))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CUDA_HOME", str(folder))
    monkeypatch.setattr(compute_sanitizer, "has_device", lambda: True)
    return log


def test_every_tool_runs_the_gpu_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    log = stand_in(tmp_path, monkeypatch)
    assert main(["--", "-k", "inject"]) == 0
    calls = [line.split() for line in log.read_text().splitlines()]
    assert [call[2] for call in calls] == list(TOOLS)
    for call in calls:
        assert call[0] == "1"
        assert " ".join(call[1:]).endswith(f"-m gpu -p no:cacheprovider {TESTS} -k inject")
        assert call[call.index("--error-exitcode") + 1] == "86"
    assert "racecheck: nothing found" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("status", "words"), [(86, "found errors"), (1, "tests failed"), (5, "no test ran"), (139, "ended with status 139")]
)
def test_one_failing_tool_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], status: int, words: str
) -> None:
    log = stand_in(tmp_path, monkeypatch, "racecheck", status)
    assert main(["--tools", "racecheck", "initcheck"]) == 1
    assert len(log.read_text().splitlines()) == 2
    printed = capfd.readouterr().out
    assert f"racecheck: {words}" in printed
    assert "initcheck: nothing found" in printed


def test_without_sanitizer_or_device_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = stand_in(tmp_path, monkeypatch)
    monkeypatch.setattr(compute_sanitizer, "has_device", lambda: False)
    assert main([]) == 2
    assert "expected a CUDA device, found none" in capsys.readouterr().err
    monkeypatch.setattr(compute_sanitizer, "find_sanitizer", lambda: None)
    assert main([]) == 2
    assert "found none: it comes with the CUDA toolkit" in capsys.readouterr().err
    assert not log.exists()
