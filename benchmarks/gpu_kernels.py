"""Images per second of ``inject`` on the device, path by path, against the copy's bandwidth and the bars of issue 3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray

from wavestream.benchmarks.cases import Case
from wavestream.benchmarks.gpu_clock import seconds_per_call
from wavestream.benchmarks.gpu_memory import copy_bandwidth
from wavestream.benchmarks.gpu_setting import BARS, Row, Setting
from wavestream.kernels import inject
from wavestream.kernels.reference import inject_reference
from wavestream.kernels.validation import check_keep, check_sizes, check_value_range
from wavestream.kernels.wavelets import INTEGER_WAVELET

KEEP = 0.01
LEVELS = 4
# Images of each size that differ; a batch repeats them.
DIFFERENT = 16
CHECKED = 2
# Rounding, and coefficients within rounding of the threshold, which may fall on either side, stay far below it.
LARGEST_ERROR = 1e-2
PUBLIC = "inject()"


def pixel_types(wavelet: str) -> tuple[str, ...]:
    """What is measured with a wavelet: the type it works on best, and bytes."""
    return ("uint16", "uint8") if wavelet == INTEGER_WAVELET else ("float32", "uint8")


def kernels(setting: Setting) -> Iterator[Row]:
    """Every wavelet, pixel type and size by every path, in a large batch; the first wavelet's in small ones too."""
    bandwidth = copy_bandwidth(setting)
    for wavelet in setting.wavelets:
        for pixels in pixel_types(wavelet):
            for size in setting.sizes:
                large = max(setting.small_batch, setting.pixels // size**2)
                source = batch_of(size, wavelet, pixels, large, setting.device)
                first = wavelet == setting.wavelets[0] and pixels == pixel_types(wavelet)[0]
                for batch in (large, setting.small_batch) if first else (large,):
                    for path in paths(setting.device):
                        yield measure(setting, source, wavelet, batch, path, bandwidth)


def paths(device: str) -> tuple[str, ...]:
    """The names of the ways to inject on a device."""
    if not device.startswith("cuda"):
        return (PUBLIC,)
    from wavestream.kernels.cuda.fused.inject import PATHS

    return (PUBLIC, *(path for path in PATHS if path != "auto"))


def call(path: str, images: torch.Tensor, wavelet: str, out: torch.Tensor) -> Callable[[], object]:
    """What a path has to be called with for these images, made once, and the call."""
    if path == PUBLIC:
        arrays = (images, out) if images.is_cuda else (images.numpy(), out.numpy())
        return partial(inject, arrays[0], KEEP, wavelet, LEVELS, out=arrays[1])
    from wavestream.kernels.cuda.inject import inject_cuda

    batch, rows, cols = images.shape
    keeps, levels = check_keep(KEEP, batch), np.full(batch, LEVELS, np.int32)
    limits = check_value_range(None, batch, np.dtype(_pixels(images)))
    return partial(
        inject_cuda, images, keeps, wavelet, levels, check_sizes(None, batch, rows, cols), limits, out, path=path
    )


def measure(setting: Setting, source: torch.Tensor, wavelet: str, batch: int, path: str, bandwidth: float) -> Row:
    """One row: how fast a path is, or that it does not take these images.

    Args:
        setting: lengths of the measurement.
        source: (n, size, size) images; a call takes ``batch`` of them, the next call the ones after.
        wavelet: its name.
        batch: images per call.
        path: one of :func:`paths`.
        bandwidth: bytes per second of a copy.
    """
    size, pixels = source.shape[1], _pixels(source)
    row: Row = {"path": path, "wavelet": wavelet, "pixels": pixels, "size": size, "images per call": batch}
    row |= dict.fromkeys(("images/s", "GB/s", "of the copy", "times the bar", "error", "note"))
    try:
        row["error"] = error_of(source, wavelet, path)
    except ValueError as error:
        return row | {"note": str(error)}
    result = torch.empty_like(source)
    groups = zip(source.split(batch), result.split(batch), strict=True)
    calls = [call(path, images, wavelet, out) for images, out in groups if len(images) == batch]
    run = lambda number: calls[number % len(calls)]()  # noqa: E731
    rate = batch / seconds_per_call(run, setting.device, setting.rounds, setting.round_seconds)
    traffic = rate * 2 * size**2 * source.element_size()
    row |= {"images/s": rate, "GB/s": traffic / 1e9, "of the copy": traffic / bandwidth}
    if pixels == "float32" and size in BARS:
        row["times the bar"] = rate / BARS[size]
    if row["error"] > LARGEST_ERROR:
        row["note"] = f"wrong: the error is above {LARGEST_ERROR}"
    return row


def error_of(source: torch.Tensor, wavelet: str, path: str) -> float:
    """Distance to the float64 reference, in units of its norm; every pixel of the result is poisoned before."""
    few = source[:CHECKED].cpu().numpy()
    poison = np.full_like(few, np.nan) if few.dtype.kind == "f" else ~few
    result = torch.from_numpy(poison).to(source.device)
    call(path, source[:CHECKED], wavelet, result)()
    expected = np.stack([inject_reference(image, KEEP, wavelet, LEVELS) for image in few])
    difference = result.cpu().numpy().astype(np.float64) - expected
    error = float(np.linalg.norm(difference) / np.linalg.norm(expected.astype(np.float64)))
    # A pixel that was not written is still NaN.
    return error if np.isfinite(error) else 1.0


def batch_of(size: int, wavelet: str, pixels: str, batch: int, device: str) -> torch.Tensor:
    """(batch, size, size) images on the device."""
    few = torch.from_numpy(_different(size, wavelet, pixels)).to(device)
    return few.repeat(-(-batch // len(few)), 1, 1)[:batch].contiguous()


def _pixels(images: torch.Tensor) -> str:
    """The name of a tensor's dtype as NumPy has it."""
    return str(images.dtype).removeprefix("torch.")


@lru_cache(maxsize=1)
def _different(size: int, wavelet: str, pixels: str) -> NDArray[np.generic]:
    images = Case(size, size, wavelet, batch=DIFFERENT).images()
    return (images / 16).astype(np.uint8) if pixels == "uint8" else images.astype(pixels)
