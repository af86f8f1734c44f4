"""What the fused kernel's host code decides without a device: the way, the memory, the table, the source."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fused_backend import AMPERE, HOPPER, ShimBackend

from wavestream.kernels import WAVELETS, inject, layout_of
from wavestream.kernels.cuda.device import Queue
from wavestream.kernels.cuda.fused import budget, launch, plan, source, steps
from wavestream.kernels.cuda.fused.choice import CLUSTERS, Batch, Choice, Declined, Limits, choose
from wavestream.kernels.validation import smallest_side
from wavestream.kernels.wavelets import default_levels, filter_bank, max_levels


def batch(images: int, rows: int, cols: int | None = None, wavelet: str = "bior4.4", **other: Any) -> Batch:
    cols = rows if cols is None else cols
    levels = other.pop("levels", default_levels(rows, cols, wavelet))
    return replace(Batch(images, rows, cols, levels, levels, wavelet, "float32", "float32"), **other)


def chosen(limits: Limits, what: Batch) -> Choice:
    choice = choose(limits, what)
    assert isinstance(choice, Choice), choice
    return choice


@pytest.mark.parametrize(
    ("limits", "images", "side", "cluster", "threads", "peeled"),
    [
        (HOPPER, 1024, 64, 1, 256, 0),
        (HOPPER, 1024, 128, 1, 512, 0),
        (HOPPER, 1024, 224, 1, 1024, 0),
        (HOPPER, 32, 224, 4, 1024, 0),
        (HOPPER, 64, 224, 2, 1024, 0),
        (HOPPER, 1, 224, 8, 1024, 0),
        (HOPPER, 1024, 256, 2, 1024, 0),
        (HOPPER, 1024, 512, 8, 1024, 0),
        (HOPPER, 1024, 1024, 8, 1024, 1),
        (HOPPER, 1024, 4096, 8, 1024, 3),
        (AMPERE, 1024, 192, 1, 1024, 0),
        (AMPERE, 8, 128, 1, 1024, 0),
        (AMPERE, 1024, 224, 1, 512, 1),
    ],
)
def test_the_classes(limits: Limits, images: int, side: int, cluster: int, threads: int, peeled: int) -> None:
    choice = chosen(limits, batch(images, side))
    assert (choice.cluster, choice.threads, choice.peeled) == (cluster, threads, peeled)


@pytest.mark.parametrize(
    ("limits", "what", "reason"),
    [
        (AMPERE, batch(1024, 2048), r"2048x2048 pixels do not fit 1 x 166912 bytes"),
        (HOPPER, batch(1024, 8192), r"8192x8192 pixels do not fit 8 x 232448 bytes"),
        (HOPPER, batch(8, 1024, shallowest=1), r"1024x1024 pixels do not fit"),
        (HOPPER, batch(70_000, 1024), r"1024x1024 pixels do not fit"),
        (HOPPER, batch(4, 64, source="int32", result="int32"), "pixels of int32 are not among uint8"),
        (HOPPER, batch(4, 64, source="uint8", result="int16"), "a result of int16 for pixels of uint8"),
        (HOPPER, batch(4, 64, source="float16"), "a result of float32 for pixels of float16"),
        (HOPPER, batch(4, 1, 200_000, "cdf53", levels=17), "17 levels, more than 16"),
    ],
)
def test_what_is_left_to_the_multipass_kernels(limits: Limits, what: Batch, reason: str) -> None:
    declined = choose(limits, what)
    assert isinstance(declined, Declined)
    assert re.search(reason, declined.reason)


def test_every_choice_fits_the_device() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(400):
        wavelet = WAVELETS[rng.integers(len(WAVELETS))]
        rows, cols = (int(side) for side in rng.integers(smallest_side(wavelet), 1200, 2))
        for limits in (HOPPER, AMPERE):
            choice = choose(limits, batch(int(rng.integers(1, 300)), rows, cols, wavelet))
            if isinstance(choice, Declined):
                continue
            part = choice.part
            seen.add(choice.cluster)
            rest_rows, rest_cols = -(-rows // 2**choice.peeled), -(-cols // 2**choice.peeled)
            assert part.shared_bytes <= limits.shared_per_block
            assert choice.cluster == 1 or limits.clusters
            assert choice.cluster * part.slab >= rest_rows
            assert part.pitch % 2 == 1
            assert part.pitch >= rest_cols
            levels = default_levels(rows, cols, wavelet) - choice.peeled
            assert levels >= 1
            assert choice.cluster == 1 or part.slab % 2**levels == 0
            assert 1 <= choice.in_work * choice.cluster <= limits.multiprocessors * 1024 // choice.threads
    assert seen == set(CLUSTERS)


@pytest.mark.parametrize("wavelet", ["haar", "cdf53"])
def test_the_used_side_is_that_of_the_last_coefficient(wavelet: str) -> None:
    """Placed one by one, from the layout: coefficient i of level l along a side of n samples lies at i * 2**(l - 1)."""
    for side in range(2, 70):
        for levels in range(1, max_levels(side, side, wavelet) + 1):
            layout = layout_of(side, side, wavelet, levels)
            last = {(band.orientation, band.level): band.cols - 1 for band in layout.subbands}
            places = [2**level * last["LH", level] for level in range(1, levels + 1)]
            places += [
                2**level * last["HL", level] + 2 ** (level - 1)
                for level in range(1, levels + 1)
                if last["HL", level] >= 0
            ]
            assert budget.used_side(side, levels, wavelet) == max(places) + 1


def test_a_larger_or_deeper_image_never_takes_less_room() -> None:
    for wavelet in ("haar", "db2", "cdf53"):
        for levels in range(1, 6):
            used = [budget.used_side(side, levels, wavelet) for side in range(1, 200)]
            assert used == sorted(used)
            assert all(deeper >= u for u, deeper in zip(used, _deeper(levels, wavelet), strict=True))


def _deeper(levels: int, wavelet: str) -> list[int]:
    return [budget.used_side(side, levels + 1, wavelet) for side in range(1, 200)]


@pytest.mark.parametrize("file", [source.WHOLE, source.TILES])
def test_the_numbers_that_both_sides_know_agree(file: str) -> None:
    text = source.kernel_text(file)
    columns = re.search(r"enum Column \{ (.*) \};", text)
    assert columns is not None
    names = columns[1].split(", ")
    assert names.pop() == "COLUMNS"
    assert [getattr(plan, name) for name in names] == list(range(plan.COLUMNS))
    defined = dict(re.findall(r"#define (\w+) (\d+)\n", text))
    assert int(defined["BINS"]) == budget.BINS
    if file == source.WHOLE:
        assert int(defined["SCRATCH_WORDS"]) == budget.SCRATCH_WORDS
    else:
        assert (int(defined["TILE_ROWS"]), int(defined["TILE_COLS"])) == (steps.TILE_ROWS, steps.TILE_COLS)


@pytest.mark.parametrize("file", [source.WHOLE, source.TILES])
def test_the_source_is_one_text_without_headers(file: str) -> None:
    text = source.module_text(file, source.wavelet_definitions("db2"))
    assert "#include" not in text
    taps = re.search(r"#define DEC_LO (.*)\n", text)
    assert taps is not None
    found = np.array([float(tap.rstrip("f")) for tap in taps[1].split(", ")], dtype=np.float32)
    np.testing.assert_array_equal(found, np.array(filter_bank("db2").dec_lo, dtype=np.float32))


def test_the_table_holds_every_image() -> None:
    sizes, levels = np.array([[3, 4], [5, 6]], np.int32), np.array([1, 2], np.int32)
    made = plan.plan_of(np.array([0, 9]), sizes, levels, np.array([[0, 255], [-5, 7]]))
    assert made.table.tolist() == [[0, 3, 4, 1, 0, 255], [9, 5, 6, 2, -5, 7]]
    assert made.plan.size == sum(np.prod(shape) for shape in made.capacity.tables)


def test_only_images_that_are_transformed_count(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = ShimBackend(machine, monkeypatch)
    images = np.ones((2, 64, 64), dtype=np.float32)
    inject(backend.to_device(images), [1.0, 0.5], "haar", sizes=[(64, 64), (8, 9)])
    (step,) = backend.launches
    assert step.shared_bytes == budget.part_of(8, 9, 3, "haar", 1).shared_bytes


def test_the_path_can_be_asked_for(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from wavestream.kernels.cuda.inject import inject_cuda

    backend = ShimBackend(machine, monkeypatch)
    images = machine.to_device(np.ones((1, 8, 8), dtype=np.int32))
    arguments = np.array([0.5]), "haar", np.array([1], np.int32), np.array([[8, 8]], np.int32)
    limits = np.array([[0, 9]], np.int32)
    with pytest.raises(ValueError, match="path: expected one of auto, fused, multipass, got 'fast'"):
        inject_cuda(images, *arguments, limits, images, "fast")
    with pytest.raises(ValueError, match=r'fused kernel does not do this batch .pixels of int32.*use "auto"'):
        inject_cuda(images, *arguments, limits, images, "fused")
    floats = machine.to_device(np.ones((1, 8, 8), dtype=np.float32))
    inject_cuda(floats, *arguments, None, floats, "multipass")
    assert backend.launches == []
    inject_cuda(floats, *arguments, None, floats, "auto")
    assert len(backend.launches) == 1


def test_without_cupy_the_multipass_kernels_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "has_cupy", lambda: False)
    declined = launch.limits_of(Queue(0, 0, None))
    assert isinstance(declined, Declined)
    assert "CuPy is not installed" in declined.reason


def test_importing_needs_no_cupy() -> None:
    program = "import wavestream.kernels.cuda.inject, sys; print(sorted({'torch', 'cupy'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


class _Cupy:
    """As much of CuPy as a launch uses; remembers what it was asked for."""

    def __init__(self) -> None:
        self.modules: list[str] = []
        self.launches: list[tuple[Any, ...]] = []
        self.limits: list[int] = []
        self.stream: Any = None
        cupy = self

        class Kernel:
            def __setattr__(self, name: str, value: int) -> None:
                assert name == "max_dynamic_shared_size_bytes"
                cupy.limits.append(value)

            def __call__(self, *arguments: Any, shared_mem: int) -> None:
                cupy.launches.append((cupy.stream, *arguments, shared_mem))

        class Module:
            def __init__(self, code: str, options: tuple[str, ...]) -> None:
                cupy.modules.append(code)
                assert "--fmad=false" in options

            def get_function(self, name: str) -> Kernel:
                assert name == "inject"
                return Kernel()

        class Stream:
            def __init__(self, pointer: int, device: int) -> None:
                self.name = pointer, device

            def __enter__(self) -> None:
                cupy.stream = self.name

            def __exit__(self, *_: object) -> None:
                cupy.stream = None

        properties = {
            "multiProcessorCount": 132,
            "sharedMemPerBlockOptin": 232448,
            "sharedMemPerMultiprocessor": 233472,
            "major": 9,
        }
        runtime = SimpleNamespace(getDeviceProperties=lambda index: properties)
        self.RawModule = Module
        self.cuda = SimpleNamespace(ExternalStream=Stream, Device=lambda index: Stream(0, index), runtime=runtime)


def test_a_kernel_is_compiled_and_given_its_memory_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And launched in the caller's stream, with pointers and numbers of the sizes that the kernel has."""

    def forget() -> None:
        for cached in (launch._kernel, launch._module, launch._limits_of_device):
            cached.cache_clear()

    fake = _Cupy()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(launch, "has_cupy", lambda: True)
    forget()
    images, table = np.zeros((5, 224, 224), np.float16), np.zeros((5, 6), np.int64)

    class View:
        def __init__(self, array: np.ndarray) -> None:
            self.dtype, self.__cuda_array_interface__ = array.dtype, array.__array_interface__

    canvas = steps.Canvas(5, 224, 224, View(images), View(images), View(table))

    limits = launch.limits_of(Queue(3, 0, None))
    assert isinstance(limits, Limits)
    assert limits == HOPPER
    choice = chosen(limits, batch(5, 224))
    try:
        for _ in range(2):
            launch.run(steps.whole_step(choice, "db4", canvas), Queue(3, 77, None))
    finally:
        forget()
    (text,) = fake.modules
    assert "#define SOURCE float16\n#define RESULT float16\n" in text
    assert fake.limits == [232448]
    assert len(fake.launches) == 2
    stream, grid, block, arguments, shared = fake.launches[0]
    assert stream == (77, 3)
    assert grid == (5 * choice.cluster, 1, 1)
    assert block == (choice.threads,)
    assert shared == choice.part.shared_bytes
    assert [argument.dtype.name for argument in arguments] == ["uint64"] * 3 + ["int32"] * 3 + ["int64"] + ["int32"] * 2
    assert arguments[:2] == (images.ctypes.data, images.ctypes.data)
    assert arguments[3:] == (5, 224, 224, 224 * 224, choice.part.slab, choice.in_work)
