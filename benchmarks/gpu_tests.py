"""The tests that need a GPU, run as ``pytest -m gpu`` and counted as they finish."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from wavestream.benchmarks.gpu_setting import Row, Setting

TESTS = Path(__file__).resolve().parents[1] / "tests"
_RESULT = re.compile(r"^(\S+?)::.* (PASSED|FAILED|ERROR|SKIPPED)")


def run_tests(setting: Setting) -> Iterator[Row]:
    """One row per test file, as soon as it is done, and one for all.

    Raises:
        FileNotFoundError: installed without its tests.
        RuntimeError: a test failed; the rows tell how many.
    """
    if not (TESTS / "conftest.py").is_file():
        raise FileNotFoundError(f"expected the tests in {TESTS}: run the report from a checkout of the repository")
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "--tb=short", "-p", "no:cacheprovider", str(TESTS)]
    with subprocess.Popen(
        command, cwd=TESTS.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout is not None
        output: list[str] = []
        yield from count_results(_noted(run.stdout, output))
    if run.returncode:
        raise RuntimeError(f"pytest -m gpu ended with status {run.returncode}:\n{''.join(output[-60:])}")


def count_results(lines: Iterable[str]) -> Iterator[Row]:
    """How the tests of each file ended, from the verbose output of pytest."""
    total: Counter[str] = Counter()
    here: Counter[str] = Counter()
    current = None
    for line in lines:
        found = _RESULT.match(line)
        if found is None:
            continue
        file, result = found.groups()
        if current not in (None, file):
            yield _row(str(current), here)
            here = Counter()
        current = file
        here[result] += 1
        total[result] += 1
    if current is not None:
        yield _row(current, here)
        yield _row("all", total)


def _row(name: str, counts: Counter[str]) -> Row:
    wrong = counts["FAILED"] + counts["ERROR"]
    return {"tests": name, "passed": counts["PASSED"], "failed": wrong, "skipped": counts["SKIPPED"]}


def _noted(lines: Iterable[str], notes: list[str]) -> Iterator[str]:
    for line in lines:
        notes.append(line)
        yield line
