"""Worker processes: order, crashes, hangs, memory, and scripts without a main guard."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from wavestream.engine.errors import InputError, WavestreamError
from wavestream.engine.limits import Limits
from wavestream.engine.rejection import Reason, Rejection, rejecting
from wavestream.engine.workers import WorkerPool


def test_results_come_in_the_order_of_the_tasks_and_few_are_under_way() -> None:
    drawn = 0

    def tasks() -> Iterator[tuple[Any, ...]]:
        nonlocal drawn
        for number in range(60):
            drawn += 1
            yield (divmod, number, 7)

    with WorkerPool(2, Limits()) as pool:
        results = pool.map(rejecting, tasks())
        assert next(results) == (0, 0)
        assert drawn <= 8
        assert list(results) == [divmod(number, 7) for number in range(1, 60)]


def test_a_task_that_dies_hangs_or_wants_too_much_memory_fails_alone() -> None:
    tasks = [
        (abs, -1),
        (os._exit, 3),
        (abs, -2),
        (time.sleep, 60),
        (abs, -3),
        (bytearray, 600 << 20),
        (bytearray, 20 << 20),
        (os.abort,),
        (abs, -4),
    ]
    started = time.monotonic()
    with WorkerPool(2, Limits(memory=200 << 20, seconds=1.0)) as pool:
        results = list(pool.map(rejecting, tasks))
    assert results[::2] == [1, 2, 3, bytearray(20 << 20), 4]
    assert results[1] == Rejection(Reason.CRASHED, "exit code 3")
    assert results[3] == Rejection(Reason.TIMEOUT, "1 s")
    assert results[5] == Rejection(Reason.OUT_OF_MEMORY)
    assert results[7] == Rejection(Reason.CRASHED, f"exit code {-signal.SIGABRT}")
    assert time.monotonic() - started < 30


def test_workers_that_are_killed_between_tasks_are_replaced() -> None:
    with WorkerPool(2, Limits()) as pool:
        assert list(pool.map(rejecting, [(abs, -1)])) == [1]
        for worker in pool._workers:
            worker.process.kill()
            worker.process.join()
        assert list(pool.map(rejecting, [(abs, -number) for number in range(20)])) == list(range(20))


def test_unforeseen_errors_keep_only_their_type() -> None:
    with WorkerPool(1, Limits()) as pool:
        assert list(pool.map(rejecting, [(int, "Jane Doe")])) == [Rejection(Reason.DAMAGED, "ValueError")]
        (missing,) = pool.map(rejecting, [(os.stat, "/nowhere/Jane Doe")])
    assert missing == Rejection(Reason.UNREADABLE, "No such file or directory")


def test_no_process_is_left_when_the_pool_is_left() -> None:
    with WorkerPool(2, Limits()) as pool:
        assert next(pool.map(rejecting, [(abs, -1), *[(time.sleep, 30)] * 6])) == 1
        workers = [worker.process.pid for worker in pool._workers]
        assert len(workers) == 2
        assert all(map(psutil.pid_exists, workers))
    assert not any(map(psutil.pid_exists, workers))


def test_a_result_just_before_a_crash_is_not_lost() -> None:
    tasks = [task for _ in range(30) for task in ((bytes, 3 << 20), (os._exit, 5))]
    with WorkerPool(2, Limits()) as pool:
        for number, result in enumerate(pool.map(rejecting, tasks)):
            assert result == (Rejection(Reason.CRASHED, "exit code 5") if number % 2 else bytes(3 << 20))


def test_workers_that_cannot_start_end_the_ingest(monkeypatch: pytest.MonkeyPatch) -> None:
    def start_and_die(memory: int) -> tuple[multiprocessing.Process, Connection]:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=os._exit, args=(9,))
        process.start()
        process.join()
        theirs.close()
        return process, ours  # type: ignore[return-value]

    monkeypatch.setattr("wavestream.engine.workers.start_worker", start_and_die)
    with WorkerPool(1, Limits()) as pool, pytest.raises(WavestreamError, match=r"exit code 9.: is there enough memory"):
        list(pool.map(rejecting, [(abs, -1)] * 3))


def test_a_script_without_main_guard_is_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from wavestream.engine.limits import Limits\n"
        "from wavestream.engine.rejection import rejecting\n"
        "from wavestream.engine.workers import WorkerPool\n"
        "with WorkerPool(2, Limits()) as pool:\n"
        "    print(list(pool.map(rejecting, [(abs, -1), (abs, -2)])))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split("\n") == ["once", "[1, 2]", ""]
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["max_pixels", "max_frames", "memory", "seconds"])
def test_limits_must_be_positive(name: str) -> None:
    with pytest.raises(InputError, match=f"limits.{name}: expected a positive number, got 0"):
        Limits(**{name: 0})
