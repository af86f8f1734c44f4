"""What the CUDA kernels' host code decides without a device: where things lie, in which stream, from which buffer."""

from __future__ import annotations

import subprocess
import sys
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numba import cuda

from wavestream.kernels import WAVELETS, inject, layout_of
from wavestream.kernels.cuda import device, workspace
from wavestream.kernels.cuda.geometry import COLS, HH, HL, IMAGE, LAST, LH, LOW, ROWS, capacity_of, mixed_geometry
from wavestream.kernels.wavelets import default_levels, max_levels


def test_importing_needs_no_driver() -> None:
    modules = "analysis device dwt geometry inject launch lines pixels ragged select selection synthesis threshold "
    modules += "volumes workspace"
    program = "".join(f"import wavestream.kernels.cuda.{module};" for module in modules.split())
    program += "import sys; print(sorted({'torch', 'cupy', 'lightning'} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={"PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[]\n"


@pytest.mark.skipif(cuda.is_available(), reason="there is a CUDA device here")
def test_calling_without_a_device_says_so() -> None:
    class Array(SimpleNamespace):
        def reshape(self, shape: tuple[int, ...]) -> Array:
            return self

    interface = {"typestr": "<f4", "shape": (1, 20, 20), "data": (0, False), "version": 3}
    images = Array(__cuda_array_interface__=interface, shape=(1, 20, 20))
    with pytest.raises(RuntimeError, match=r"expected a CUDA device, found none.*pass NumPy arrays"):
        inject(images, 0.1, out=images)


def _streaming(stream: Any, module: str = "cupy") -> Any:
    kind = type("Array", (), {"__module__": module, "device": SimpleNamespace(index=0)})
    array = kind()
    array.__cuda_array_interface__ = {"stream": stream} if stream is not ... else {}
    return array


def test_the_stream_is_the_arrays_own() -> None:
    assert device._stream_pointer(_streaming(140)) == 140
    assert device._stream_pointer(_streaming(None)) == 0
    assert device._stream_pointer(_streaming(...)) == 0


def test_the_stream_of_a_tensor_is_torchs_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def current_stream(of: Any) -> SimpleNamespace:
        asked.append(of.index)
        return SimpleNamespace(cuda_stream=77)

    fake = SimpleNamespace(cuda=SimpleNamespace(current_stream=current_stream))
    monkeypatch.setitem(sys.modules, "torch", fake)
    assert device._stream_pointer(_streaming(..., "torch")) == 77
    assert asked == [0]


class _Event:
    """A copy that is done when the test says so."""

    def __init__(self) -> None:
        self.done = False
        self.recorded: list[Any] = []
        self.waiting: list[Any] = []

    def wait(self, stream: Any) -> None:
        self.waiting.append(stream)

    def record(self, stream: Any) -> None:
        self.recorded.append(stream)

    def query(self) -> bool:
        return self.done


