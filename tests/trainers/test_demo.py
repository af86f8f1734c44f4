"""The demo, small: from DICOM files to a report, again without doing anything, and on the user's own files."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from wavestream.engine.errors import InputError
from wavestream.engine.store import open_store
from wavestream.trainers import demo as demo_module
from wavestream.trainers import trial as trial_module
from wavestream.trainers.demo import demo
from wavestream.trainers.study import StudyConfig

SMALL: dict[str, Any] = {
    "epochs": 1,
    "image_size": 32,
    "model": "shufflenet_v2_x0_5",
    "device": "cpu",
    "threads": 2,
    "progress": False,
}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished demo on 40 phantoms."""
    out = tmp_path_factory.mktemp("demo") / "out"
    assert demo(out, images=40, **SMALL) == out / "report.html"
    return out


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_file_is_stored_or_listed(phantoms: Path) -> None:
    store = open_store(phantoms / "store.zarr")
    assert len(store) == 35
    assert len(read_rows(phantoms / "store.zarr.manifest" / "quarantine.csv")) == 5
    assert len(list((phantoms / "phantoms" / "dicom").iterdir())) == 40
    assert set(store.categories("nodule") or ()) == {"no", "yes"}
    parts = [store.split_indices(split).size for split in ("train", "val", "test")]
    assert sum(parts) == 35
    assert parts[0] > parts[2] > parts[1] > 0


def test_clean_and_injected_training_are_compared_at_every_level(phantoms: Path) -> None:
    rows = read_rows(phantoms / "results.csv")
    found = {(float(row["probability"]), float(row["keep"])) for row in rows}
    assert found == {(probability, keep) for probability in (0, 0.75) for keep in (1, 0.1, 0.01, 0.001, 0.0001)}
    sizes = [float(row["sparse_bytes"]) for row in rows[:5]]
    assert sizes == sorted(sizes, reverse=True)
    assert "Not for clinical use" in (phantoms / "report.html").read_text(encoding="utf-8")


def test_again_it_says_where_to_look_and_computes_nothing(
    phantoms: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("done again")

    monkeypatch.setattr(demo_module, "write_phantoms", refuse)
    monkeypatch.setattr(trial_module, "evaluate", refuse)
    before = (phantoms / "results.csv").read_bytes()
    demo(phantoms, images=40, **(SMALL | {"progress": True}))
    printed = capsys.readouterr().out
    assert str(phantoms / "report.html") in printed
    assert (phantoms / "findings.txt").read_text(encoding="utf-8").splitlines()[0] in printed
    assert "35 images from 35 of 40 files" in printed
    assert (phantoms / "results.csv").read_bytes() == before


def test_the_users_files_take_the_same_way(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the study, which is that of the phantoms."""
    asked = []

    def remember(config: StudyConfig, progress: bool) -> Path:
        asked.append(config)
        return tmp_path / "report.html"

    monkeypatch.setattr(demo_module, "study", remember)
    dicom, labels = phantoms / "phantoms" / "dicom", phantoms / "phantoms" / "labels.csv"
    demo(tmp_path / "out", dicom, labels, "sex", seeds=(1, 2), **SMALL)
    (config,) = asked
    assert (config.target, config.seeds, config.probabilities) == ("sex", (1, 2), (0.0, 0.75))
    assert config.transform.image_size == (32, 32)
    assert config.optimiser.epochs == 1
    assert len(open_store(config.store)) == 35
    assert not (tmp_path / "out" / "phantoms").exists()


@pytest.mark.slow
def test_real_images_take_the_same_way(medical_data: Path, tmp_path: Path) -> None:
    rows = read_rows(medical_data / "nih_cxr" / "labels.csv")
    chosen = [row for sex in "FM" for row in [row for row in rows if row["sex"] == sex][:20]]
    (tmp_path / "dicom").mkdir()
    for row in chosen:
        shutil.copy(medical_data / "nih_cxr" / row["file"], tmp_path / "dicom")
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(chosen)
    report = demo(tmp_path / "out", tmp_path / "dicom", tmp_path / "labels.csv", "sex", **SMALL)
    first = read_rows(report.parent / "results.csv")[0]
    assert 0 <= float(first["ci_low"]) <= float(first["auc"]) <= float(first["ci_high"]) <= 1
    assert len(open_store(tmp_path / "out" / "store.zarr")) == 40


def test_half_the_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got data alone: give labels too"):
        demo(tmp_path / "out", data=tmp_path)
    with pytest.raises(InputError, match="got labels alone: give data too"):
        demo(tmp_path / "out", labels=tmp_path / "labels.csv")
    assert not (tmp_path / "out").exists()


def test_another_number_of_phantoms_needs_another_folder(phantoms: Path) -> None:
    with pytest.raises(InputError, match="holds 40 phantoms, 50 were asked for"):
        demo(phantoms, images=50, **SMALL)
