"""Measuring and reporting: turns, medians, ratios, and the benchmarks under pytest-benchmark."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from wavestream.benchmarks import bench_artifacts, rounds
from wavestream.benchmarks.cases import Case, parse_size
from wavestream.benchmarks.rounds import COPY, OURS, Contest, Ratios, copying, measure, report, shared

ROOT = Path(__file__).resolve().parents[2]


def contest(**contestants: float) -> Contest:
    return Contest(("224x224", "haar"), 10, 2, {name: lambda: None for name in contestants})


def test_a_row_shows_rates_and_ratios() -> None:
    rates = {"slow": 10.0, "fast": 1500.0, OURS: 30000.0, COPY: 60000.0}
    ratios = Ratios(contest(**rates), rates)
    assert ratios.row == "| 224x224 | haar | 2 | slow 10; fast 1,500 | 30,000 | 20.0 | 50% |"
    assert ratios.contest.name == "224x224-haar-2t"


def test_the_rate_is_the_median_of_turns_after_a_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0])
    calls = []
    seconds = iter([100.0, 5.0, 2.0, 9.0])
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(rounds.time, "sleep", lambda _: None)
    now = [next(clock)]

    def run() -> None:
        calls.append(torch.get_num_threads())
        now[0] += next(seconds)

    threads = torch.get_num_threads()
    found = measure(Contest(("x",), 10, 3, {OURS: run}), rounds=3)
    assert found.rates == {OURS: 10 / 5.0}
    assert calls == [3] * 4
    assert torch.get_num_threads() == threads


def test_short_calls_are_repeated_to_fill_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls = [0.0], [0]
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(rounds.time, "sleep", lambda _: None)

    def run() -> None:
        calls[0] += 1
        now[0] += 0.005

    assert measure(Contest(("x",), 10, 1, {OURS: run}), rounds=2).rates[OURS] == pytest.approx(2000)
    assert calls[0] == 1 + 1 + 2 * 5


def test_the_report_ends_with_the_least_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter([2.0, 8.0, 4.0])
    monkeypatch.setattr(rounds, "measure", lambda one, _: Ratios(one, {"peer": 1.0, OURS: next(given)}))
    lines = list(report(("size", "wavelet"), [contest(peer=1)] * 3, 1))
    assert lines[0].startswith("| size | wavelet | threads | peers")
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")
    assert lines[-1] == "\nTimes the fastest peer: at least 2.0 (224x224-haar-2t), median 4.0."


def test_work_is_shared_in_order() -> None:
    names = shared(lambda value: (value, threading.current_thread().name), 2, range(20))
    assert [value for value, _ in names] == list(range(20))
    assert all(name.startswith("benchmark") for _, name in names)
    assert shared(lambda left, right: left + right, 1, [1, 2], [3, 4]) == [4, 6]
    source, target = np.arange(7), np.zeros(7, int)
    np.testing.assert_array_equal(copying(source, target, 2)(), source)


def test_sizes_are_parsed() -> None:
    assert parse_size("224") == (224, 224)
    assert parse_size("223x511") == (223, 511)


@pytest.mark.parametrize("module", ["bench_artifacts", "bench_dwt", "bench_select"])
def test_every_contestant_is_collected_by_pytest(module: str) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", f"benchmarks/{module}.py"]
    listed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout.splitlines()
    names = [line for line in listed if "::test_speed[" in line]
    assert any(line.endswith("-2t-wavestream]") for line in names)
    assert any(line.endswith("-1t-copy]") for line in names)
    assert len(names) == len(set(names)) >= 64


def test_a_contestant_runs_under_pytest_benchmark(benchmark: object) -> None:
    case = Case(32, 32, "haar", levels=2, batch=2)
    rounds_before = torch.get_num_threads()
    bench_artifacts.time_with_pytest(benchmark, bench_artifacts.contests, case, 1, 0, OURS)
    assert benchmark.extra_info["images/s"] > 0  # type: ignore[attr-defined]
    assert benchmark.group == "32x32-haar-0.01-1t"  # type: ignore[attr-defined]
    assert torch.get_num_threads() == rounds_before