def test_uploads_wait_for_nothing_and_overwrite_nothing(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page-locked buffer is used again only when the copy from it is done."""
    events: list[_Event] = []

    def event(timing: bool) -> _Event:
        assert timing is False
        events.append(_Event())
        return events[-1]

    sent: list[int] = []
    monkeypatch.setattr(workspace, "is_simulated", lambda: False)
    monkeypatch.setattr(cuda, "event", event)
    monkeypatch.setattr(cuda, "pinned_array", np.empty)
    capacity = capacity_of(2, 20, 20, "haar", 2)
    space = workspace.Workspace(capacity)
    plans = space._plan
    monkeypatch.setattr(type(plans), "copy_to_device", lambda _, source, stream: sent.append(source.ctypes.data))
    sizes, levels = np.array([[20, 20], [9, 17]], np.int32), np.array([2, 2], np.int32)
    geometry = mixed_geometry(capacity, "haar", sizes, levels, np.array([5, 5]), np.zeros((2, 2), np.int64))
    queue = device.Queue(0, 5, "the stream")
    space.upload(geometry, queue)
    space.upload(geometry, queue)
    assert len(set(sent)) == 2
    events[1].done = True
    space.upload(geometry, queue)
    assert sent[2] == sent[1]
    assert [one.recorded for one in events] == [["the stream"], ["the stream"] * 2]
    np.testing.assert_array_equal(space._staging[1][0], geometry.plan)


def test_a_call_waits_on_the_device_for_the_one_before(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A destroyed stream's handle may come back as another stream's."""
    events: list[_Event] = []
    monkeypatch.setattr(workspace, "is_simulated", lambda: False)
    monkeypatch.setattr(cuda, "event", lambda timing: events.append(_Event()) or events[-1])
    capacity = capacity_of(1, 20, 20, "haar", 2)
    for stream in ("first", "second"):
        with workspace.workspace_of(capacity, device.Queue(0, 9, stream)):
            pass
    (event,) = events
    assert event.waiting == ["second"]
    assert event.recorded == ["first", "second"]


def test_a_workspace_belongs_to_one_stream(machine: Any) -> None:
    capacity = capacity_of(1, 20, 20, "haar", 2)
    found = []
    for pointer in (0, 7, 0):
        with workspace.workspace_of(capacity, device.Queue(0, pointer, None)) as space:
            found.append(space)
    assert found[0] is found[2]
    assert found[0] is not found[1]
    workspace.release_workspaces()
    with workspace.workspace_of(capacity, device.Queue(0, 0, None)) as space:
        assert space is not found[0]


def test_one_thread_at_a_time_uses_a_workspace(machine: Any) -> None:
    capacity = capacity_of(1, 20, 20, "haar", 2)
    queue = device.Queue(0, 0, None)
    order = []

    def use() -> None:
        with workspace.workspace_of(capacity, queue):
            order.append("second")

    other = Thread(target=use)
    with workspace.workspace_of(capacity, queue):
        other.start()
        other.join(timeout=0.2)
        assert other.is_alive()
        order.append("first")
    other.join(timeout=10)
    assert order == ["first", "second"]


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_no_two_subbands_of_a_batch_overlap(wavelet: str) -> None:
    """Every offset lies in its image's part of its buffer; together the subbands of an image are its packed layout."""
    rng = np.random.default_rng(len(wavelet))
    sizes = rng.integers(61, 200, (12, 2)).astype(np.int32)
    levels = np.array([default_levels(*size, wavelet) for size in sizes.tolist()], dtype=np.int32)
    counts = np.where(np.arange(12) == 3, 0, 10)
    deepest = int(levels.max())
    capacity = capacity_of(12, 200, 210, wavelet, deepest)
    table = mixed_geometry(capacity, wavelet, sizes, levels, counts, np.zeros((12, 2), np.int64)).levels
    assert (table[:, 3, ROWS] == 0).all()
    for index in np.flatnonzero(counts):
        layout = layout_of(*sizes[index].tolist(), wavelet, int(levels[index]))
        assert layout.size <= capacity.packed
        image = table[: levels[index], index]
        assert image[:, LAST].tolist() == [0] * (levels[index] - 1) + [1]
        assert image[0, IMAGE] == index * 200 * 210
        # The low-pass of a level is the image of the next; they follow each other inside the image's part.
        np.testing.assert_array_equal(image[:-1, LOW], image[1:, IMAGE])
        ends = image[1:, IMAGE] + image[1:, ROWS] * image[1:, COLS]
        np.testing.assert_array_equal(image[2:, IMAGE], ends[:-1])
        if len(ends):
            assert image[1, IMAGE] == index * capacity.lows
            assert ends[-1] <= (index + 1) * capacity.lows
        offsets = {"LL": image[-1, LOW]}
        for subband in layout.subbands:
            column = {"LL": LOW, "HL": HL, "LH": LH, "HH": HH}[subband.orientation]
            offsets[subband.name] = image[subband.level - 1, column]
            assert offsets[subband.name] == index * capacity.packed + subband.offset


def test_a_capacity_holds_every_smaller_image() -> None:
    rng = np.random.default_rng(0)
    for wavelet in ("haar", "db3", "cdf53"):
        for _ in range(50):
            rows, cols = (int(side) for side in rng.integers(41, 300, 2))
            small = int(rng.integers(20, rows)), int(rng.integers(20, cols))
            levels = min(4, max_levels(*small, wavelet))
            large, little = (
                capacity_of(1, *size, wavelet, depth) for size, depth in (((rows, cols), 4), (small, levels))
            )
            assert little.packed <= large.packed
            assert little.lows <= large.lows
