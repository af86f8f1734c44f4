"""The word about compilation: only where it takes long, and once."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wavestream.kernels import inject
from wavestream.kernels.cpu import progress


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_QUIET_SECONDS", 0.05)
    monkeypatch.setattr(progress, "_ready", set())


def test_long_first_calls_are_announced_and_short_ones_not(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="wavestream"):
        with progress.announced("short"):
            pass
        with progress.announced("long"):
            time.sleep(0.5)
        with progress.announced("long"):
            time.sleep(0.2)
        time.sleep(0.2)
    assert [record.getMessage() for record in caplog.records] == [
        "compiling the long kernels: some seconds, the first time on this machine"
    ]


def test_of_threads_that_wait_for_the_same_one_speaks(caplog: pytest.LogCaptureFixture) -> None:
    def wait() -> None:
        with progress.announced("shared"):
            time.sleep(0.5)

    with caplog.at_level(logging.WARNING, logger="wavestream"), ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: wait(), range(3)))
    assert len(caplog.records) == 1


def test_a_failure_is_not_taken_for_a_first_call() -> None:
    with pytest.raises(RuntimeError, match="broken"), progress.announced("some"):
        raise RuntimeError("broken")
    assert progress._ready == set()


def test_inject_announces_its_wavelet_and_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    inject(np.zeros((1, 16, 16), np.uint8), 0.5, "haar")
    inject(np.zeros((1, 16, 16), np.uint16), 0.5, "cdf53")
    assert progress._ready == {"haar uint8", "cdf53 uint16"}
