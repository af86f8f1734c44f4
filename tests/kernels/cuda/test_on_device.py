"""The same battery on a real device, with the arrays people have: CuPy and torch, in streams, in place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_battery import check_inject, check_ragged, check_selection, check_transform, check_volumes, random_images

from wavestream.kernels import WAVELETS, inject, inject_ragged, inject_volumes, layout_of
from wavestream.kernels.validation import smallest_side
from wavestream.kernels.wavelets import default_levels

pytestmark = pytest.mark.gpu

DTYPES = ["uint8", "uint16", "int16", "int32", "float16", "float32"]


@pytest.fixture(params=["cupy", "torch"])
def backend(request: pytest.FixtureRequest) -> SimpleNamespace:
    """Arrays of CuPy and of torch on the device."""
    library = pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    if request.param == "cupy":
        return SimpleNamespace(to_device=library.asarray, to_host=lambda array: array.get())
    return SimpleNamespace(
        to_device=lambda array: library.from_numpy(np.ascontiguousarray(array)).cuda(),
        to_host=lambda tensor: tensor.cpu().numpy(),
    )


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_transform(backend: Any, wavelet: str) -> None:
    side = smallest_side(wavelet)
    for shape in ((side, side), (67, 2 * side + 71), (512, 512), (1021, 773)):
        check_transform(backend, wavelet, shape, "int32" if wavelet == "cdf53" else "float32")


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_inject(backend: Any, wavelet: str) -> None:
    for dtype in DTYPES[:4] if wavelet == "cdf53" else DTYPES:
        for in_place in (False, True):
            images = random_images((4, 97, 113), dtype)
            check_inject(backend, images, [0.1, 1.0, 0.01, 0.001], wavelet, in_place=in_place)


@pytest.mark.parametrize("wavelet", ["bior4.4", "cdf53"])
def test_mixed_sizes_in_a_canvas(backend: Any, wavelet: str) -> None:
    rng = np.random.default_rng(1)
    sizes = [(int(rows), int(cols)) for rows, cols in rng.integers(18, 400, (33, 2))]
    images = random_images((33, 400, 400), "uint16")
    check_inject(backend, images, [float(keep) for keep in rng.choice([0.1, 0.01, 0.001, 1], 33)], wavelet, sizes=sizes)


@pytest.mark.parametrize("wavelet", ["haar", "cdf53"])
def test_selection_is_exact(backend: Any, wavelet: str) -> None:
    shape = (1021, 773)
    size = layout_of(*shape, wavelet, default_levels(*shape, wavelet)).size
    rng = np.random.default_rng(2)
    packed = np.stack([rng.integers(-3, 4, size), rng.integers(-99999, 99999, size), np.zeros(size, dtype=int)])
    packed = packed.astype(np.int32 if wavelet == "cdf53" else np.float32)
    for keep in (0.5, 0.01, 0.0001):
        check_selection(backend, packed, [keep] * 3, shape, wavelet)


@pytest.mark.parametrize("wavelet", ["bior4.4", "cdf53"])
@pytest.mark.parametrize("stored", [None, "float32", "float16"])
def test_images_of_different_sizes_in_memory_of_their_own(backend: Any, wavelet: str, stored: str | None) -> None:
    rng = np.random.default_rng(1)
    sizes = [(int(rows), int(cols)) for rows, cols in rng.integers(18, 600, (33, 2))]
    images = [random_images(size, "uint8", seed) for seed, size in enumerate(sizes)]
    keeps = [float(keep) for keep in rng.choice([0.1, 0.01, 0.001, 1], 33)]
    check_ragged(backend, images, keeps, wavelet, stored=stored)
    if stored is None:
        check_ragged(backend, images, keeps, wavelet, in_place=True)


@pytest.mark.parametrize("wavelet", ["haar", "db3", "bior4.4"])
@pytest.mark.parametrize("in_place", [False, True])
def test_volumes(backend: Any, volume_artifact: Any, wavelet: str, in_place: bool) -> None:
    for shape in ((18, 40, 37), (23, 37, 67)):
        volumes = random_images((3, *shape), "float32")
        check_volumes(backend, volumes, [0.1, 1.0, 0.01], wavelet, volume_artifact, in_place=in_place)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 40), (9, 1, 1), (1, 133, 134), (35, 1, 36), (41, 67, 101)])
@pytest.mark.parametrize("dtype", DTYPES[:4])
def test_volumes_with_cdf53(backend: Any, volume_artifact: Any, dtype: str, shape: tuple[int, int, int]) -> None:
    check_volumes(backend, random_images((2, *shape), dtype), [0.3, 0.01], "cdf53", volume_artifact)


@pytest.mark.parametrize("stored", ["float32", "float16"])
@pytest.mark.parametrize("wavelet", ["db2", "cdf53"])
def test_volumes_stored_as_floats(backend: Any, volume_artifact: Any, wavelet: str, stored: str) -> None:
    volumes = random_images((2, 19, 41, 37), "uint8", seed=3)
    check_volumes(backend, volumes, [0.05, 1.0], wavelet, volume_artifact, stored=stored)


def test_many_images_in_one_launch(backend: Any) -> None:
    images = random_images((300, 24, 25), "uint8")
    check_inject(backend, images, [0.1] * 300, "haar")


def test_an_image_that_is_not_finite_becomes_nan(backend: Any) -> None:
    images = random_images((2, 40, 41), "float32")
    images[0, 39, 40] = np.nan
    found = backend.to_host(inject(backend.to_device(images), 0.1))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


CALLS = {
    "batch": lambda images: inject(images, 0.01),
    "ragged": lambda images: inject_ragged([images[0], images[1, :300], *images[2:]], 0.01)[0],
    "volumes": lambda images: inject_volumes(images[:, :96, :96].contiguous(), 0.01),
}


@pytest.mark.parametrize("kind", CALLS)
def test_work_is_queued_in_torchs_current_stream(kind: str) -> None:
    torch = pytest.importorskip("torch")
    call, side = CALLS[kind], 512
    source = torch.from_numpy(random_images((32, side, side), "float32")).cuda()
    expected = call(source).cpu()
    streams = [torch.cuda.Stream() for _ in range(2)]
    results = []
    torch.cuda.synchronize()
    for stream in streams * 5:
        with torch.cuda.stream(stream):
            # The input is made late: a kernel in another stream would see zeros.
            late = torch.zeros_like(source)
            torch.cuda._sleep(20_000_000)
            late.copy_(source)
            results.append(call(late))
    torch.cuda.synchronize()
    for result in results:
        assert torch.equal(result.cpu(), expected)


def test_images_of_several_streams_are_refused() -> None:
    cupy = pytest.importorskip("cupy")
    first = cupy.zeros((20, 20), dtype=np.float32)
    stream = cupy.cuda.Stream(non_blocking=True)
    interface = dict(first.__cuda_array_interface__)
    other = SimpleNamespace(
        __cuda_array_interface__=interface | {"stream": stream.ptr}, shape=first.shape, device=first.device
    )
    with pytest.raises(ValueError, match="in the stream of the first"):
        inject_ragged([first, other], 0.1, "haar", out=[cupy.zeros_like(first), cupy.zeros_like(first)])


def test_work_is_queued_in_cupys_current_stream() -> None:
    cupy = pytest.importorskip("cupy")
    images = random_images((8, 512, 512), "float32")
    expected = inject(cupy.asarray(images), 0.01).get()
    cupy.cuda.Device().synchronize()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        late = cupy.zeros(images.shape, dtype=np.float32)
        big = cupy.ones((4096, 4096), dtype=np.float32)
        for _ in range(20):
            big = big @ big * 0
        late += cupy.asarray(images) + big[0, 0]
        result = inject(late, 0.01)
        stream.synchronize()
        np.testing.assert_array_equal(result.get(), expected)


@pytest.mark.parametrize("kind", CALLS)
def test_the_host_does_not_wait(kind: str) -> None:
    torch = pytest.importorskip("torch")
    images = torch.rand((32, 512, 512), device="cuda")
    CALLS[kind](images)
    torch.cuda.synchronize()
    finished = torch.cuda.Event()
    torch.cuda._sleep(2_000_000_000)
    CALLS[kind](images)
    finished.record()
    assert not finished.query()
    torch.cuda.synchronize()
    assert finished.query()
