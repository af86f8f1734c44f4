"""Ingest as a whole: what ends up in the store, read back by zarr-python, and what is refused."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from PIL import Image
from pydicom import dcmread
from pydicom.uid import RLELossless

from wavestream.engine.errors import InputError
from wavestream.engine.ingest import IngestConfig, IngestSummary, ingest
from wavestream.engine.schema import SPLITS, TABLE, VOI_FUNCTIONS
from wavestream.engine.store import open_store
from wavestream.engine.verify import verify

MakeStudy = Callable[..., Path]
MakeDicom = Callable[..., Path]
MakeCsv = Callable[..., Path]
RANDOM = np.random.default_rng(11)


def run(source: Any, store: Path, labels: Path | None = None, **settings: Any) -> IngestSummary:
    settings.setdefault("workers", 1)
    return ingest(source, store, labels, config=IngestConfig(**settings), progress=False)


def read_table(store: Path) -> dict[str, np.ndarray]:
    group = zarr.open_group(store / "table", mode="r")
    return {name: np.asarray(group[name][...]) for name in TABLE}


@pytest.mark.parametrize("codec", ["layers", "zstd"])
def test_every_kind_of_file_is_stored_as_it_was(tmp_path: Path, make_dicom: MakeDicom, codec: str) -> None:
    data = tmp_path / "data"
    signed = RANDOM.integers(-1000, 3000, (12, 20), dtype=np.int16)
    frames = RANDOM.integers(0, 65536, (3, 8, 8), dtype=np.uint16)
    grey = RANDOM.integers(0, 256, (10, 6), dtype=np.uint8)
    colour = RANDOM.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    make_dicom(data / "a.dcm", signed, RescaleIntercept="-24", WindowCenter="40", WindowWidth="80", BitsStored=13)
    make_dicom(data / "b.dcm", frames, frames=True, syntax=RLELossless, PhotometricInterpretation="MONOCHROME1")
    np.save(data / "c.npy", grey.astype(np.int64))
    Image.fromarray(grey).save(data / "d.png")
    Image.fromarray(colour).save(data / "e.jpg", quality=95)
    (data / "f.txt").write_text("not an image")
    summary = run(data, tmp_path / "s.zarr", codec=codec, shard_images=2)

    images = np.asarray(zarr.open_array(tmp_path / "s.zarr/images", mode="r")[:])
    assert (images.shape, images.dtype) == ((7, 12, 20), np.int32)  # uint16 and negative values together
    table = read_table(tmp_path / "s.zarr")
    luma = np.asarray(Image.open(data / "e.jpg").convert("L"))
    for index, expected in enumerate([signed, *frames, grey, grey, luma]):
        rows, cols = expected.shape
        np.testing.assert_array_equal(images[index, :rows, :cols], expected)
        assert images[index].astype(bool).sum() == expected.astype(bool).sum()  # 0 around it
        assert (table["rows"][index], table["cols"][index]) == (rows, cols)
        stored = np.ascontiguousarray(expected.astype("<i4"))
        assert table["pixel_sha256"][index].tobytes() == hashlib.sha256(stored.data).digest()
    sources = [hashlib.sha256((data / name).read_bytes()).digest() for name in ("a.dcm", *["b.dcm"] * 3, "c.npy")]
    assert [value.tobytes() for value in table["source_sha256"][:5]] == sources
    assert table["bits_stored"].tolist() == [13, 16, 16, 16, 8, 8, 8]
    assert table["value_low"].tolist() == [-4096, 0, 0, 0, 0, 0, 0]
    assert table["value_high"].tolist() == [4095, 65535, 65535, 65535, 255, 255, 255]
    assert table["inverted"].tolist() == [0, 1, 1, 1, 0, 0, 0]
    assert table["intercept"].tolist() == [-24, 0, 0, 0, 0, 0, 0]
    assert table["series"].tolist() == [0, 1, 1, 1, 2, 3, 4]
    assert table["position"].tolist() == [0, 0, 1, 2, 0, 0, 0]
    assert [VOI_FUNCTIONS[code] for code in table["voi_function"]] == ["LINEAR", *["FULL_RANGE"] * 6]
    assert (table["window_center"][0], table["window_width"][0]) == (40, 80)
    for index in range(1, 7):
        pixels = images[index, : table["rows"][index], : table["cols"][index]]
        center, width = table["window_center"][index], table["window_width"][index]
        assert (center - width / 2, center + width / 2) == (pixels.min(), pixels.max())
    np.testing.assert_array_equal(table["roi_rows"], table["rows"])
    np.testing.assert_array_equal(table["roi_cols"], table["cols"])
    assert not table["roi_row"].any()

    assert (summary.stored, summary.files, summary.quarantined) == (7, 6, {"not an image file": 1})
    assert summary.notes == {"multi_frame": 3, "colour_converted": 1, "monochrome1": 3, "window_from_pixels": 6}
    assert "7 images from 5 of 6 files" in str(summary)
    assert verify(tmp_path / "s.zarr", progress=False).ok


def test_labels_split_and_patients(tmp_path: Path, make_study: MakeStudy, make_csv: MakeCsv) -> None:
    study = make_study(20)
    rows = [(f"{n}.dcm", f"patient {n % 10}", n % 2, 40 + n / 2, "" if n == 3 else "AP") for n in range(20)]
    labels = make_csv(["file", "patient_id", "finding", "age", "view"], *reversed(rows))
    run(study, tmp_path / "s.zarr", labels, stratify="finding", seed=3)

    store = zarr.open_group(tmp_path / "s.zarr", mode="r")
    order = sorted(range(20), key=lambda n: f"{n}.dcm")
    finding, age, view = (store[f"labels/{name}"] for name in ("finding", "age", "view"))
    assert sorted(store["labels"].array_keys()) == ["age", "finding", "view"]
    assert (finding.attrs["categories"], view.attrs["categories"]) == (["0", "1"], ["AP"])
    assert "categories" not in age.attrs
    assert finding[:].tolist() == [n % 2 for n in order]
    assert age[:].tolist() == [40 + n / 2 for n in order]
    assert view[:].tolist() == [-1 if n == 3 else 0 for n in order]
    assert (finding.dtype, age.dtype) == (np.int16, np.float64)

    table = read_table(tmp_path / "s.zarr")
    salt = bytes.fromhex((tmp_path / "s.zarr.manifest/salt").read_text())
    hashed = [hmac.new(salt, f"patient {n % 10}".encode(), "sha256").digest()[:8] for n in order]
    assert table["patient"].tolist() == [int.from_bytes(value, "big") for value in hashed]
    part_of = dict(zip(table["patient"].tolist(), table["split"].tolist(), strict=True))
    assert [part_of[patient] for patient in table["patient"].tolist()] == table["split"].tolist()
    header = open_store(tmp_path / "s.zarr").header
    assert header.split == {"method": "patient", "seed": 3, "fractions": [0.8, 0.1, 0.1], "stratify": "finding"}
    assert (header.count, header.canvas, header.dtype) == (20, (11, 7), "uint16")
    assert header.labels == ("age", "finding", "view")


def test_the_split_does_not_depend_on_the_salt(tmp_path: Path, make_study: MakeStudy) -> None:
    study = make_study(30)
    run(study, tmp_path / "a.zarr")
    run(study, tmp_path / "b.zarr")
    first, second = read_table(tmp_path / "a.zarr"), read_table(tmp_path / "b.zarr")
    np.testing.assert_array_equal(first["split"], second["split"])
    assert not np.isin(first["patient"], second["patient"]).any()


def test_a_stated_split_and_regions(tmp_path: Path, make_study: MakeStudy, make_csv: MakeCsv) -> None:
    study = make_study(4)
    columns = ["file", "part", "sex", "roi_row", "roi_col", "roi_rows", "roi_cols"]
    rows = [
        ("0.dcm", "train", "M", 1, 2, 3, 4),
        ("1.dcm", "validation", "F", "", "", "", ""),
        ("2.dcm", "TEST", "M", 0, 0, 11, 7),
        ("3.dcm", "", "F", "", "", "", ""),
    ]
    run(study, tmp_path / "s.zarr", make_csv(columns, *rows), split_column="part")
    table = read_table(tmp_path / "s.zarr")
    assert [SPLITS[code] for code in table["split"]] == ["train", "val", "test", "none"]
    regions = np.stack([table[name] for name in ("roi_row", "roi_col", "roi_rows", "roi_cols")], axis=1)
    assert regions.tolist() == [[1, 2, 3, 4], [0, 0, 10, 7], [0, 0, 11, 7], [0, 0, 9, 7]]
    store = open_store(tmp_path / "s.zarr")
    assert list(store.labels) == ["sex"]
    assert store.header.split == {"method": "column"}


def test_series_and_positions(tmp_path: Path, make_dicom: MakeDicom) -> None:
    pixels = np.zeros((4, 4), np.uint16)
    axial = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    for name, uid, number, height in [
        ("a", "1.2", 3, 0),
        ("b", "1.3", None, 5),
        ("c", "1.2", 1, 0),
        ("d", "1.3", None, -5),
    ]:
        facts: dict[str, Any] = {} if number is None else {"InstanceNumber": number}
        facts |= axial | {"ImagePositionPatient": [0, 0, height]}
        make_dicom(tmp_path / f"data/{name}.dcm", pixels, SeriesInstanceUID=uid, **facts)
    make_dicom(
        tmp_path / "data/e.dcm", np.zeros((2, 4, 4), np.uint16), frames=True, SeriesInstanceUID="1.2", InstanceNumber=2
    )
    run(tmp_path / "data", tmp_path / "s.zarr")
    table = read_table(tmp_path / "s.zarr")
    assert table["series"].tolist() == [0, 1, 0, 1, 0, 0]
    assert table["position"].tolist() == [3, 1, 0, 0, 1, 2]


def test_unlabelled_images(
    tmp_path: Path, make_study: MakeStudy, make_csv: MakeCsv, caplog: pytest.LogCaptureFixture
) -> None:
    study, labels = make_study(12), make_csv(["file", "sex"], ["0.dcm", "M"], ["7.dcm", "F"])
    with pytest.raises(
        InputError, match=r"10 images have no row in the label file: 1.dcm, 10.dcm, 11.dcm, 2.dcm, .*'keep'"
    ):
        run(study, tmp_path / "s.zarr", labels)
    assert not (tmp_path / "s.zarr").exists()
    assert not (tmp_path / "s.zarr.manifest").exists()
    with caplog.at_level(logging.WARNING, logger="wavestream"):
        kept = run(study, tmp_path / "keep.zarr", labels, unlabelled="keep")
    assert (kept.stored, sorted(open_store(tmp_path / "keep.zarr").labels["sex"])) == (12, [-1] * 10 + [0, 1])
    assert "10 images have no row in the label file and are stored without labels" in caplog.text
    assert kept.messages[0] in caplog.text
    skipped = run(study, tmp_path / "skip.zarr", labels, unlabelled="skip")
    assert (skipped.stored, skipped.quarantined) == (2, {"no row in the label file": 10})


def test_a_broken_file_with_a_row_is_quarantined(tmp_path: Path, make_study: MakeStudy, make_csv: MakeCsv) -> None:
    study = make_study(3)
    content = (study / "1.dcm").read_bytes()
    (study / "1.dcm").write_bytes(content[:-20])
    summary = run(study, tmp_path / "s.zarr", make_csv(["file", "sex"], *([f"{n}.dcm", "MFM"[n]] for n in range(3))))
    assert (summary.stored, summary.quarantined) == (2, {"truncated": 1})
    listed = (tmp_path / "s.zarr.manifest/quarantine.csv").read_text().splitlines()
    assert listed[0] == "path,reason,detail"
    assert listed[1].startswith(f"{study / '1.dcm'},truncated,")
    inputs = (tmp_path / "s.zarr.manifest/inputs.csv").read_text().splitlines()
    assert inputs == ["index,frame,path", f"0,0,{study / '0.dcm'}", f"1,0,{study / '2.dcm'}"]
    assert open_store(tmp_path / "s.zarr").target("sex")[0].tolist() == [1, 1]


def test_nothing_to_store_is_an_error_that_counts_the_reasons(tmp_path: Path, make_study: MakeStudy) -> None:
    study = make_study(2)
    for number in range(2):
        (study / f"{number}.dcm").write_bytes((study / f"{number}.dcm").read_bytes()[:-20])
    (study / "x.txt").write_text("text")
    with pytest.raises(InputError, match="none of the 3 files can be stored: 2 truncated, 1 not an image file"):
        run(study, tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr.manifest").exists()


def test_nothing_that_decodes_is_the_same_error(tmp_path: Path, make_dicom: MakeDicom) -> None:
    path = make_dicom(tmp_path / "data/a.dcm", RANDOM.integers(0, 9, (64, 64), np.uint8), syntax=RLELossless)
    content = bytearray(path.read_bytes())
    start = content.index(b"\xe0\x7f\x10\x00")
    content[start + 100 : -8] = b"\x81" * (len(content) - 8 - start - 100)
    path.write_bytes(content)
    with pytest.raises(InputError, match="none of the 1 files can be stored: 1 decoder refused the data"):
        run(tmp_path / "data", tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize(
    ("header", "row", "settings", "message"),
    [
        (["file", "sex"], ["9.dcm", "M"], {}, r"line 3: 1 rows name files .*'9.dcm'"),
        (["file", "patient_id"], ["1.dcm", ""], {}, r"line 3: no patient in column 'patient_id'"),
        (
            ["file", "part"],
            ["1.dcm", "holdout"],
            {"split_column": "part"},
            r"line 3: expected train, val or test .*'holdout'",
        ),
        (["file", "sex"], ["1.dcm", "M"], {"stratify": "age"}, "no stratify column 'age'"),
        (["file", "age"], ["1.dcm", "1.5"], {"stratify": "age"}, "it holds numbers, not categories"),
        (["file", "sex"], ["1.dcm", "M"], {"patient_column": "who"}, "no patient column 'who'"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    tmp_path: Path,
    make_study: MakeStudy,
    make_csv: MakeCsv,
    header: list[str],
    row: list[str],
    settings: dict[str, str],
    message: str,
) -> None:
    labels = make_csv(header, ["0.dcm", {"part": "train", "age": "2.5"}.get(header[1], "M")], row)
    with pytest.raises(InputError, match=message):
        run(make_study(2), tmp_path / "s.zarr", labels, **settings)


def test_a_patient_in_two_stated_splits_is_refused(tmp_path: Path, make_study: MakeStudy, make_csv: MakeCsv) -> None:
    rows = [("0.dcm", "p", "train"), ("1.dcm", "q", "test"), ("2.dcm", "p", "test")]
    labels = make_csv(["file", "patient_id", "part"], *rows)
    with pytest.raises(InputError, match=r"lines 2, 4: one patient is in train and test"):
        run(make_study(3), tmp_path / "s.zarr", labels, split_column="part")


def test_settings_without_a_label_file_are_refused(tmp_path: Path, make_study: MakeStudy) -> None:
    study = make_study(1)
    for settings in ({"split_column": "x"}, {"stratify": "x"}, {"label_columns": ["x"]}, {"patient_column": "x"}):
        with pytest.raises(InputError, match="but no label file"):
            run(study, tmp_path / "s.zarr", **settings)


def test_images_of_one_class_are_pointed_out(tmp_path: Path, make_study: MakeStudy, make_csv: MakeCsv) -> None:
    labels = make_csv(["file", "sex"], *([f"{n}.dcm", "M"] for n in range(3)))
    messages = run(make_study(3), tmp_path / "s.zarr", labels).messages
    assert messages == ("label column 'sex' has only one class among the images: nothing to learn there",)


def test_files_without_patient_are_pointed_out(tmp_path: Path, make_study: MakeStudy) -> None:
    summary = run(make_study(3, PatientID=""), tmp_path / "s.zarr")
    assert "3 files have no patient ID: each counts as its own patient" in summary.messages[0]
    assert len(set(read_table(tmp_path / "s.zarr")["patient"].tolist())) == 3


def test_one_patient_for_all_files_is_pointed_out(tmp_path: Path, make_study: MakeStudy) -> None:
    summary = run(make_study(3, PatientID="ANONYMOUS"), tmp_path / "s.zarr")
    assert "all 3 files have the same patient ID" in summary.messages[0]
    assert summary.splits == {"train": 3}


def test_a_canvas_beyond_the_limits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data/tall.npy", np.zeros((60000, 2), np.uint8))
    np.save(tmp_path / "data/wide.npy", np.zeros((2, 60000), np.uint8))
    with pytest.raises(InputError, match=r"60000 x 60000 because of tall.npy .* and wide.npy"):
        run(tmp_path / "data", tmp_path / "s.zarr")


@pytest.mark.parametrize(
    "settings",
    [{"unlabelled": "drop"}, {"shard_images": 0}, {"workers": 0}, {"label_columns": "sex"}, {"fractions": (1, 1, 1)}],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(settings))}: expected"):
        IngestConfig(**settings)


def test_real_chest_radiographs(tmp_path: Path, medical_data: Path, make_csv: MakeCsv) -> None:
    names = sorted((medical_data / "nih_cxr/dicom").iterdir())[::40]
    links = tmp_path / "links"
    links.mkdir()
    for name in names:
        (links / name.name).symlink_to(name)
    with (medical_data / "nih_cxr/labels.csv").open() as file:
        header, *lines = (line.rstrip("\n").split(",") for line in file)
    kept = [line for line in lines if line[0].removeprefix("dicom/") in {name.name for name in names}]
    labels = make_csv(header, *([line[0].removeprefix("dicom/"), *line[1:]] for line in kept))
    summary = run(links, tmp_path / "s.zarr", labels, workers=2, shard_images=8)
    images = zarr.open_array(tmp_path / "s.zarr/images", mode="r")
    table = read_table(tmp_path / "s.zarr")
    assert summary.stored == len(names) == 19
    for index, name in enumerate(names):
        dataset = dcmread(name)
        expected = dataset.pixel_array
        np.testing.assert_array_equal(images[index, : expected.shape[0], : expected.shape[1]], expected)
        assert table["inverted"][index] == (dataset.PhotometricInterpretation == "MONOCHROME1")
        assert table["window_center"][index] == dataset.WindowCenter
    codes, categories = open_store(tmp_path / "s.zarr").target("sex")
    assert [categories[code] for code in codes] == [
        dict(zip(header, line, strict=True))["sex"] for line in sorted(kept)
    ]
