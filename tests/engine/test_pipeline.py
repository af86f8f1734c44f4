"""The DALI pipeline against pydicom (windowing), Pillow (antialiased resize) and NumPy (turns, flips)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_windowing

from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError, StoreError
from wavestream.engine.injection import Injector
from wavestream.engine.pipeline import Pipeline
from wavestream.engine.reader import Reader
from wavestream.engine.schema import VOI_FUNCTIONS
from wavestream.engine.store import Store, open_store
from wavestream.engine.transform import Transform, TransformParameters
from wavestream.kernels import inject


def windowed_by_pydicom(stored: NDArray[Any], store: Store, index: int, window: Any = None) -> NDArray[np.float64]:
    """Rescale, window and inversion of one image by pydicom, in [0, 1]."""
    table = store.table
    function = VOI_FUNCTIONS[table["voi_function"][index]]
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored = 12
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.RescaleSlope = float(table["slope"][index])
    dataset.RescaleIntercept = float(table["intercept"][index])
    dataset.WindowCenter, dataset.WindowWidth = window or (table["window_center"][index], table["window_width"][index])
    # FULL_RANGE means that centre and width span the pixels, which is what LINEAR_EXACT does with them.
    dataset.VOILUTFunction = "LINEAR" if window else function.replace("FULL_RANGE", "LINEAR_EXACT")
    with np.errstate(over="ignore"):
        output = apply_windowing(apply_modality_lut(stored, dataset), dataset)
    ends = np.array([0, 4095]) - 2048 * dataset.PixelRepresentation
    black, white = ends * dataset.RescaleSlope + dataset.RescaleIntercept
    shown = (output - black) / (white - black)
    return 1 - shown if table["inverted"][index] else shown


def region_of(store: Store, index: int, roi: bool = True) -> tuple[slice, slice]:
    table = store.table
    if not roi:
        return slice(0, table["rows"][index]), slice(0, table["cols"][index])
    row, col = table["roi_row"][index], table["roi_col"][index]
    return slice(row, row + table["roi_rows"][index]), slice(col, col + table["roi_cols"][index])


def run(store: Store, transform: Transform, indices: Any, drawn: Any = None, **options: Any) -> NDArray[np.float32]:
    indices = np.asarray(indices)
    pipeline = Pipeline(store, transform, device_id=None, threads=2, **options)
    images = Reader(store, 1).read(indices)
    before = images.copy()
    output = np.array(pipeline.run(images, indices, drawn or transform.sample(0, 0, indices)))
    np.testing.assert_array_equal(images, before)
    assert output.shape == (len(indices), *transform.image_size, 1)
    assert output.dtype == np.float32
    return output[..., 0]


@pytest.mark.parametrize("roi", [True, False])
@pytest.mark.parametrize("window", [None, (300.0, 800.0), (1948.0, 1.0)])
def test_crop_and_window_equal_pydicom(tiny_store: Path, roi: bool, window: Any) -> None:
    store = open_store(tiny_store)
    for index in range(24):
        region = region_of(store, index, roi)
        whole = Reader(store, 1).read([index])[0]
        expected = windowed_by_pydicom(whole, store, index, window)[region]
        transform = Transform(expected.shape, roi=roi, window=window)
        found = run(store, transform, [index], normalise=False)[0]
        np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint16"])
def test_windows_at_the_edge_of_their_definition(write_store: Any, tmp_path: Path, dtype: str) -> None:
    """Narrow windows far from 0, width 1, LINEAR_EXACT below 1, windows outside the data; signed and unsigned."""
    limits = np.iinfo(dtype)
    high = min(limits.max, 2**24)
    image = np.linspace(max(limits.min, -high), high, 30 * 30).astype(dtype).reshape(30, 30)
    middle = float(image[20, 3])
    cases = [
        ("LINEAR", middle, 1.0, 1.0),
        ("LINEAR", middle + 0.5, 1.0, -1.0),
        ("LINEAR", middle, 2.0, 1.0),
        ("LINEAR", middle, 90.0, 1.0),
        ("LINEAR_EXACT", middle, 0.25, 1.0),
        ("LINEAR_EXACT", middle, 77.3, -3.0),
        ("LINEAR_EXACT", 1e7, 10.0, 1.0),
        ("LINEAR", -1e7, 10.0, 1.0),
        ("LINEAR", 1e9, 4e9, 0.5),
        ("SIGMOID", middle, 500.0, 1.0),
        ("SIGMOID", middle, 0.01, -1.0),
    ]
    for with_sigmoid in (False, True):
        chosen = [case for case in cases if with_sigmoid or case[0] != "SIGMOID"]
        function, center, width, slope = (np.array(column) for column in zip(*chosen, strict=True))
        path = write_store(
            tmp_path / f"{with_sigmoid}.zarr",
            [image] * len(chosen),
            voi_function=[VOI_FUNCTIONS.index(name) for name in function],
            window_center=center * slope,
            window_width=width,
            slope=slope,
            inverted=np.arange(len(chosen)) % 2,
        )
        store = open_store(path)
        found = run(store, Transform((30, 30)), range(len(chosen)), normalise=False)
        for index in range(len(chosen)):
            expected = windowed_by_pydicom(image, store, index)
            np.testing.assert_allclose(found[index], expected, atol=3e-6, err_msg=str(chosen[index]))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
def test_windows_with_integer_bounds_over_the_whole_dtype(write_store: Any, tmp_path: Path, dtype: str) -> None:
    """These are clipped in the stored dtype, where a difference of two values may not fit."""
    limits = np.iinfo(dtype)
    image = np.linspace(limits.min, limits.max, 900).astype(dtype).reshape(30, 30)
    image[0, :2] = limits.min, limits.max
    lowest, span = float(limits.min), float(limits.max) - float(limits.min)
    edges = [
        (0.0, 1.0),
        (0.25, 0.75),
        (0.9, 1.0),
        (0.0, 0.1),
        (0.5, 0.5),
        (0.99, 2.0),
        (-1.0, 0.5),
        (2.0, 3.0),
        (-2.0, -1.0),
    ]
    bounds = np.rint(lowest + span * np.array(edges))
    path = write_store(
        tmp_path / "s.zarr",
        [image] * len(edges),
        voi_function=VOI_FUNCTIONS.index("LINEAR"),
        window_center=bounds.mean(1) + 0.5,
        window_width=bounds[:, 1] - bounds[:, 0] + 1,
        inverted=np.arange(len(edges)) % 2,
    )
    store = open_store(path)
    found = run(store, Transform((30, 30)), range(len(edges)), normalise=False)
    assert Pipeline(store, Transform(), device_id=None, threads=1)._in_stored_dtype
    for index in range(len(edges)):
        np.testing.assert_allclose(
            found[index], windowed_by_pydicom(image, store, index), atol=3e-6, err_msg=str(index)
        )


def test_windows_without_width_or_slope(write_store: Any, tmp_path: Path) -> None:
    images = [np.full((9, 9), 7, np.uint16)] * 3
    full, linear = VOI_FUNCTIONS.index("FULL_RANGE"), VOI_FUNCTIONS.index("LINEAR")
    path = write_store(
        tmp_path / "s.zarr",
        images,
        voi_function=[full, linear, full],
        window_center=[7.0, 50.0, 3.0],
        window_width=[0.0, 101.0, 0.0],
        slope=[1.0, 0.0, 0.0],
        intercept=[0.0, 25.0, 5.0],
    )
    found = run(open_store(path), Transform((9, 9)), [0, 1, 2], normalise=False)
    # A constant image's full range is black; slope 0 makes every pixel the intercept: (25 - 49.5) / 100 + 0.5.
    for image, value in zip(found, (0.0, 0.255, 1.0), strict=True):
        np.testing.assert_allclose(image, value, atol=1e-6)


@pytest.mark.parametrize("size", [(24, 24), (17, 53), (100, 31), (1, 1), (64, 80)])
def test_resize_equals_pillow(tiny_store: Path, size: tuple[int, int]) -> None:
    store = open_store(tiny_store)
    indices = np.arange(12)
    found = run(store, Transform(size), indices, normalise=False)
    for slot, index in enumerate(indices):
        window = windowed_by_pydicom(Reader(store, 1).read([index])[0], store, index)[region_of(store, index)]
        # At the border DALI repeats the outermost pixels and Pillow leaves them out: hand Pillow a repeated border.
        rows, cols = window.shape
        padded = np.pad(window.astype(np.float32), ((rows, rows), (cols, cols)), mode="edge")
        picture = Image.fromarray(padded).resize((3 * size[1], 3 * size[0]), Image.Resampling.BILINEAR)
        expected = np.asarray(picture)[size[0] : 2 * size[0], size[1] : 2 * size[1]]
        np.testing.assert_allclose(found[slot], expected, atol=2e-5)


def test_normalisation(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    transform = Transform((20, 20), mean=0.3, std=0.7)
    plain = run(store, transform, [0, 1, 2], normalise=False)
    assert plain.min() >= -1e-6
    assert plain.max() <= 1 + 1e-6
    np.testing.assert_allclose(run(store, transform, [0, 1, 2]), (plain - 0.3) / 0.7, atol=1e-6)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_square_turns_and_flips_equal_numpy_exactly(tiny_store: Path, turns: int, flip: bool) -> None:
    store = open_store(tiny_store)
    still = run(store, Transform((23, 23)), [4, 8])
    drawn = TransformParameters(np.full(2, turns), np.full(2, flip))
    found = run(store, Transform((23, 23), rotate=True, flip=True), [4, 8], drawn)
    for image, expected in zip(found, still, strict=True):
        turned = np.rot90(expected, turns)
        np.testing.assert_array_equal(image, np.fliplr(turned) if flip else turned)


def test_non_square_turns_equal_numpy_of_the_sideways_resize(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    indices = np.arange(8)
    drawn = TransformParameters(np.arange(8) % 4, np.arange(8) >= 4)
    upright, sideways = run(store, Transform((18, 31)), indices), run(store, Transform((31, 18)), indices)
    found = run(store, Transform((18, 31), rotate=True, flip=True), indices, drawn)
    for slot in range(8):
        turned = np.rot90((sideways if slot % 2 else upright)[slot], slot % 4)
        np.testing.assert_array_equal(found[slot], np.fliplr(turned) if slot >= 4 else turned)


def test_a_batch_equals_its_elements_for_any_threads(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    transform = Transform((31, 27), rotate=True, flip=True)
    indices = np.random.default_rng(0).permutation(45)
    drawn = transform.sample(1, 1, indices)
    images = Reader(store, 1).read(indices)
    whole = np.array(Pipeline(store, transform, device_id=None, threads=1).run(images, indices, drawn))
    pipeline = Pipeline(store, transform, device_id=None, threads=4)
    for sizes in ((45,), (7, 1, 30, 7)):
        start = 0
        for size in sizes:
            part = slice(start, start + size)
            some = TransformParameters(drawn.quarter_turns[part], drawn.flip[part])
            found = np.array(pipeline.run(images[part], indices[part], some))
            np.testing.assert_array_equal(found, whole[part])
            start += size


def test_outputs_stay_while_the_pipeline_goes_on(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    transform = Transform((16, 16))
    pipeline = Pipeline(store, transform, device_id=None, threads=2)
    images = Reader(store, 1).read(range(45))
    outputs = [pipeline.run(images[[i]], np.array([i]), transform.sample(0, 0, [i])) for i in range(45)]
    del pipeline
    np.testing.assert_array_equal(
        np.stack([np.asarray(output)[0, ..., 0] for output in outputs]), run(store, transform, range(45))
    )


def test_the_kernel_within_the_graph_and_after_it_give_the_same_pixels(tiny_store: Path) -> None:
    store, transform = open_store(tiny_store), Transform((40, 48), rotate=True)
    artifacts = Artifacts(0.75, (0.01, 0.3), "input", "haar")
    options: dict[str, Any] = {"device_id": None, "threads": 2, "normalise": False}
    within = Pipeline(store, transform, injector=Injector(artifacts, store, 3, 2), **options)
    plain = Pipeline(store, transform, **options)
    for epoch, indices in enumerate([np.arange(12), np.array([40, 3]), np.arange(20, 33)]):
        images, drawn = Reader(store, 1).read(indices), transform.sample(0, 0, indices)
        keep = artifacts.draw(3, epoch, indices)
        after = np.array(plain.run(images, indices, drawn))[..., 0]
        found = np.array(within.run(images, indices, drawn, epoch))[..., 0]
        np.testing.assert_array_equal(found, inject(after, keep, "haar"))


def test_the_kernel_within_the_graph_compresses_stored_images_before_all_else(tiny_store: Path) -> None:
    store, transform, indices = open_store(tiny_store), Transform((40, 48), rotate=True), np.arange(12)
    artifacts = Artifacts(0.75, (0.01, 0.3))
    images, drawn = Reader(store, 1).read(indices), transform.sample(0, 0, indices)
    before = images.copy()
    within = Pipeline(store, transform, device_id=None, threads=2, injector=Injector(artifacts, store, 3, 2))
    found = np.array(within.run(images, indices, drawn, 7))
    np.testing.assert_array_equal(images, before)
    sizes = np.column_stack([store.table["rows"], store.table["cols"]])[indices]
    inject(images, artifacts.draw(3, 7, indices), "cdf53", sizes=sizes, value_range=(0, 4095), out=images)
    plain = Pipeline(store, transform, device_id=None, threads=2)
    np.testing.assert_array_equal(found, np.array(plain.run(images, indices, drawn)))


def test_an_image_that_cannot_be_compressed_within_the_graph_is_named(write_store: Any, tmp_path: Path) -> None:
    stored = [np.full((16, 16), value, np.int32) for value in (1, 2, 2**25, 4)]
    store = open_store(write_store(tmp_path / "s.zarr", stored, value_low=0, value_high=2**26))
    transform = Transform((8, 8))
    injector = Injector(Artifacts(1.0, 0.1, wavelet="haar"), store, 0, 1)
    pipeline = Pipeline(store, transform, device_id=None, threads=1, injector=injector)

    def run_one(*indices: int) -> Any:
        images = Reader(store, 1).read(indices)
        return np.array(pipeline.run(images, np.array(indices), transform.sample(0, 0, indices)))

    with pytest.raises(InputError, match=r"sample 1.*within the batch of images \[3, 2\]"):
        run_one(3, 2)
    assert np.isfinite(run_one(3, 1)).all()


def test_a_failed_batch_names_its_images_and_the_next_one_works(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    transform = Transform((16, 16))
    pipeline = Pipeline(store, transform, device_id=None, threads=2)
    images, indices, drawn = Reader(store, 1).read([3, 4]), np.array([3, 4]), transform.sample(0, 0, [3, 4])
    pipeline._regions.extent[3, 0] = 1000
    with pytest.raises(RuntimeError) as caught:
        pipeline.run(images, indices, drawn)
    assert "images [3, 4]" in caught.value.__notes__[0]
    pipeline._regions.extent[3, 0] = 20
    assert np.isfinite(np.array(pipeline.run(images, indices, drawn))).all()


def test_tables_that_make_no_sense_are_named(write_store: Any, tmp_path: Path) -> None:
    images = [np.ones((9, 9), np.uint16)] * 3
    for number, (column, message) in enumerate(
        [
            ({"roi_row": [0, 0, 2]}, r"image 2: its region \[2, 0, 9, 9\]"),
            ({"roi_cols": [9, 0, 9]}, r"image 1: its region \[0, 0, 9, 0\]"),
            ({"roi_col": [-1, 0, 0], "roi_cols": [5, 5, 5]}, "image 0: its region"),
            ({"rows": [9, 10, 9]}, "image 1"),
            ({"slope": [1.0, np.nan, 1.0]}, "image 1: its slope, intercept or window is not finite"),
            ({"window_width": [1.0, 1.0, np.inf]}, "image 2: its slope"),
        ]
    ):
        store = open_store(write_store(tmp_path / f"{number}.zarr", images, **column))
        if "rows" in column:
            column = {"roi": False}
        with pytest.raises(StoreError, match=message):
            Pipeline(store, Transform(roi=column.get("roi", True)), device_id=None, threads=1)


@pytest.mark.parametrize("domain", [None, "source", "input"])
def test_the_gpu_graph_is_the_same_graph(tiny_store: Path, domain: str | None) -> None:
    """Builds both graphs without a device: same operators in the same order, pixel work on the GPU."""
    if domain is not None:
        pytest.importorskip("cupy", reason="CuPy, which DALI's Python functions need on a GPU, is not installed")
    store = open_store(tiny_store)
    injector = None if domain is None else Injector(Artifacts(domain=domain), store, 0, 1)
    from nvidia.dali.pipeline import Pipeline as DaliPipeline

    def operators(device_id: int | None) -> list[tuple[str, str]]:
        pipeline = Pipeline(store, Transform(rotate=True), device_id=device_id, threads=1, injector=injector)
        dali = DaliPipeline(batch_size=2, num_threads=1, device_id=device_id)
        with dali:
            dali.set_outputs(pipeline._graph())
        dali._build_graph()
        found = [(type(op._op).__name__, op.outputs[0].device) for op in dali._ops]
        return [(name, device) for name, device in found if name not in ("ExternalSource", "_Copy", "Copy")]

    on_cpu, on_gpu = operators(None), operators(0)
    assert [name for name, _ in on_cpu] == [name for name, _ in on_gpu]
    assert {name for name, _ in on_cpu} >= {"Slice", "Resize", "WarpAffine", "_ArithmeticGenericOp"}
    python = [position for position, (name, _) in enumerate(on_cpu) if "Python" in name]
    assert len(python) == (domain is not None)
    if domain is not None:
        resize = [name for name, _ in on_cpu].index("Resize")
        assert (python[0] < resize) == (domain == "source")
    assert {device for _, device in on_cpu} == {"cpu"}
    assert {device for _, device in on_gpu} == {"gpu"}
