"""The phantom set: pydicom reads every file that is not broken, and what it says is what was drawn."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError

from wavestream.engine.errors import InputError
from wavestream.trainers.anatomy import draw_body, draw_chest
from wavestream.trainers.phantom import draw_phantom, encode_phantom, plan_phantoms, write_phantoms
from wavestream.trainers.phantom_dicom import DAMAGES, SYNTAXES

COUNT, BROKEN, SIZE = 40, 5, (64, 96)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("phantoms"), COUNT, seed=3, broken=BROKEN, size=SIZE, progress=False)


def read_rows(labels: Path) -> list[dict[str, str]]:
    with labels.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_pixels(path: Path) -> tuple[pydicom.Dataset, np.ndarray]:
    """By pydicom; JPEG Lossless, for which it has no plugin here, by libjpeg-turbo."""
    dataset = pydicom.dcmread(path)
    if dataset.file_meta.TransferSyntaxUID == uid.JPEGLosslessSV1:
        (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
        return dataset, imagecodecs.jpeg8_decode(frame)
    return dataset, dataset.pixel_array


def broken_files(labels: Path) -> list[Path]:
    slots = {int((number + 0.5) * COUNT / BROKEN) for number in range(BROKEN)}
    return [labels.parent / row["file"] for index, row in enumerate(read_rows(labels)) if index in slots]


def test_every_file_that_is_not_broken_reads(labels: Path) -> None:
    broken = set(broken_files(labels))
    seen: Counter[str] = Counter()
    for row in read_rows(labels):
        path = labels.parent / row["file"]
        if path in broken:
            continue
        dataset, pixels = read_pixels(path)
        assert pixels.shape == (dataset.Rows, dataset.Columns)
        assert SIZE[0] <= min(pixels.shape)
        assert max(pixels.shape) <= SIZE[1]
        assert pixels.max() < 2**dataset.BitsStored
        assert pixels.max() - pixels.min() > 2 ** (dataset.BitsStored - 1)
        inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
        shown = 2**dataset.BitsStored - 1 - pixels.astype(int) if inverted else pixels
        spine, air = shown[:, shown.shape[1] // 2], shown[4:8, 3:6]
        assert spine.mean() > 2 * air.mean()
        assert (dataset.PatientID, dataset.PatientSex) == (row["patient_id"], row["sex"])
        assert dataset.PatientAge == f"{int(row['age']):03d}Y"
        seen.update([dataset.file_meta.TransferSyntaxUID, dataset.PhotometricInterpretation])
        seen.update([f"window {'WindowCenter' in dataset}", f"bits {dataset.BitsStored}"])
    assert sum(seen[syntax] for syntax in SYNTAXES) == COUNT - BROKEN
    assert all(seen[syntax] for syntax in SYNTAXES)
    assert all(
        seen[kind] for kind in ("MONOCHROME1", "MONOCHROME2", "window True", "window False", "bits 12", "bits 16")
    )


def test_each_broken_file_fails_in_its_own_way(labels: Path) -> None:
    truncated, flipped, text, empty, huge = broken_files(labels)
    for path in (truncated, flipped):
        with pytest.raises((ValueError, RuntimeError)):
            _ = pydicom.dcmread(path).pixel_array
    with pytest.raises(InvalidDicomError):
        pydicom.dcmread(text)
    assert "PixelData" not in pydicom.dcmread(empty)
    dataset = pydicom.dcmread(huge)
    assert (dataset.Rows, dataset.Columns) == (60000, 60000)
    assert huge.stat().st_size < 100_000
    assert len(DAMAGES) == BROKEN


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_the_pixels_come_back_in_every_transfer_syntax(syntax: uid.UID, tmp_path: Path) -> None:
    phantom = next(p for p in plan_phantoms(COUNT, 3) if SYNTAXES[p.index % len(SYNTAXES)] == syntax)
    (tmp_path / "one.dcm").write_bytes(encode_phantom(phantom, 3, SIZE))
    dataset, pixels = read_pixels(tmp_path / "one.dcm")
    assert dataset.file_meta.TransferSyntaxUID == syntax

    drawn, form = draw_phantom(phantom, 3, SIZE, syntax)
    assert dataset.BitsStored == form.bits_stored
    assert (dataset.PhotometricInterpretation == "MONOCHROME1") == form.inverted
    assert dataset.get("VOILUTFunction") == ("SIGMOID" if form.window == "sigmoid" else None)
    np.testing.assert_array_equal(pixels, drawn)


def test_the_same_seed_gives_the_same_bytes(labels: Path, tmp_path: Path) -> None:
    again = write_phantoms(tmp_path, COUNT, seed=3, broken=BROKEN, size=SIZE, progress=False)
    other = plan_phantoms(COUNT, 4)
    assert again.read_bytes() == labels.read_bytes()
    for row in read_rows(labels):
        assert (tmp_path / row["file"]).read_bytes() == (labels.parent / row["file"]).read_bytes()
    assert other != plan_phantoms(COUNT, 3)
    identifiers = [pydicom.dcmread(path, force=True).get("SOPInstanceUID") for path in (tmp_path / "dicom").iterdir()]
    identifiers = [identifier for identifier in identifiers if identifier]
    assert len(identifiers) == len(set(identifiers)) == COUNT - 1


def test_labels_are_balanced_and_belong_to_patients(labels: Path) -> None:
    rows = read_rows(labels)
    assert len(rows) == COUNT
    assert list(rows[0]) == ["file", "patient_id", "nodule", "age", "sex"]
    by_patient: dict[str, set[str]] = {}
    for row in rows:
        by_patient.setdefault(row["patient_id"], set()).add(row["nodule"])
    assert all(len(values) == 1 for values in by_patient.values())
    assert 1 < COUNT / len(by_patient) < 3
    assert 0.3 < sum(row["nodule"] == "yes" for row in rows) / COUNT < 0.7


def test_nodules_are_bright_spots_in_the_lungs_only() -> None:
    body = draw_body(np.random.default_rng(0), female=False)
    without = draw_chest(body, 200, 180, False, np.random.default_rng(5))
    with_nodules = draw_chest(body, 200, 180, True, np.random.default_rng(5))
    # The noise is drawn after the nodules, so it differs; nodules stand far above it.
    added = np.clip(with_nodules - without, 0, None) > 0.1
    assert 0.005 < added.mean() < 0.2
    rows, cols = np.nonzero(added)
    assert rows.max() < 160
    assert cols.min() > 20


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 3, "broken": 4}, "broken=4 and count=3"),
        ({"count": 0, "broken": 0}, "count=0"),
        ({"size": (16, 20)}, "at least 64"),
        ({"size": (128, 100)}, "smallest, largest"),
    ],
)
def test_impossible_sets_are_refused(options: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        write_phantoms(tmp_path, **options, progress=False)
    assert not (tmp_path / "labels.csv").exists()
