"""The study: what it writes, what it skips, and what it survives."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from wavestream.engine.errors import InputError, StoreError
from wavestream.engine.lock import exclusive
from wavestream.engine.transform import Transform
from wavestream.trainers import trial as trial_module
from wavestream.trainers.configuration import Optimiser, TrainConfig
from wavestream.trainers.study import StudyConfig, StudyError, study
from wavestream.trainers.trial import make_trial

LEVELS = (1.0, 0.1, 0.005)


def make_config(store: Path, out: Path, **options: Any) -> StudyConfig:
    defaults: dict[str, Any] = {
        "target": "sex",
        "model": "shufflenet_v2_x0_5",
        "probabilities": (0.75, 0.0),
        "levels": LEVELS,
        "transform": Transform(image_size=(32, 32), roi=False),
        "optimiser": Optimiser(epochs=2, batch_size=20),
        "device": "cpu",
        "threads": 1,
    }
    return StudyConfig(str(store), str(out), **(defaults | options))


@pytest.fixture(scope="module")
def finished(learnable_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study: two trials, three levels."""
    out = tmp_path_factory.mktemp("study") / "out"
    report = study(make_config(learnable_store, out), progress=False)
    assert report == out / "report.html"
    return out


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished study, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def counting(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """Every first argument that a function of the trial module is called with, while it still does its work."""
    calls: list[Any] = []
    original: Callable[..., Any] = getattr(trial_module, name)

    def counted(first: Any, *rest: Any, **options: Any) -> Any:
        calls.append((first, options))
        return original(first, *rest, **options)

    monkeypatch.setattr(trial_module, name, counted)
    return calls


def test_results_hold_a_row_per_trial_and_level(finished: Path) -> None:
    rows = read_rows(finished / "results.csv")
    assert [(float(row["probability"]), float(row["keep"])) for row in rows] == [
        (probability, keep) for probability in (0.0, 0.75) for keep in LEVELS
    ]
    storage = {row["keep"]: row for row in json.loads((finished / "storage.json").read_text())["rows"]}
    for row in rows:
        with np.load(finished / "trials" / row["trial"] / "scores" / f"keep-{float(row['keep'])!r}.npz") as scores:
            assert float(row["auc"]) == pytest.approx(roc_auc_score(scores["labels"], scores["scores"][:, 1]))
            assert int(row["images"]) == len(scores["index"]) == 20
        assert float(row["ci_low"]) <= float(row["auc"]) <= float(row["ci_high"])
        assert float(row["sparse_bytes"]) == storage[float(row["keep"])]["sparse_bytes"]
        assert (row["difference_to_lossless"] == "") == (float(row["keep"]) == 1)
        assert (row["difference_to_clean_training"] == "") == (float(row["probability"]) == 0)
        assert row["epochs"] == "2"
    harsh = next(row for row in rows if row["probability"] == "0.75" and row["keep"] == "0.005")
    clean = next(row for row in rows if row["probability"] == "0.0" and row["keep"] == "0.005")
    difference = float(harsh["auc"]) - float(clean["auc"])
    assert float(harsh["difference_to_clean_training"]) == pytest.approx(difference)
    assert harsh["psnr_db"] != next(row for row in rows if row["keep"] == "0.1")["psnr_db"]


def test_the_folder_holds_what_the_report_needs(finished: Path, learnable_store: Path) -> None:
    config = StudyConfig.from_json(json.loads((finished / "config.json").read_text()))
    assert config == make_config(learnable_store, finished)
    assert {path.name for path in finished.iterdir()} == {
        *(".lock", "config.json", "findings.txt", "plots", "report.html", "results.csv"),
        *("storage.json", "summary.csv", "trials"),
    }
    assert (finished / "findings.txt").read_text().count("\n") >= 2
    assert len(list((finished / "plots").glob("*.svg"))) == len(list((finished / "plots").glob("*.png"))) == 6
    assert not list(finished.glob("trials/*/training/last.ckpt"))
    assert len(list(finished.glob("trials/*/training/best.ckpt"))) == 2


def test_a_finished_study_trains_and_tests_nothing(
    copied: Path, learnable_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (copied / "results.csv").read_bytes()
    (copied / "report.html").unlink()
    evaluated = counting(monkeypatch, "evaluate")
    checkpoints = {path: path.stat().st_mtime_ns for path in copied.glob("trials/*/training/best.ckpt")}
    study(make_config(learnable_store, copied), progress=False)
    assert evaluated == []
    assert {path: path.stat().st_mtime_ns for path in checkpoints} == checkpoints
    assert (copied / "results.csv").read_bytes() == before
    assert (copied / "report.html").is_file()


def test_only_what_is_missing_is_done(copied: Path, learnable_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One score file gone, one damaged, one level new: three evaluations, no training, the same numbers."""
    before = read_rows(copied / "results.csv")
    clean, injected = sorted((copied / "trials").iterdir())
    (clean / "scores" / "keep-0.1.npz").unlink()
    (injected / "scores" / "keep-0.005.npz").write_bytes(b"PK\x03\x04 cut short")
    evaluated = counting(monkeypatch, "evaluate")
    checkpoints = {path: path.stat().st_mtime_ns for path in copied.glob("trials/*/training/best.ckpt")}
    study(make_config(learnable_store, copied, levels=(*LEVELS, 0.05)), progress=False)
    levels = [(Path(first).parts[-3][:12], options["artifacts"].keep) for first, options in evaluated]
    assert levels == [
        *(("injected-0-s", (0.1,)), ("injected-0-s", (0.05,))),
        *(("injected-75-", (0.05,)), ("injected-75-", (0.005,))),
    ]
    assert {path: path.stat().st_mtime_ns for path in checkpoints} == checkpoints
    after = [row for row in read_rows(copied / "results.csv") if row["keep"] != "0.05"]
    assert [row["auc"] for row in after] == [row["auc"] for row in before]


def test_a_failing_trial_is_recorded_and_tried_again(
    finished: Path, copied: Path, learnable_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    injected = next((copied / "trials").glob("injected-75-*"))
    shutil.rmtree(injected)
    original = trial_module.train

    def failing(config: TrainConfig, progress: bool) -> Any:
        if config.artifacts is not None:
            raise RuntimeError("out of memory")
        return original(config, progress)

    monkeypatch.setattr(trial_module, "train", failing)
    with pytest.raises(StudyError, match=r"(?s)1 of 2 trials failed.*report\.html.*injected-75-.*out of memory"):
        study(make_config(learnable_store, copied), progress=False)
    assert "failing" in (injected / "error.txt").read_text()
    assert {row["probability"] for row in read_rows(copied / "results.csv")} == {"0.0"}
    assert "out of memory" in (copied / "report.html").read_text()

    monkeypatch.setattr(trial_module, "train", original)
    study(make_config(learnable_store, copied), progress=False)
    assert not (injected / "error.txt").exists()
    numbers = [[row["auc"] for row in read_rows(folder / "results.csv")] for folder in (copied, finished)]
    assert numbers[0] == numbers[1]


def test_no_finished_trial_is_an_error_and_no_report(
    learnable_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(config: TrainConfig, progress: bool) -> Any:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(trial_module, "train", failing)
    with pytest.raises(StudyError, match=r"every trial failed.*no such luck"):
        study(make_config(learnable_store, tmp_path / "out"), progress=False)
    assert not (tmp_path / "out" / "report.html").exists()


def test_an_interrupt_ends_the_study_at_once(
    learnable_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def interrupted(config: TrainConfig, progress: bool) -> Any:
        asked.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(trial_module, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study(make_config(learnable_store, tmp_path / "out"), progress=False)
    assert len(asked) == 1
    assert not list(tmp_path.glob("out/trials/*/error.txt"))


def test_a_trial_is_named_by_what_decides_its_scores(learnable_store: Path, tmp_path: Path) -> None:
    config = make_config(learnable_store, tmp_path)

    def name(fingerprint: str = "f", domain: str = "source", probability: float = 0.75, **changes: Any) -> str:
        training = replace(config, **changes).training(probability, seed=0)
        return make_trial(training, fingerprint, domain, tmp_path).folder.name

    assert name(store="elsewhere", out="other", threads=2, device="auto") == name()
    assert name().startswith("injected-75-seed-0-")
    different = [
        name(fingerprint="g"),
        name(domain="input"),
        name(probability=0.5),
        name(keeps=(0.1,)),
        name(model="resnet18"),
        name(target="stage"),
        name(transform=Transform(image_size=(40, 40))),
        name(optimiser=Optimiser(epochs=3)),
    ]
    assert len({name(), *different}) == 9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"probabilities": (0.0, 1.5)}, r"probabilities: expected numbers in \[0, 1\], got 1.5"),
        ({"probabilities": ()}, "probabilities: expected at least one"),
        ({"keeps": (0.1, 1.0)}, "keeps: .*no artifact"),
        ({"levels": (1.0, 0.0)}, r"levels: expected numbers in \(0, 1\], got 0"),
        ({"levels": (0.1, 0.1)}, "levels: .*each once"),
        ({"levels": 0.1}, "levels: expected several"),
        ({"seeds": (-1,)}, "seeds: expected numbers of at least 0"),
        ({"margin": 0}, "margin: "),
        ({"domain": "frequency"}, "frequency"),
        ({"model": "resnet51"}, "resnet51.*did you mean"),
        ({"device": "tpu"}, "tpu"),
        ({"threads": 0}, "threads"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_config(Path("store"), Path("out"), **options)


def test_settings_are_put_in_order_and_survive_json() -> None:
    config = make_config(Path("s"), Path("o"), levels=[0.01, 1, 0.1], probabilities=[0.5, 0], seeds=[3, 1])
    assert config.levels == (1.0, 0.1, 0.01)
    assert config.probabilities == (0.0, 0.5)
    assert config.seeds == (3, 1)
    assert StudyConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_what_cannot_be_learned_is_said_before_training(learnable_store: Path, tmp_path: Path) -> None:
    for options, words in (({"target": "single"}, "two classes"), ({"target": "nothing"}, "nothing")):
        with pytest.raises(InputError, match=words):
            study(make_config(learnable_store, tmp_path / "out", **options), progress=False)
    with pytest.raises(StoreError, match="no store at"):
        study(make_config(tmp_path / "absent.zarr", tmp_path / "out"), progress=False)


def test_two_processes_cannot_run_one_study(learnable_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    out.mkdir()
    with exclusive(out / ".lock", str(out)), pytest.raises(InputError, match="in use by another run"):
        study(make_config(learnable_store, out), progress=False)
    assert not list(out.glob("trials/*"))
