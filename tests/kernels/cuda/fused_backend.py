"""The fused kernel for the battery on machines without a GPU: the host code as it is, the kernel in the host shim."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from host_shim.launcher import HostModule

from wavestream.kernels.cuda.fused import launch
from wavestream.kernels.cuda.fused.budget import MULTIPLE, WORD, part_of
from wavestream.kernels.cuda.fused.choice import Limits
from wavestream.kernels.cuda.fused.source import TILES, WHOLE, WHOLE_KERNEL, module_text
from wavestream.kernels.wavelets import default_levels

HOPPER = Limits(132, 227 * 1024, 228 * 1024, clusters=True)
ONE_BLOCK = replace(HOPPER, multiprocessors=1)
AMPERE = Limits(108, 163 * 1024, 164 * 1024, clusters=False)


KERNELS = {WHOLE: [WHOLE_KERNEL], TILES: ["begin", "analyse_tiles", "synthesise_tiles"]}


class ShimBackend:
    """Canvases are :class:`conftest.HostArray`; a launch runs in the shim.

    Attributes:
        limits: of the pretended device.
        threads: per block; fewer fibres than a device would get, so that lines take several rounds. None: as chosen.
        pitch: words per row, at least; the same for all, so that few modules are compiled. None: as chosen.
        order: in which threads take their turns.
        launches: so far.
    """

    def __init__(self, machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limits = ONE_BLOCK
        self.threads: int | None = 256
        self.pitch: int | None = 129
        self.order = "shuffled"
        self.launches: list[launch.Launch] = []
        self._machine = machine
        monkeypatch.setattr(launch, "limits_of", lambda queue: self.limits)
        monkeypatch.setattr(launch, "run", self._run)

    def to_device(self, array: np.ndarray) -> Any:
        """The battery transforms single images with a backend's own kernels: with those of the CPU here."""
        return array if array.ndim == 2 else self._machine.to_device(array)

    def to_host(self, array: Any) -> np.ndarray:
        return array if isinstance(array, np.ndarray) else self._machine.to_host(array)

    def spread(self, shape: tuple[int, int], wavelet: str, cluster: int, peeled: int = 0) -> None:
        """Pretend a device on which images of this shape need that many blocks, and that many levels by tiles."""
        rows, cols = (-(-side // 2**peeled) for side in shape)
        levels = default_levels(*shape, wavelet) - peeled
        room = part_of(rows, cols, levels, wavelet, cluster).shared_bytes
        self.limits = Limits(1, room, room + 1024, clusters=cluster > 1)

    def _run(self, step: launch.Launch, queue: Any) -> None:
        self.launches.append(step)
        macros, shared, threads = dict(step.macros), step.shared_bytes, step.threads
        if step.file == WHOLE:
            threads = self.threads or threads
            wider = max(0, (self.pitch or 0) - int(macros["PITCH"]))
            slab = int(step.arguments[7])
            macros |= {"THREADS": str(threads), "PITCH": str(int(macros["PITCH"]) + wider)}
            shared += -(-slab * wider // MULTIPLE) * MULTIPLE * WORD
        _module(step.file, tuple(macros.items())).launch(
            step.kernel,
            step.grid,
            threads,
            shared,
            *(argument if isinstance(argument, np.generic) else _stored(*argument) for argument in step.arguments),
            cluster=step.cluster,
            order=self.order,
        )


@cache
def _module(file: str, macros: tuple[tuple[str, str], ...]) -> HostModule:
    return HostModule(module_text(file, dict(macros)), functions=KERNELS[file])


def _stored(array: Any, first: int) -> np.ndarray:
    """The array as the kernel's parameters see it: float16 as its bits."""
    flat = array.array.reshape(-1)[first:]
    return flat.view(np.uint16) if flat.dtype == np.float16 else flat
