"""What the GPU report measures, at a tiny size on the CPU: arithmetic, wrong results, declined paths, tests counted."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wavestream.benchmarks import gpu_clock, gpu_kernels, gpu_memory, gpu_tests, gpu_training
from wavestream.benchmarks.gpu_clock import seconds_per_call
from wavestream.benchmarks.gpu_setting import BARS, Setting

TINY = Setting(
    "report.zarr",
    device="cpu",
    copy_bytes=1 << 12,
    pixels=5000,
    sizes=(24,),
    wavelets=("haar",),
    small_batch=2,
    rounds=2,
    round_seconds=0.0005,
    store_images=20,
    store_size=64,
    batch_size=4,
    input_size=32,
    loader_seconds=0.01,
    training_seconds=0.01,
    model="resnet18",
)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """The tiny setting with a store."""
    setting = replace(TINY, store=str(tmp_path_factory.mktemp("gpu") / "report.zarr"))
    (row,) = gpu_training.make_store(setting)
    assert row["store"] == "20 images of 64 x 64, uint16"
    assert row["MB"] > 0
    return setting


def test_a_setting_survives_its_file(tmp_path: Path) -> None:
    TINY.write(tmp_path / "setting.json")
    assert Setting.read(tmp_path / "setting.json") == TINY


def test_the_clock_takes_the_median_of_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    numbers: list[int] = []
    # Warm-up is slow; then a call takes a second, in one of the rounds five.
    costs = iter([50.0, 50.0, 1.0, 1.0, 1.0, 1.0] + [1.0, 1.0, 1.0] * 2 + [5.0] * 3)

    def run(number: int) -> None:
        now[0] += next(costs)
        numbers.append(number)

    monkeypatch.setattr(gpu_clock.time, "perf_counter", lambda: now[0])
    assert seconds_per_call(run, "cpu", 3, 3.0) == pytest.approx(1.0)
    assert numbers[-3:] == [0, 1, 2]


def test_bandwidths(monkeypatch: pytest.MonkeyPatch) -> None:
    def clock(run: Callable[[int], object], *_: Any) -> float:
        run(0)
        return 1e-6

    monkeypatch.setattr(gpu_memory, "seconds_per_call", clock)
    assert gpu_memory.copy_bandwidth(TINY) == pytest.approx(2 * 4096 / 1e-6)
    (row,) = gpu_memory.copies(TINY)
    assert row["GB/s, read and written"] == pytest.approx(8.192)
    rows = list(gpu_memory.transfers(TINY))
    assert [(row["transfer"], row["memory"]) for row in rows] == [
        ("to the device", "pinned"),
        ("to the host", "pinned"),
        ("to the device", "pageable"),
        ("to the host", "pageable"),
    ]
    assert all(row["GB/s"] == pytest.approx(1.024) for row in rows)


def test_rates_are_in_units_of_the_copy_and_of_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_kernels, "seconds_per_call", lambda *_: 0.001)
    source = gpu_kernels.batch_of(224, "haar", "float32", 4, "cpu")
    row = gpu_kernels.measure(TINY, source, "haar", 2, gpu_kernels.PUBLIC, 1e9)
    assert row["images/s"] == pytest.approx(2000)
    assert row["GB/s"] == pytest.approx(2000 * 2 * 224**2 * 4 / 1e9)
    assert row["of the copy"] == pytest.approx(row["GB/s"])
    assert row["times the bar"] == pytest.approx(2000 / BARS[224])
    assert 0 < row["error"] < 1e-6
    assert row["note"] is None


def test_every_path_type_and_size_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_kernels, "error_of", lambda *_: 0.0)
    monkeypatch.setattr(gpu_kernels, "seconds_per_call", lambda *_: 1.0)
    monkeypatch.setattr(gpu_kernels, "paths", lambda device: ("one", "other"))
    monkeypatch.setattr(gpu_kernels, "call", lambda *_: lambda: None)
    rows = list(gpu_kernels.kernels(replace(TINY, wavelets=("haar", "cdf53"), sizes=(24, 33))))
    found = {(r["path"], r["wavelet"], r["pixels"], r["size"], r["images per call"]) for r in rows}
    assert len(found) == len(rows) == 2 * (2 * 2 + 2 * 1 + 2 * 2 * 1)
    assert ("other", "cdf53", "uint16", 33, 4) in found
    assert ("one", "haar", "float32", 24, 2) in found


def test_calls_move_through_the_large_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    source = torch.arange(7.0)[:, None, None].expand(7, 24, 24).contiguous()
    seen: list[list[float]] = []

    def clock(run: Callable[[int], object], *_: Any) -> float:
        for number in range(4):
            run(number)
        return 1.0

    monkeypatch.setattr(gpu_kernels, "error_of", lambda *_: 0.0)
    monkeypatch.setattr(gpu_kernels, "call", lambda path, images, *_: lambda: seen.append(images[:, 0, 0].tolist()))
    monkeypatch.setattr(gpu_kernels, "seconds_per_call", clock)
    gpu_kernels.measure(TINY, source, "haar", 3, "path", 1.0)
    assert seen == [[0, 1, 2], [3, 4, 5], [0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("wrong", ["unwritten", "changed"])
@pytest.mark.parametrize(("wavelet", "pixels"), [("haar", "float32"), ("cdf53", "uint16"), ("haar", "uint8")])
def test_a_wrong_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch, wavelet: str, pixels: str, wrong: str) -> None:
    def injection(images: Any, keep: float, wavelet: str, levels: int, out: Any) -> None:
        expected = np.stack([gpu_kernels.inject_reference(image, keep, wavelet, levels) for image in images])
        if wrong == "unwritten":
            out[:, :-1] = expected[:, :-1]
        else:
            out[...] = expected * 0.9

    monkeypatch.setattr(gpu_kernels, "inject", injection)
    source = gpu_kernels.batch_of(24, wavelet, pixels, 4, "cpu")
    row = gpu_kernels.measure(TINY, source, wavelet, 2, gpu_kernels.PUBLIC, 1.0)
    assert row["error"] > gpu_kernels.LARGEST_ERROR
    assert row["note"] == "wrong: the error is above 0.01"


def test_a_path_that_declines_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def declines(*_: Any) -> Callable[[], object]:
        raise ValueError("the fused kernel does not do this batch")

    monkeypatch.setattr(gpu_kernels, "call", declines)
    source = gpu_kernels.batch_of(24, "haar", "float32", 4, "cpu")
    row = gpu_kernels.measure(TINY, source, "haar", 2, "fused", 1.0)
    assert row["note"] == "the fused kernel does not do this batch"
    assert row["images/s"] is None
    assert list(row) == list(gpu_kernels.measure(TINY, source, "haar", 2, "fused", 1.0))


def test_named_paths_are_called_as_they_are_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    from wavestream.kernels.cuda import inject as module

    signature = inspect.signature(module.inject_cuda)
    seen: dict[str, Any] = {}
    monkeypatch.setattr(module, "inject_cuda", lambda *a, **k: seen.update(signature.bind(*a, **k).arguments))
    source = gpu_kernels.batch_of(24, "cdf53", "uint8", 3, "cpu")
    out = torch.empty_like(source)
    assert set(gpu_kernels.paths("cuda")) == {gpu_kernels.PUBLIC, "fused", "multipass"}
    gpu_kernels.call("fused", source, "cdf53", out)()
    assert seen["path"] == "fused"
    assert seen["out"] is out
    np.testing.assert_array_equal(seen["keep"], [0.01] * 3)
    np.testing.assert_array_equal(seen["levels"], [4] * 3)
    np.testing.assert_array_equal(seen["sizes"], [[24, 24]] * 3)
    np.testing.assert_array_equal(seen["value_range"], [[0, 255]] * 3)


@pytest.mark.gpu
@pytest.mark.parametrize("path", ["inject()", "fused", "multipass"])
def test_paths_on_the_device(path: str) -> None:
    for pixels in ("float32", "uint8"):
        source = gpu_kernels.batch_of(64, "haar", pixels, 8, "cuda")
        row = gpu_kernels.measure(replace(TINY, device="cuda"), source, "haar", 4, path, 1e12)
        assert row["note"] is None or "does not do this batch" in row["note"]


def test_the_loader_and_training_are_measured(stored: Setting) -> None:
    rows = list(gpu_training.loaders(stored))
    assert [row["loader"] for row in rows] == list(gpu_training.ARTIFACTS)
    assert all(row["images/s"] > 0 for row in rows)
    rows = list(gpu_training.trainings(replace(stored, training_seconds=0.001)))
    assert len(rows) == 1 + len(gpu_training.ARTIFACTS)
    assert rows[0]["of the resident rate"] == 1
    for row in rows:
        assert row["of the resident rate"] == pytest.approx(row["images/s"] / rows[0]["images/s"])


def test_a_training_step_trains() -> None:
    torch.manual_seed(0)
    step = gpu_training.training_step(TINY)
    images = torch.randn(4, 1, 32, 32)
    losses = [float(step(images)) for _ in range(8)]
    assert losses[-1] < losses[0] / 2
    with pytest.raises(ArithmeticError, match="not finite"):
        gpu_training._rate(lambda: torch.tensor(float("nan")), TINY, 0.001)


def test_results_of_pytest_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conftest.py").write_text("")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu: needs a device\n")
    (tmp_path / "test_one.py").write_text(
        "import pytest\n"
        "pytestmark = pytest.mark.gpu\n"
        "@pytest.mark.parametrize('name', ['a b', 'c::d'])\n"
        "def test_passes(name): pass\n"
        "def test_fails(): assert 1 == 2, 'so it is'\n"
        "def test_skips(): pytest.skip('here')\n"
        "@pytest.fixture\n"
        "def wrong(): raise ValueError\n"
        "def test_errs(wrong): pass\n"
    )
    (tmp_path / "test_two.py").write_text(
        "import pytest\n@pytest.mark.gpu\ndef test_passes(): pass\ndef test_on_the_cpu(): assert False\n"
    )
    monkeypatch.setattr(gpu_tests, "TESTS", tmp_path)
    found = gpu_tests.run_tests(TINY)
    assert [next(found) for _ in range(3)] == [
        {"tests": f"{tmp_path.name}/test_one.py", "passed": 2, "failed": 2, "skipped": 1},
        {"tests": f"{tmp_path.name}/test_two.py", "passed": 1, "failed": 0, "skipped": 0},
        {"tests": "all", "passed": 3, "failed": 2, "skipped": 1},
    ]
    with pytest.raises(RuntimeError, match=r"ended with status 1:(.|\n)*so it is"):
        next(found)
    monkeypatch.setattr(gpu_tests, "TESTS", tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="from a checkout of the repository"):
        list(gpu_tests.run_tests(TINY))
