"""The command line end to end on small files: exit statuses, messages, and that it does what the functions do."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wavestream.__main__ import COMMANDS, main


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 16-bit images of 30 patients; the brighter half are labelled `bright`."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    rows = []
    for number in range(60):
        bright = number % 2
        pixels = generator.normal(1000 + 500 * bright, 100, (40, 36)).clip(0, 4095).astype(np.uint16)
        np.save(folder / f"{number:02d}.npy", pixels)
        rows.append(
            {
                "file": f"{number:02d}.npy",
                "patient_id": f"P{number // 4}-{bright}",
                "light": ["dark", "bright"][bright],
            }
        )
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def store(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store ingested from `images` through the command line."""
    path = tmp_path_factory.mktemp("store") / "light.zarr"
    status = main(
        ["ingest", str(images), str(path), "--labels", str(images / "labels.csv"), "--workers", "1", "--quiet"]
    )
    assert status == 0
    return path


def test_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in COMMANDS)
    assert "Not for clinical use" in printed
    assert main([]) == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"usage: wavestream {name}" in capsys.readouterr().out


def test_an_unknown_command_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "ingest, info, verify, export, train, study, demo" in capsys.readouterr().err


def test_info_counts_what_was_ingested(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(store)]) == 0
    text = capsys.readouterr().out
    assert "60" in text
    assert "bright" in text
    assert main(["info", str(store), "--json"]) == 0
    assert "60" in json.dumps(json.loads(capsys.readouterr().out))


def test_verify_passes_and_finds_one_changed_byte(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    assert main(["verify", str(store), "--quiet"]) == 0
    copy = tmp_path / "copy.zarr"
    shutil.copytree(store, copy)
    shard = next(path for path in (copy / "images" / "c").rglob("*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    assert main(["verify", str(copy), "--quiet"]) == 1


def test_train_reports_an_auc_and_a_second_run_returns_at_once(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(store), "--out", str(tmp_path / "run"), "--target", "light", "--model", "resnet18", "--quiet"]
    words += ["--transform.image_size", "[32,32]", "--optimiser.epochs", "2", "--optimiser.batch_size", "16"]
    words += ["--artifacts.probability", "0.5", "--artifacts.keep", "[0.1]", "--device", "cpu"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "AUC" in printed
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["artifacts"]["keep"] == [0.1]
    written = (tmp_path / "run" / "best.ckpt").stat().st_mtime_ns
    assert main(words) == 0
    assert capsys.readouterr().out == printed
    assert (tmp_path / "run" / "best.ckpt").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["ingest", "no-such-folder"], 2, "no-such-folder"),
        (["info", "no-such-store.zarr"], 1, "no-such-store.zarr"),
        (["train", "no-such-store.zarr"], 1, "no-such-store.zarr"),
        (["study", "no-such-store.zarr"], 1, "no-such-store.zarr"),
        (["train", "x.zarr", "--model", "resnet51"], 2, "resnet50"),
    ],
)
def test_mistakes_end_in_one_line_that_names_them(
    words: list[str], status: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--quiet"] if words[0] not in ("info",) else words) == status
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_labels_with_a_missing_file_are_refused(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text((images / "labels.csv").read_text() + "missing.npy,P99,dark\n")
    assert main(["ingest", str(images), str(tmp_path / "s.zarr"), "--labels", str(labels), "--quiet"]) == 2
    assert "missing.npy" in capsys.readouterr().err


def test_openmp_threads_wait_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch reads the variable when it is imported, so it must be set while the command line is still without torch."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    script = (
        "import os, sys\nfrom wavestream.__main__ import main\n"
        "assert 'torch' not in sys.modules\nmain(['--version'])\nprint(os.environ['OMP_WAIT_POLICY'])"
    )
    for given, expected in ((None, "passive"), ("active", "active")):
        environment = os.environ | ({} if given is None else {"OMP_WAIT_POLICY": given})
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split()[-1] == expected
