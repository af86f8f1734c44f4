"""The kernels in Numba's CUDA simulator: run by ``test_in_simulator.py``, in a process of its own.

The simulator runs blocks of two interleaved Python threads, slowly; so these are the smallest cases that reach every
branch of every kernel. ``test_compiled_kernels.py`` holds the wide ones.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_battery import check_inject, check_ragged, check_selection, check_transform, check_volumes, random_images
from layer_streams import check_batch, check_mutations, picture, plain_stream
from numba import config, cuda
from numba.np.numpy_support import as_dtype

from wavestream.engine.layers import encode_image
from wavestream.kernels import WAVELETS, layout_of
from wavestream.kernels.validation import smallest_side

if config.ENABLE_CUDASIM:
    from numba.cuda.simulator.kernelapi import FakeCUDAShared

pytestmark = pytest.mark.skipif(
    not config.ENABLE_CUDASIM, reason="run by test_in_simulator.py, which sets the simulator up"
)


_allocating = threading.Lock()


def _shared_array(shared: Any, shape: int, dtype: Any) -> np.ndarray:
    """The simulator's ``cuda.shared.array``, under a lock.

    Its own looks an array up and makes it in two steps; a thread that is switched away between them gets an array that
    no other thread sees (about once in a hundred runs of a kernel, with threads that take turns this often).
    """
    caller = sys._getframe(1)
    name = caller.f_code.co_filename, caller.f_lineno
    with _allocating:
        if name not in shared._allocations:
            shared._allocations[name] = np.empty(shape, as_dtype(dtype))
        return shared._allocations[name]


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Numba's own simulated arrays; threads that take turns often, because each waits for the others."""
    monkeypatch.setattr(FakeCUDAShared, "array", _shared_array)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield SimpleNamespace(to_device=cuda.to_device, to_host=lambda array: array.copy_to_host())
    sys.setswitchinterval(interval)


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_transform_of_every_wavelet(simulator: Any, wavelet: str) -> None:
    side = max(smallest_side(wavelet), 5)
    check_transform(simulator, wavelet, (side, side + 2), "int32" if wavelet == "cdf53" else "float32")


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 1), (19, 23)])
def test_cdf53_of_hostile_sizes(simulator: Any, shape: tuple[int, int]) -> None:
    check_inject(simulator, random_images((1, *shape), "int16"), [0.1], "cdf53")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float16", "float32"])
def test_inject_of_every_dtype(simulator: Any, dtype: str) -> None:
    check_inject(simulator, random_images((2, 7, 11), dtype), [0.1, 1.0], "haar")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32"])
def test_inject_with_cdf53_of_every_dtype(simulator: Any, dtype: str) -> None:
    check_inject(simulator, random_images((2, 7, 11), dtype), [0.1, 1.0], "cdf53")


@pytest.mark.parametrize(("wavelet", "dtype", "in_place"), [("db2", "float32", True), ("cdf53", "uint16", False)])
def test_mixed_sizes_in_a_canvas(simulator: Any, wavelet: str, dtype: str, in_place: bool) -> None:
    sizes = [(19, 20), (6, 20), (17, 7)]
    check_inject(
        simulator, random_images((3, 19, 20), dtype), [0.1, 0.01, 1.0], wavelet, sizes=sizes, in_place=in_place
    )


@pytest.mark.parametrize("wavelet", ["haar", "cdf53"])
def test_constant_and_tied_images(simulator: Any, wavelet: str) -> None:
    images = np.zeros((3, 9, 8), dtype=np.uint8)
    images[1] = 7
    images[2, ::4] = 200
    check_inject(simulator, images, [0.1, 0.01, 0.2], wavelet, value_range=[(0, 255), (0, 255), (10, 150)])


@pytest.mark.parametrize("wavelet", ["haar", "cdf53"])
def test_selection_is_exact(simulator: Any, wavelet: str) -> None:
    size = layout_of(13, 12, wavelet, 4 if wavelet == "cdf53" else 3).size
    rng = np.random.default_rng(5)
    packed = np.stack([rng.integers(-3, 4, size), rng.integers(-9999, 9999, size), np.zeros(size)])
    packed = packed.astype(np.int32 if wavelet == "cdf53" else np.float32)
    check_selection(simulator, packed, [0.5, 0.1, 0.01], (13, 12), wavelet)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_image_that_is_not_finite_becomes_nan(simulator: Any, wrong: float) -> None:
    from wavestream.kernels import inject

    images = random_images((2, 6, 7), "float32")
    images[0, 5, 6] = wrong
    found = inject(simulator.to_device(images), 0.1, "haar").copy_to_host()
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize(("wavelet", "dtype", "stored"), [("db2", "float32", None), ("cdf53", "uint8", "float16")])
def test_images_of_different_sizes_in_memory_of_their_own(
    simulator: Any, wavelet: str, dtype: str, stored: str | None
) -> None:
    sizes = [(9, 20), (6, 8), (17, 7)]
    images = [random_images(size, dtype, seed) for seed, size in enumerate(sizes)]
    check_ragged(simulator, images, [0.1, 0.2, 1.0], wavelet, stored=stored, in_place=stored is None)


@pytest.mark.parametrize(
    ("wavelet", "dtype", "shape"),
    [
        ("haar", "float32", (5, 4, 9)),
        ("haar", "uint16", (4, 7, 6)),
        ("db2", "float32", (9, 7, 6)),
        ("cdf53", "int16", (5, 4, 9)),
        ("cdf53", "uint8", (1, 1, 1)),
        ("cdf53", "uint8", (1, 3, 2)),
        ("cdf53", "int32", (6, 1, 1)),
    ],
)
def test_volumes(simulator: Any, volume_artifact: Any, wavelet: str, dtype: str, shape: tuple[int, int, int]) -> None:
    check_volumes(simulator, random_images((2, *shape), dtype), [0.1, 1.0], wavelet, volume_artifact)


@pytest.mark.parametrize(("shape", "dtype"), [((1, 1), "uint8"), ((1, 7), "int8"), ((9, 20), "uint16")])
def test_layers_of_hostile_sizes(simulator: Any, shape: tuple[int, int], dtype: str) -> None:
    check_batch(simulator, [encode_image(picture(shape, dtype))], [1.0])


def test_layers_between_stored_fractions_at_reduced_size(simulator: Any) -> None:
    streams = [encode_image(picture(shape, "int16")) for shape in ((9, 10), (17, 23))]
    check_batch(simulator, streams, [0.2, 0.1], 1)


def test_layers_in_several_tiles_with_more_states_than_threads(simulator: Any) -> None:
    check_batch(simulator, [plain_stream(picture((3, 70), "uint8"))], [1.0])


def test_layers_of_large_values(simulator: Any) -> None:
    image = np.random.default_rng(3).integers(-65536, 65535, (7, 9), endpoint=True).astype(np.int32)
    check_batch(simulator, [encode_image(image)], [1.0])


def test_mutated_layers(simulator: Any) -> None:
    check_mutations(simulator, [plain_stream(picture((5, 12), "uint8"), 2)], 20, 2)
