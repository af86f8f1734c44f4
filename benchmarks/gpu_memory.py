"""The ceilings that memory sets: copies within the device, and between host and device."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from wavestream.benchmarks.gpu_clock import seconds_per_call
from wavestream.benchmarks.gpu_setting import Row, Setting


def copy_bandwidth(setting: Setting) -> float:
    """Bytes per second of a copy within the device, bytes read and bytes written both counted."""
    source = torch.randint(0, 256, (setting.copy_bytes,), dtype=torch.uint8, device=setting.device)
    target = torch.empty_like(source)
    seconds = seconds_per_call(lambda _: target.copy_(source), setting.device, setting.rounds, setting.round_seconds)
    return 2 * setting.copy_bytes / seconds


def copies(setting: Setting) -> Iterator[Row]:
    """The copy that all roofline fractions refer to."""
    bandwidth = copy_bandwidth(setting)
    yield {
        "copy within the device": f"{setting.copy_bytes / 2**20:,.0f} MiB",
        "GB/s, read and written": bandwidth / 1e9,
    }


def transfers(setting: Setting) -> Iterator[Row]:
    """Host to device and back, from pinned and from pageable memory."""
    size = setting.copy_bytes // 4
    on_device = torch.empty(size, dtype=torch.uint8, device=setting.device)
    for kind in ("pinned", "pageable"):
        on_host = torch.randint(0, 256, (size,), dtype=torch.uint8)
        if kind == "pinned" and setting.device.startswith("cuda"):
            on_host = on_host.pin_memory()
        for way, target, source in (("to the device", on_device, on_host), ("to the host", on_host, on_device)):
            run = partial(_copy, target, source)
            seconds = seconds_per_call(run, setting.device, setting.rounds, setting.round_seconds)
            yield {"transfer": way, "memory": kind, "MiB": size / 2**20, "GB/s": size / seconds / 1e9}


def _copy(target: torch.Tensor, source: torch.Tensor, number: int) -> None:
    target.copy_(source, non_blocking=True)
