"""What every way of running the CUDA kernels must pass: the simulator, the PTX machine, and real devices.

A backend has ``to_device(numpy array)`` and ``to_host(device array)``. The oracles are PyWavelets in float64 and the
exact integer reference. Float results may err by twice what the plain float32 PyWavelets errs, integer ones not at
all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wavestream.kernels import (
    forward,
    hard_threshold,
    inject,
    inject_ragged,
    inject_volumes,
    inverse,
    kth_magnitude,
    layout_of,
)
from wavestream.kernels.reference import (
    forward_reference,
    inject_reference,
    inverse_reference,
    kth_magnitude_reference,
    weighted_magnitudes,
)
from wavestream.kernels.select import kept_count
from wavestream.kernels.volume_reference import inject_volume_reference
from wavestream.kernels.wavelets import INTEGER_WAVELET, default_levels

EPSILON = float(np.finfo(np.float32).eps)


def random_images(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    """Noise over a ramp, over most of the dtype's range (12 bits of it where it has more)."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, shape[-1]) * 0.5 + rng.random(shape) * 0.5
    if dtype.kind == "f":
        return (ramp * 2 - 1).astype(dtype)
    low, high = (0, 255) if dtype == np.uint8 else (0 if dtype.kind == "u" else -2048, 4095)
    return np.rint(low + ramp * (high - low)).astype(dtype)


def assert_close(found: np.ndarray, exact: np.ndarray, plain: np.ndarray, scale: float) -> None:
    """Float32 results err at most twice as much as the plain float32 implementation, in the root mean square.

    In a handful of values the largest error is a matter of luck: for that four times is allowed, and never less than a
    rounding of the largest value, ``scale``.
    """
    error, plain_error = np.abs(found - exact), np.abs(plain - exact)
    for name, size, factor in (("rms", _root_mean_square, 2), ("largest", np.max, 4)):
        allowed = factor * max(float(size(plain_error)), EPSILON * scale / 4)
        assert size(error) <= allowed, f"{name} error {size(error):.3g}, allowed {allowed:.3g}"


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def check_transform(backend: Any, wavelet: str, shape: tuple[int, int], dtype: Any, levels: int | None = None) -> None:
    """Forward and inverse of a batch of two, against the reference."""
    images = random_images((2, *shape), dtype)
    levels = levels or default_levels(*shape, wavelet)
    packed = backend.to_host(forward(backend.to_device(images), wavelet, levels))
    restored = backend.to_host(inverse(backend.to_device(packed), shape, wavelet, levels))
    for image, found, back in zip(images, packed, restored, strict=True):
        if wavelet == INTEGER_WAVELET:
            np.testing.assert_array_equal(found, forward_reference(image, wavelet, levels))
            np.testing.assert_array_equal(back, image)
        else:
            exact = forward_reference(image.astype(np.float64), wavelet, levels)
            plain = forward_reference(image.astype(np.float32), wavelet, levels)
            assert_close(found, exact, plain, float(np.abs(exact).max()))
            exact = inverse_reference(found.astype(np.float64), shape, wavelet, levels)
            plain = inverse_reference(found, shape, wavelet, levels)
            assert_close(back, exact, plain, float(np.abs(found).max()))


def check_selection(backend: Any, packed: np.ndarray, keeps: list[float], shape: tuple[int, int], wavelet: str) -> None:
    """Threshold and thresholding of given coefficients, bit for bit."""
    layout = layout_of(*shape, wavelet, default_levels(*shape, wavelet))
    coefficients = backend.to_device(packed)
    thresholds = kth_magnitude(coefficients, keeps, shape, wavelet)
    found = backend.to_host(thresholds)
    expected = [kth_magnitude_reference(p, keep, layout) for p, keep in zip(packed, keeps, strict=True)]
    np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))
    kept = backend.to_host(hard_threshold(coefficients, thresholds, shape, wavelet))
    stays = np.stack([weighted_magnitudes(p, layout) for p in packed]) >= found[:, np.newaxis]
    np.testing.assert_array_equal(kept, np.where(stays, packed, 0))
    np.testing.assert_array_equal(backend.to_host(coefficients), packed)
    assert hard_threshold(coefficients, thresholds, shape, wavelet, out=coefficients) is coefficients
    np.testing.assert_array_equal(backend.to_host(coefficients), kept)


def check_inject(
    backend: Any,
    images: np.ndarray,
    keeps: list[float],
    wavelet: str,
    sizes: list[tuple[int, int]] | None = None,
    value_range: list[tuple[int, int]] | None = None,
    in_place: bool = False,
) -> None:
    """The artifact of every image of a batch, of the canvas around it, and of an input that must not change."""
    source = backend.to_device(images)
    out = source if in_place else None
    result = inject(source, keeps, wavelet, sizes=sizes, value_range=value_range, out=out)
    assert type(result) is type(source)
    found = backend.to_host(result)
    assert found.dtype == images.dtype
    if not in_place:
        np.testing.assert_array_equal(backend.to_host(source), images)
    for index, (image, artifact) in enumerate(zip(images, found, strict=True)):
        rows, cols = sizes[index] if sizes else image.shape
        limits = value_range[index] if value_range else None
        inner = np.ascontiguousarray(image[:rows, :cols])
        _check_artifact(backend, inner, artifact[:rows, :cols], keeps[index], wavelet, limits)
        around = np.ones(image.shape, dtype=bool)
        around[:rows, :cols] = False
        np.testing.assert_array_equal(artifact[around], image[around])


