"""export to stores, PNG and NPY: against zarr-python, imagecodecs and NumPy; resuming; foreign folders."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import zarr

import wavestream as ws
from wavestream.engine import durable, export_files, export_zarr
from wavestream.engine.errors import InputError, StoreError
from wavestream.engine.export import FORMATS, export
from wavestream.engine.export_source import scaled_table
from wavestream.engine.layers import decode_image, encode_image
from wavestream.engine.lock import exclusive
from wavestream.engine.schema import FORMAT_VERSION, SPLITS, TABLE
from wavestream.engine.store import Store, open_store
from wavestream.engine.verify import verify
from wavestream.kernels.reference import forward_reference, inject_reference

Export = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path) -> Export:
    """A function that exports quietly into a folder ``out`` and returns it."""

    def export_there(store: Path, form: str, name: str = "out", **options: Any) -> Path:
        export(store, tmp_path / name, format=form, progress=False, **options)  # type: ignore[arg-type]
        return tmp_path / name

    return export_there


@pytest.fixture
def signed_store(write_store: Any, tmp_path: Path) -> Path:
    """Three signed images of hostile sizes, of 12, 16 and 12 bits; labels with gaps and a name that we use too.

    The last one has its extreme values only, so that its artifacts must be clipped.
    """
    random = np.random.default_rng(3)
    images = [
        random.integers(low, high, shape).astype(np.int16)
        for low, high, shape in ((-2048, 2048, (1, 1)), (-32768, 32768, (3, 41)))
    ]
    images.append(random.choice(np.array([-2048, 2047], np.int16), (29, 31)))
    labels = {
        "sex": ([1, -1, 0], ("F", "Ä, \"q\"")),
        "age": ([63.0, np.nan, 0.1], None),
        "rows": ([0, 1, 0], ("few", "many")),
    }  # fmt: skip
    return Path(
        write_store(
            tmp_path / "signed.zarr",
            images,
            labels=labels,
            shard_images=2,
            bits_stored=[12, 16, 12],
            value_low=[-2048, -32768, -2048],
            value_high=[2047, 32767, 2047],
            patient=np.array([1, 2**64 - 1, 3], np.uint64),
            split=[0, 1, 3],
        )
    )


def images_of(path: Path) -> list[np.ndarray]:
    """The images of a zstd store, by zarr-python."""
    root = zarr.open_group(path, mode="r")
    sizes = zip(root["table/rows"][...], root["table/cols"][...], strict=True)
    return [canvas[:rows, :cols] for canvas, (rows, cols) in zip(root["images"][...], sizes, strict=True)]


def artifact(store: Store, index: int, image: np.ndarray, keep: float) -> np.ndarray:
    """What is expected of a lossy export: the reference, in the value range of the image."""
    low, high = (int(store.table[name][index]) for name in ("value_low", "value_high"))
    return np.asarray(inject_reference(image, keep, "cdf53", value_range=(low, high)))


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_store_is_exported_with_all_that_belongs_to_it(tiny_store: Path, run: Export) -> None:
    out = run(tiny_store, "zarr-zstd")
    before, after = open_store(tiny_store), open_store(out)
    assert (after.header.codec, after.header.format) == ("zstd", FORMAT_VERSION)
    assert after.header.written_by == ws.__version__
    assert (after.header.count, after.header.canvas, after.header.shard_images) == (45, (64, 80), 8)
    np.testing.assert_array_equal(zarr.open_array(out / "images")[...], zarr.open_array(tiny_store / "images")[...])
    for name in TABLE:
        np.testing.assert_array_equal(after.table[name], before.table[name], err_msg=name)
    np.testing.assert_array_equal(after.labels["sex"], before.labels["sex"])
    assert after.categories("sex") == ("F", "M")
    assert not verify(out, progress=False).damaged
    loader = ws.DataLoader(out, split="train", batch_size=9, target="sex", transform=ws.Transform((32, 32)), threads=1)
    assert sum(len(images) for images, _ in loader) == 27


@pytest.mark.parametrize("codec", ["zstd", "layers"])
@pytest.mark.parametrize("keep", [0.3, 0.01])
def test_a_lossy_store_holds_artifacts_and_their_hashes(
    tiny_store: Path, layered_store: Path, run: Export, keep: float, codec: str
) -> None:
    out = run({"zstd": tiny_store, "layers": layered_store}[codec], "zarr-zstd", keep=keep, jobs=3)
    before, found = open_store(tiny_store), images_of(out)
    for index, image in enumerate(images_of(tiny_store)):
        np.testing.assert_array_equal(found[index], artifact(before, index, image, keep))
    digests = [hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in found]
    assert [value.tobytes() for value in open_store(out).table["pixel_sha256"]] == digests
    assert not verify(out, progress=False).damaged


def test_a_layered_store_is_exported_with_the_codec_zstd(tiny_store: Path, layered_store: Path, run: Export) -> None:
    plain, layered = run(tiny_store, "zarr-zstd", "plain"), run(layered_store, "zarr-zstd", "layered")
    header = open_store(layered).header
    assert (header.codec, header.layers, header.labels) == ("zstd", (), ("sex",))
    files = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (plain, layered)
    ]
    for contents in files:
        del contents[Path("zarr.json")]  # names the source
    assert files[0] == files[1]


@pytest.mark.parametrize("resolution", ["1/2", "1/4", "1/8"])
def test_a_reduced_resolution_is_the_low_pass(
    tiny_store: Path, layered_store: Path, run: Export, resolution: str
) -> None:
    reduction = {"1/2": 1, "1/4": 2, "1/8": 3}[resolution]
    out, npy = (run(layered_store, form, form, resolution=resolution) for form in ("zarr-zstd", "npy"))
    store, found = open_store(out), images_of(out)
    scale = 2**reduction
    assert store.header.canvas == (-(-64 // scale), -(-80 // scale))
    for index, image in enumerate(images_of(tiny_store)):
        shape = tuple(-(-side // scale) for side in image.shape)
        low_pass = forward_reference(image, "cdf53", reduction)[: shape[0] * shape[1]].reshape(shape)
        np.testing.assert_array_equal(found[index], np.clip(low_pass, 0, 4095))
        np.testing.assert_array_equal(np.load(npy / rows_of(npy)[index]["file"]), found[index])
    assert not verify(out, progress=False).damaged
    assert (store.table["roi_row"] + store.table["roi_rows"] <= store.table["rows"]).all()
    assert [int(row["rows"]) for row in rows_of(npy)] == store.table["rows"].tolist()
    assert [int(row["roi_col"]) for row in rows_of(npy)] == store.table["roi_col"].tolist()


def test_keep_and_resolution_together_are_what_the_codec_decodes(
    tiny_store: Path, layered_store: Path, run: Export
) -> None:
    out = run(layered_store, "png", keep=0.01, resolution="1/2")
    for index, image in enumerate(images_of(tiny_store)):
        expected = decode_image(encode_image(image, (0, 4095)), 0.01, 1)
        shown = imagecodecs.png_decode((out / "images" / f"{index:06d}.png").read_bytes())
        np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize("keep", [1.0, 0.1])
def test_npy_and_png_hold_the_stored_integers(signed_store: Path, run: Export, keep: float) -> None:
    store = open_store(signed_store)
    png, npy = run(signed_store, "png", "png", keep=keep), run(signed_store, "npy", "npy", keep=keep)
    for index, image in enumerate(images_of(signed_store)):
        expected = artifact(store, index, image, keep)
        array = np.load(npy / "images" / f"{index:06d}.npy")
        assert array.dtype == np.dtype("<i2")
        np.testing.assert_array_equal(array, expected)
        shown = imagecodecs.png_decode((png / rows_of(png)[index]["file"]).read_bytes())
        assert shown.dtype == np.uint16
        np.testing.assert_array_equal(shown.astype(np.int64) + int(rows_of(png)[index]["offset"]), expected)
    assert {row["offset"] for row in rows_of(png)} == {"-32768"}
    assert {row["offset"] for row in rows_of(npy)} == {"0"}


def test_png_uses_8_bits_where_they_suffice_and_own_offsets_where_16_do_not(
    write_store: Any, tmp_path: Path, run: Export
) -> None:
    pixels = [np.array([[0, 255]], np.int32), np.array([[-128, 127]], np.int32), np.array([[0, 65535]], np.int32)]
    limits = {"value_low": [0, -128, 0], "value_high": [255, 127, 65535]}
    out = run(write_store(tmp_path / "s.zarr", pixels, **limits), "png")
    found = [imagecodecs.png_decode((out / row["file"]).read_bytes()) for row in rows_of(out)]
    assert [image.dtype for image in found] == [np.uint8, np.uint8, np.uint16]
    assert [image.tolist() for image in found] == [[[0, 255]], [[0, 255]], [[0, 65535]]]
    assert [row["offset"] for row in rows_of(out)] == ["0", "-128", "0"]
    wide = write_store(tmp_path / "wide.zarr", pixels[:1], value_low=-1, value_high=65535)
    for form in ("png", "dicom-j2k"):
        with pytest.raises(StoreError, match=r"image 0: its values may range from -1 to 65535.*npy"):
            run(wide, form, form)


def test_the_table_says_what_the_store_says(signed_store: Path, run: Export) -> None:
    out = run(signed_store, "npy")
    store, rows = open_store(signed_store), rows_of(out)
    assert [row["file"] for row in rows] == [f"images/00000{index}.npy" for index in range(3)]
    assert [row["sex"] for row in rows] == ['Ä, "q"', "", "F"]
    assert [row["age"] for row in rows] == ["63", "", "0.1"]
    assert [row["label_rows"] for row in rows] == ["few", "many", "few"]
    assert [row["rows"] for row in rows] == ["1", "3", "29"]
    assert [row["split"] for row in rows] == [SPLITS[code] for code in (0, 1, 3)]
    assert [row["patient"] for row in rows] == ["0000000000000001", "f" * 16, "0000000000000003"]
    for name in ("slope", "intercept", "window_center", "window_width", "bits_stored", "roi_rows", "value_low"):
        assert [float(row[name]) for row in rows] == store.table[name].tolist(), name


def test_an_export_is_taken_by_ingest_with_its_table(write_store: Any, tmp_path: Path, run: Export) -> None:
    random = np.random.default_rng(1)
    images = [random.integers(0, 65536, (9 + index, 12)).astype(np.uint16) for index in range(6)]
    split = np.array([0, 0, 1, 1, 2, 2])
    facts = {
        "patient": split,
        "split": split,
        "roi_row": 2,
        "roi_rows": 5,
        "roi_col": [0, 1, 2, 3, 4, 5],
        "roi_cols": 7,
    }
    labels = {"sex": ([0, 1, -1, 1, 0, 0], ("F", "M"))}
    store = write_store(tmp_path / "s.zarr", images, labels=labels, **facts)
    for form in ("npy", "png", "dicom-j2k"):
        out = run(store, form, form)
        config = ws.IngestConfig(split_column="split", label_columns=["sex"], workers=1)
        ws.ingest(out / "images", tmp_path / f"{form}.zarr", out / "table.csv", config=config, progress=False)
        before, after = open_store(store), open_store(tmp_path / f"{form}.zarr")
        for name in ("rows", "cols", "roi_row", "roi_col", "roi_rows", "roi_cols", "split", "pixel_sha256"):
            np.testing.assert_array_equal(after.table[name], before.table[name], err_msg=name)
        np.testing.assert_array_equal(after.labels["sex"], before.labels["sex"])
        assert [index for index in range(6) if after.table["patient"][index] == after.table["patient"][0]] == [0, 1]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("keep", [1.0, 0.1])
def test_a_stopped_export_goes_on_and_ends_with_the_same_bytes(
    tiny_store: Path, run: Export, monkeypatch: pytest.MonkeyPatch, form: str, keep: float
) -> None:
    whole = run(tiny_store, form, "whole", keep=keep)
    calls = []

    def failing(path: Path, content: bytes) -> None:
        calls.append(path)
        if len(calls) > 20:
            path.with_name(path.name + ".partial").write_bytes(content[:5])
            raise OSError("no space left on device")
        durable.write_durably(path, content)

    def failing_shard(path: Path, capacity: int) -> Any:
        calls.append(path)
        if len(calls) > 3:
            raise OSError("no space left on device")
        return durable_shard(path, capacity)

    durable_shard = export_zarr.ShardWriter
    with monkeypatch.context() as patch:
        patch.setattr(export_files, "write_durably", failing)
        patch.setattr(export_zarr, "ShardWriter", failing_shard)
        with pytest.raises(StoreError, match="no space left on device: export again"):
            run(tiny_store, form, "stopped", keep=keep, jobs=1)
    stopped = whole.with_name("stopped")
    pattern = "c/*/0/0" if form == "zarr-zstd" else "*[0-9].*"
    kept = [path for path in (stopped / "images").glob(pattern) if path.suffix != ".partial"]
    assert len(kept) == (3 if form == "zarr-zstd" else 20)
    stamps = {path: path.stat().st_mtime_ns for path in kept}
    again = export(tiny_store, stopped, format=form, keep=keep, progress=False)  # type: ignore[arg-type]
    assert again.written == (45 - 24 if form == "zarr-zstd" else 25)
    assert {path: path.stat().st_mtime_ns for path in kept} == stamps
    contents = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (whole, stopped)
    ]
    assert contents[0] == contents[1]
    assert again.bytes == sum(map(len, contents[1].values()))
    finished = export(tiny_store, stopped, format=form, keep=keep, progress=False)  # type: ignore[arg-type]
    assert finished.written == 0
    assert not list(whole.parent.glob("*.lock"))


@pytest.mark.parametrize("form", FORMATS)
def test_folders_with_something_else_are_refused(tiny_store: Path, tmp_path: Path, run: Export, form: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match=r"something else in it \(thesis\.txt\)"):
        run(tiny_store, form, "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        run(tiny_store, form, "file")
    for inside in (tiny_store, tiny_store / "images" / "out", tiny_store.parent):
        with pytest.raises(InputError, match="is the store, lies in it, or holds it"):
            export(tiny_store, inside, format=form, progress=False)  # type: ignore[arg-type]


def test_another_export_in_the_folder_is_named(tiny_store: Path, signed_store: Path, run: Export) -> None:
    run(tiny_store, "npy")
    for store, form, keep, changed in (
        (tiny_store, "npy", 0.5, "keep"),
        (tiny_store, "png", 1.0, "format"),
        (tiny_store, "zarr-zstd", 1.0, "format"),
        (signed_store, "npy", 1.0, "images, source"),
    ):
        with pytest.raises(InputError, match=f"another export; changed: {changed}\\."):
            run(store, form, keep=keep)
    run(tiny_store, "zarr-zstd", "store")
    with pytest.raises(InputError, match="another export; changed: keep"):
        run(tiny_store, "zarr-zstd", "store", keep=0.1)


def test_the_same_images_with_another_table_are_another_source(write_store: Any, tmp_path: Path, run: Export) -> None:
    images = [np.ones((4, 5), np.uint8)]
    facts = ({}, {"slope": 2.0}, {"labels": {"sex": ([0], ("F", "M"))}}, {"labels": {"sex": ([0], ("M", "F"))}})
    stores = [write_store(tmp_path / f"{number}.zarr", images, **given) for number, given in enumerate(facts)]
    for store in stores:
        out = run(store, "npy", f"of {store.name}")
        for other in stores:
            if other != store:
                with pytest.raises(InputError, match="changed: source"):
                    run(other, "npy", out.name)


def test_a_remote_store_is_exported_like_a_local_one(layered_store: Path, run: Export, tmp_path: Path) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.put(str(layered_store), "/bucket/tiny.zarr", recursive=True)
    local, remote = run(layered_store, "npy", "local", keep=0.1), tmp_path / "remote"
    export("memory://bucket/tiny.zarr", remote, format="npy", keep=0.1, progress=False)
    names = sorted(path.relative_to(local) for path in local.rglob("*") if path.is_file())
    assert len(names) == 47
    assert all((local / name).read_bytes() == (remote / name).read_bytes() for name in names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "jpeg"}, "zarr-zstd, png, npy, dicom-j2k, got 'jpeg'"),
        ({"keep": 0.0}, r"keep: expected a fraction in \(0, 1\], got 0.0"),
        ({"keep": float("nan")}, "keep: expected"),
        ({"resolution": "1/3"}, "full, 1/2, 1/4, 1/8, got '1/3'"),
        ({"resolution": "1/2"}, "whole images .zstd.*ingest again with the layers codec"),
        ({"jobs": 0}, "jobs: expected at least 1"),
    ],
)
def test_arguments_out_of_range(tiny_store: Path, run: Export, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(tiny_store, **{"form": "npy", **options})


def test_a_damaged_image_is_named(tiny_store: Path, tmp_path: Path, run: Export) -> None:
    import shutil

    broken = Path(shutil.copytree(tiny_store, tmp_path / "broken.zarr"))
    shard = broken / "images" / "c" / "1" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[:16] = bytes(16)
    shard.write_bytes(content)
    with pytest.raises(StoreError, match="image 8 "):
        run(broken, "npy")


def test_a_folder_that_cannot_be_written_is_named(tiny_store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"file/below/out: .*: export again when that is solved"):
        export(tiny_store, tmp_path / "file" / "below" / "out", format="npy", progress=False)


def test_two_exports_into_one_folder_are_refused(tiny_store: Path, tmp_path: Path) -> None:
    with exclusive(tmp_path / "out.lock", "x"), pytest.raises(InputError, match="out is in use by another run"):
        export(tiny_store, tmp_path / "out", format="npy", progress=False)


def test_an_interrupted_store_is_no_store_yet(tiny_store: Path, run: Export) -> None:
    out = run(tiny_store, "zarr-zstd")
    metadata = json.loads((out / "zarr.json").read_text())
    assert metadata["attributes"]["wavestream_export"]["keep"] == 1
    del metadata["attributes"]["wavestream"]
    (out / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(StoreError, match="its export did not finish: run the same export again"):
        open_store(out)
    run(tiny_store, "zarr-zstd")
    assert len(open_store(out)) == 45


def test_regions_are_scaled_to_what_they_touch() -> None:
    table = {name: np.array(values, np.int32) for name, values in {
        "rows": [9, 1, 16], "cols": [8, 1, 3], "roi_row": [3, 0, 0], "roi_rows": [2, 1, 16],
        "roi_col": [7, 0, 1], "roi_cols": [1, 1, 1],
    }.items()}  # fmt: skip
    for reduction in (1, 2, 3):
        scaled = scaled_table(table, reduction)
        for size, first, extent in (("rows", "roi_row", "roi_rows"), ("cols", "roi_col", "roi_cols")):
            np.testing.assert_array_equal(scaled[size], np.ceil(table[size] / 2**reduction))
            touched = [
                {pixel // 2**reduction for pixel in range(start, start + count)}
                for start, count in zip(table[first], table[extent], strict=True)
            ]
            assert scaled[first].tolist() == [min(samples) for samples in touched]
            assert scaled[extent].tolist() == [len(samples) for samples in touched]
            assert (scaled[first] + scaled[extent] <= scaled[size]).all()
    assert scaled_table(table, 0) is table
