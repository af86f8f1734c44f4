"""Everything a call queues goes into the caller's stream, the host waits for nothing, and memory is allocated once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_battery import random_images
from numba import cuda
from numba.cuda.dispatcher import CUDADispatcher

from wavestream.kernels import inject, inject_ragged, inject_volumes
from wavestream.kernels.cuda import device, ragged, volumes, workspace
from wavestream.kernels.cuda import inject as batches

CALLERS = "the caller's stream"


class _Event:
    """An event that is done when it is asked, and refuses to be waited for on the host."""

    def __init__(self, log: list[tuple[str, Any]]) -> None:
        self.log = log

    def wait(self, stream: Any) -> None:
        self.log.append(("wait", stream))

    def record(self, stream: Any) -> None:
        self.log.append(("record", stream))

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        raise AssertionError("the host waited for an event")


@pytest.fixture
def log(machine: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What is queued, and in which stream; reading anything back from the device fails."""
    seen: list[tuple[str, Any]] = []

    @contextmanager
    def queue_of(array: Any, **others: Any) -> Iterator[device.Queue]:
        yield device.Queue(0, 77, CALLERS)

    configured: Any = CUDADispatcher.__getitem__

    def launch(kernel: Any, configuration: tuple[Any, ...]) -> Any:
        seen.append(("launch", configuration[2]))
        return configured(kernel, configuration)

    host_array = type(machine.to_device(np.zeros(1)))
    write = host_array.copy_to_device

    def copy_to_device(self: Any, source: np.ndarray, stream: Any = None) -> None:
        seen.append(("copy", stream))
        write(self, source)

    def allocate(shape: Any, dtype: Any) -> Any:
        seen.append(("allocate", None))
        return host_array(np.zeros(shape, dtype))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the host waited for the device")

    for module in (batches, ragged, volumes):
        monkeypatch.setattr(module, "queue_of", queue_of)
    monkeypatch.setattr(CUDADispatcher, "__getitem__", launch)
    monkeypatch.setattr(host_array, "copy_to_device", copy_to_device)
    monkeypatch.setattr(host_array, "copy_to_host", refuse)
    monkeypatch.setattr(cuda, "synchronize", refuse)
    monkeypatch.setattr(cuda, "device_array", allocate)
    monkeypatch.setattr(cuda, "pinned_array", np.empty)
    monkeypatch.setattr(cuda, "event", lambda timing: _Event(seen))
    monkeypatch.setattr(workspace, "is_simulated", lambda: False)
    return seen


def _batch(machine: Any, shape: tuple[int, ...]) -> Callable[[Any], Any]:
    images, out = (machine.to_device(random_images(shape, "uint8")) for _ in range(2))
    call = inject if len(shape) == 3 else inject_volumes
    return lambda keep: call(images, keep, "haar", out=out)


def _ragged(machine: Any) -> Callable[[Any], Any]:
    images, out = ([machine.to_device(random_images(size, "uint8")) for size in ((9, 8), (12, 7))] for _ in range(2))
    return lambda keep: inject_ragged(images, keep, "haar", out=out)


@pytest.mark.parametrize("kind", ["batch", "ragged", "volumes"])
def test_one_stream_no_waiting_and_memory_allocated_once(machine: Any, log: Any, kind: str) -> None:
    call = _ragged(machine) if kind == "ragged" else _batch(machine, (2, 9, 8) if kind == "batch" else (2, 5, 9, 8))
    call([0.1, 0.2])
    assert {name for name, _ in log} == {"launch", "copy", "allocate", "record"}
    assert {stream for name, stream in log if name != "allocate"} == {CALLERS}
    first = [entry for entry in log if entry[0] != "allocate"]
    log.clear()
    call([0.1, 1.0])
    # The second call allocates nothing and begins by waiting, on the device, for the first.
    assert log == [("wait", CALLERS), *first]


@pytest.mark.parametrize(("named", "pointer"), [(1, 1), (2, 2), (94_000_000_000_000, 94_000_000_000_000), (None, 0)])
def test_the_stream_that_the_array_names_is_used(named: int | None, pointer: int) -> None:
    """CUDA Array Interface, version 3: 1 is the legacy default stream, 2 the per-thread one, None says nothing."""
    array = SimpleNamespace(__cuda_array_interface__={"version": 3, "stream": named})
    assert device._stream_pointer(array) == pointer


def _array(stream: int | None, index: int = 0, module: str = "cupy") -> Any:
    array = type("Array", (), {"__module__": module})()
    array.__cuda_array_interface__ = {"version": 3, "stream": stream}
    array.device = SimpleNamespace(index=index)
    return array


def test_arrays_of_other_streams_and_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "require_device", lambda: None)
    monkeypatch.setattr(device, "_stream_at", lambda index, pointer: f"stream {pointer} of {index}")
    monkeypatch.setattr(cuda, "gpus", [nullcontext()])

    def queue_for(*arguments: Any, **others: Any) -> Any:
        with device.queue_of(*arguments, **others) as queue:
            return queue

    expected = device.Queue(0, 7, "stream 7 of 0")
    assert queue_for(_array(7)) == expected
    # An array that names no stream has nothing to wait for.
    assert queue_for(_array(7), out=_array(7), images=[_array(7), _array(None)]) == expected
    # torch calls the default stream 0, CuPy calls it 1.
    assert queue_for(_array(0), out=_array(1)).pointer == queue_for(_array(None), out=_array(1)).pointer == 0
    with pytest.raises(ValueError, match=r"out: .* in the stream of the first, 0x7, got it in stream 0x9;"):
        queue_for(_array(7), out=_array(9))
    with pytest.raises(ValueError, match=r"images: .* stream of the first, 0x0, got sample 1 in stream 0x2;"):
        queue_for(_array(None), images=[_array(1), _array(2)])
    with pytest.raises(ValueError, match=r"out: .* on CUDA device 0, that of the first, got sample 0 on device 1;"):
        queue_for(_array(7), out=[_array(7, index=1)])
