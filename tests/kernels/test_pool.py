"""Sharing a batch among threads: every image once, errors come through, forks start anew."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from wavestream.kernels.cpu.pool import available_threads, run_ranges

PLENTY = 1 << 20


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("threads", [None, 1, 2, 3, 16, 1000])
def test_every_image_is_done_once(count: int, threads: int | None) -> None:
    done = np.zeros(count, int)

    def task(begin: int, end: int) -> None:
        assert begin < end
        done[begin:end] += 1

    run_ranges(task, count, PLENTY, threads)
    assert (done == 1).all()


def test_threads_are_used_when_there_is_work_and_only_then() -> None:
    seen: set[int] = set()

    def task(begin: int, end: int) -> None:
        seen.add(threading.get_ident())
        time.sleep(0.05)

    run_ranges(task, 8, PLENTY, 2)
    assert len(seen) == 2
    seen.clear()
    run_ranges(task, 2, 10, 2)
    assert seen == {threading.get_ident()}
    assert 1 <= available_threads() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("failing", [0, 5])
def test_errors_of_tasks_reach_the_caller(failing: int) -> None:
    def task(begin: int, end: int) -> None:
        if begin <= failing < end:
            raise RuntimeError("spilt")

    with pytest.raises(RuntimeError, match="spilt"):
        run_ranges(task, 6, PLENTY, 3)


def test_a_forked_child_has_threads_of_its_own() -> None:
    program = """
import os, sys
import numpy as np
from wavestream.kernels import inject

images = np.random.default_rng(0).standard_normal((16, 128, 128)).astype(np.float32)
expected = inject(images, 0.1, "haar", threads=2)
child = os.fork()
if child == 0:
    same = np.array_equal(inject(images, 0.1, "haar", threads=2), expected)
    os._exit(0 if same else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=120, check=False).returncode == 0