def check_ragged(
    backend: Any,
    images: list[np.ndarray],
    keeps: list[float],
    wavelet: str,
    value_range: list[tuple[int, int]] | None = None,
    in_place: bool = False,
    stored: str | None = None,
) -> None:
    """The artifacts of images of different sizes; ``stored``: the dtype of the results where it is not the images'."""
    sources = [backend.to_device(image) for image in images]
    out = sources if in_place else None
    if stored is not None:
        out = [backend.to_device(np.full(image.shape, -1, stored)) for image in images]
    results = inject_ragged(sources, keeps, wavelet, value_range=value_range, out=out)
    for index, (image, result) in enumerate(zip(images, results, strict=True)):
        found = backend.to_host(result)
        assert type(result) is type(sources[index])
        assert found.dtype == (stored or image.dtype)
        if not in_place:
            np.testing.assert_array_equal(backend.to_host(sources[index]), image)
        limits = value_range[index] if value_range else None
        if stored is not None:
            # The integer result is checked below without ``stored``; as floats it has to be the same.
            plain = backend.to_host(inject(backend.to_device(image), keeps[index], wavelet, value_range=limits))
            np.testing.assert_array_equal(found, plain.astype(stored))
        else:
            _check_artifact(backend, image, found, keeps[index], wavelet, limits)


def check_volumes(
    backend: Any,
    volumes: np.ndarray,
    keeps: list[float],
    wavelet: str,
    artifact: Callable[[np.ndarray, float, str], tuple[np.ndarray, np.ndarray]],
    value_range: list[tuple[int, int]] | None = None,
    in_place: bool = False,
    stored: str | None = None,
) -> None:
    """The artifacts of a batch of volumes; ``artifact`` is the fixture ``volume_artifact``, ``stored`` as above."""
    source = backend.to_device(volumes)
    out = source if in_place else None
    if stored is not None:
        out = backend.to_device(np.full(volumes.shape, -1, stored))
    result = inject_volumes(source, keeps, wavelet, value_range=value_range, out=out)
    assert type(result) is type(source)
    artifacts = backend.to_host(result)
    assert artifacts.dtype == (stored or volumes.dtype)
    if not in_place:
        np.testing.assert_array_equal(backend.to_host(source), volumes)
    for index, (volume, found) in enumerate(zip(volumes, artifacts, strict=True)):
        limits = value_range[index] if value_range else None
        if keeps[index] == 1 or wavelet == INTEGER_WAVELET:
            expected = inject_volume_reference(volume, keeps[index], wavelet, value_range=limits)
            np.testing.assert_array_equal(found, expected.astype(found.dtype))
            continue
        exact, plain = artifact(volume, keeps[index], wavelet)
        scale = float(np.abs(exact).max())
        if volume.dtype == np.float32:
            assert_close(found, exact, plain, scale)
        elif volume.dtype == np.float16:
            rounding = np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64)
            assert np.all(np.abs(found - exact) <= 0.5 * rounding + 8 * EPSILON * scale)
        else:
            clipped = np.clip(exact, *(limits or (np.iinfo(volume.dtype).min, np.iinfo(volume.dtype).max)))
            further = 0.5 + 16 * EPSILON * scale
            if stored == "float16":
                further += float(np.spacing(np.float16(scale))) / 2
            assert np.all(np.abs(found - clipped) <= further)


def _check_artifact(
    backend: Any, image: np.ndarray, found: np.ndarray, keep: float, wavelet: str, limits: tuple[int, int] | None
) -> None:
    if keep == 1 or wavelet == INTEGER_WAVELET:
        np.testing.assert_array_equal(found, inject_reference(image, keep, wavelet, value_range=limits))
        return
    # A coefficient within rounding of the threshold may fall on either side: select among the backend's own
    # coefficients (which check_transform compares with PyWavelets), exactly, and go on in float64.
    levels = default_levels(*image.shape, wavelet)
    layout = layout_of(*image.shape, wavelet, levels)
    packed = backend.to_host(forward(backend.to_device(image), wavelet, levels))
    stays = np.abs(packed) >= kth_magnitude_reference(packed, keep, layout)
    assert stays.sum() >= kept_count(keep, *image.shape)
    kept = np.where(stays, packed, 0)
    exact = inverse_reference(kept.astype(np.float64), image.shape, wavelet, levels)
    scale = float(np.abs(packed).max())
    if image.dtype == np.float32:
        assert_close(found, exact, inverse_reference(kept, image.shape, wavelet, levels), scale)
    elif image.dtype == np.float16:
        rounding = np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64)
        assert np.all(np.abs(found - exact) <= 0.5 * rounding + 8 * EPSILON * scale)
    else:
        low, high = limits or (np.iinfo(image.dtype).min, np.iinfo(image.dtype).max)
        assert np.all(np.abs(found - np.clip(exact, low, high)) <= 0.5 + 8 * EPSILON * scale)
    reference = inject_reference(image, keep, wavelet, value_range=limits)
    if np.array_equal(stays, _reference_selection(image, keep, wavelet, levels)):
        coarsest = 1.0 if image.dtype.kind != "f" else 8 * EPSILON * scale + float(np.finfo(image.dtype).eps)
        assert np.abs(found.astype(np.float64) - reference).max() <= coarsest


def _reference_selection(image: np.ndarray, keep: float, wavelet: str, levels: int) -> np.ndarray:
    layout = layout_of(*image.shape, wavelet, levels)
    packed = forward_reference(image.astype(np.float64), wavelet, levels)
    return np.abs(packed) >= kth_magnitude_reference(packed, keep, layout)
