"""An ingest that is killed at any moment, and started again, ends with the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from wavestream.engine.errors import StoreError
from wavestream.engine.ingest import IngestConfig, ingest
from wavestream.engine.store import open_store
from wavestream.engine.verify import verify

MakeStudy = Callable[..., Path]
MakeDicom = Callable[..., Path]

CONFIG = IngestConfig(shard_images=4, workers=2)
SETTINGS = "IngestConfig(shard_images=4, workers=2, codec=CODEC)"
# Every step that must not be lost ends in os.replace: kill there, before or after the step takes effect.
SCRIPT = f"""
import os, signal, sys
# A shell that starts the tests in the background has SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from wavestream.engine.ingest import IngestConfig, ingest
source, store, fatal, after, CODEC = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "after", sys.argv[5]
steps, replace = 0, os.replace
def counted(old, new):
    global steps
    steps += 1
    if steps == fatal and not after:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(old, new)
    if steps == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = counted
ingest(source, store, config={SETTINGS}, progress=False)
print(steps)
"""
PRIVATE = ("plan.json", "inputs.csv", "quarantine.csv")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def outcome(store: Path) -> dict[str, bytes]:
    """Every byte of a store, and of its manifest what does not differ by design."""
    manifest = store.with_name(store.name + ".manifest")
    return tree(store) | {name: (manifest / name).read_bytes() for name in PRIVATE} | tree(manifest / "journal")


def prepare(store: Path) -> Path:
    """The same salt for every store, so that they can be compared."""
    manifest = store.with_name(store.name + ".manifest")
    manifest.mkdir()
    (manifest / "salt").write_text("ab" * 32)
    return store


@pytest.fixture
def source(make_study: MakeStudy, make_dicom: MakeDicom) -> Path:
    """Single images, files of several frames that straddle shards, and broken ones between them."""
    study = make_study(12)
    random = np.random.default_rng(0)
    for name, frames in (("05.dcm", 3), ("3.dcm", 6), ("99.dcm", 2)):
        make_dicom(study / name, random.integers(0, 4096, (frames, 8, 8), dtype=np.uint16), frames=True)
    for name in ("2.dcm", "9.dcm", "z.dcm"):
        make_dicom(study / name, random.integers(0, 9, (40, 40), dtype=np.uint8), syntax="1.2.840.10008.1.2.5")
        content = (study / name).read_bytes()
        start = content.index(b"\xe0\x7f\x10\x00") + 100
        (study / name).write_bytes(content[:start] + b"\x81" * (len(content) - 8 - start) + content[-8:])
    return study


def run_until(
    source: Path, store: Path, fatal: int, after: str, codec: str = "layers"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, source, store, str(fatal), after, codec],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("codec", ["layers", "zstd"])
def test_killed_at_many_moments_it_ends_with_the_same_bytes(tmp_path: Path, source: Path, codec: str) -> None:
    reference = prepare(tmp_path / "reference.zarr")
    whole = run_until(source, reference, 0, "never", codec)
    assert whole.returncode == 0
    steps = int(whole.stdout)
    expected = outcome(reference)
    assert len(open_store(reference)) == 9 + 3 + 6 + 2
    assert sum(name.startswith("images/c/") for name in expected) == 5
    moments = [(1, "before"), (3, "before"), (4, "after"), (7, "before"), (steps // 3, "after"), (steps, "before")]
    for number, (fatal, after) in enumerate(moments):
        store = prepare(tmp_path / f"{number}.zarr")
        killed = run_until(source, store, fatal, after, codec)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        with pytest.raises(StoreError):
            open_store(store)
        ingest(source, store, config=replace(CONFIG, codec=codec), progress=False)
        assert outcome(store) == expected
    assert verify(reference, progress=False).ok


@pytest.mark.slow
def test_killed_again_and_again_it_still_ends(tmp_path: Path, source: Path) -> None:
    reference = prepare(tmp_path / "reference.zarr")
    ingest(source, reference, config=CONFIG, progress=False)
    store = prepare(tmp_path / "s.zarr")
    fatal, runs = 3, 0
    while (done := run_until(source, store, fatal, "after")).returncode != 0:
        assert done.returncode == -signal.SIGKILL, done.stderr
        fatal, runs = (fatal + 1 if runs < 3 else 2 * fatal), runs + 1
        assert runs < 12
    assert runs >= 5
    assert outcome(store) == outcome(reference)


def test_interrupted_from_the_keyboard_it_leaves_no_process_and_continues(tmp_path: Path, source: Path) -> None:
    reference = prepare(tmp_path / "reference.zarr")
    ingest(source, reference, config=CONFIG, progress=False)
    store = prepare(tmp_path / "s.zarr")
    script = SCRIPT.replace(
        "os.kill(os.getpid(), signal.SIGKILL)", "print('now', flush=True); import time; time.sleep(60)"
    )
    arguments = [sys.executable, "-c", script, source, store, "6", "after", "layers"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 3  # the server that workers are forked from, and two workers
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        assert process.returncode in (1, -signal.SIGINT, 130)
    deadline = time.monotonic() + 10
    while any(child.is_running() for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(child.is_running() for child in children)
    assert not list(store.rglob("*.partial"))
    assert len(list((tmp_path / "s.zarr.manifest/journal").iterdir())) in (1, 2)
    ingest(source, store, config=CONFIG, progress=False)
    assert outcome(store) == outcome(reference)


def test_workers_end_when_the_ingest_is_killed(tmp_path: Path, source: Path) -> None:
    script = SCRIPT.replace(
        "os.kill(os.getpid(), signal.SIGKILL)", "print('now', flush=True); import time; time.sleep(60)"
    )
    arguments = [sys.executable, "-c", script, source, tmp_path / "s.zarr", "6", "after", "layers"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    deadline = time.monotonic() + 10
    while any(child.is_running() for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(child.is_running() for child in children)


def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path, source: Path) -> None:
    stores = [prepare(tmp_path / f"{workers}.zarr") for workers in (1, 3)]
    for workers, store in zip((1, 3), stores, strict=True):
        ingest(source, store, config=replace(CONFIG, workers=workers), progress=False)
    assert outcome(stores[0]) == outcome(stores[1])
