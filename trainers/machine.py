"""Where a run runs: the device, and how many CPU threads torch may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from wavestream.engine.errors import InputError


def device_number(name: str) -> int:
    """The number in a device name, 0 where there is none; whether the device exists is another question.

    Raises:
        InputError: not ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """
    kind, colon, number = name.partition(":")
    if name not in ("auto", "cpu", "cuda") and not (kind == "cuda" and colon and number.isdecimal()):
        raise InputError(f"device: expected auto, cpu, cuda or cuda:N, got {name!r}")
    return int(number or 0)


def find_device(name: str) -> torch.device:
    """The torch device of a name; ``auto`` is the first CUDA device, or the CPU where there is none.

    Raises:
        InputError: another name, or a CUDA device that is not there.
    """
    number = device_number(name)
    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and present == 0):
        return torch.device("cpu")
    if number >= present:
        raise InputError(f"device: {name} was asked for, but torch sees {present} CUDA devices here; use auto or cpu")
    return torch.device("cuda", number)


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Let torch use this many CPU threads inside the block; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if threads is None else threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators inside the block and give the caller's back after it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
