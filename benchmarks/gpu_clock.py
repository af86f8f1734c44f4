"""How long work on a device takes: CUDA events around many calls, medians of rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

# Two calls before anything is timed: the first may compile, and allocates.
_WARM_UP = 2


def synchronise(device: str) -> None:
    """Wait for all work queued on a CUDA device; nothing to wait for on the CPU."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def seconds_per_call(run: Callable[[int], object], device: str, rounds: int, round_seconds: float) -> float:
    """The median over rounds of the time that one call takes when many follow each other.

    Nobody waits for the device between the calls of a round, so the host's share counts only where it is the longer.

    Args:
        run: queues the work; gets the number of the call, by which it may choose among several buffers.
        device: where it works; timed by CUDA events in its current stream, by the wall clock on the CPU.
        rounds: to take the median of.
        round_seconds: how long a round should take at least.
    """
    for number in range(_WARM_UP):
        run(number)
    calls = max(1, round(round_seconds / max(_time(run, device, 1), 1e-6)))
    # The first estimate includes waiting for the device once; a longer one tells how many calls fill a round.
    calls = max(1, round(round_seconds / max(_time(run, device, min(calls, 20)), 1e-7)))
    return statistics.median(_time(run, device, calls) for _ in range(rounds))


def _time(run: Callable[[int], object], device: str, calls: int) -> float:
    """Seconds per call."""
    synchronise(device)
    if not device.startswith("cuda"):
        begin = time.perf_counter()
        for number in range(calls):
            run(number)
        return (time.perf_counter() - begin) / calls
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    for number in range(calls):
        run(number)
    after.record()
    after.synchronize()
    return float(before.elapsed_time(after)) / 1000 / calls
