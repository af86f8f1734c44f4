"""The benchmark of the places at a tiny size: every place is measured against the default of its domain."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from wavestream.benchmarks import bench_places
from wavestream.benchmarks.bench_loader import Setting, synthesise
from wavestream.engine.injection import PLACES
from wavestream.engine.store import open_store

TINY = Setting(images=6, size=64, input_size=32, batch_size=4, threads=1, rounds=2)


def test_the_table_has_every_place(capsys: pytest.CaptureFixture[str]) -> None:
    options = {name: getattr(TINY, name) for name in Setting.__dataclass_fields__}
    bench_places.main([part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))])
    lines = capsys.readouterr().out.splitlines()
    assert "commit" in lines[0]
    assert "probability 0.75, cpu" in lines[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")][1:]
    expected = [("clean", "")] + [(domain, place) for domain, places in PLACES.items() for place in places]
    assert [tuple(row[:2]) for row in rows] == expected
    assert all(float(row[2].replace(",", "")) > 0 and float(row[3]) > 0 for row in rows)
    assert [row[4] == "1.00" for row in rows if row[1] in ("feed", "after")] == [True, True]
    assert rows[0][4] == ""


def test_loaders_of_a_domain_give_the_same_images(tmp_path: Path) -> None:
    loaders = bench_places.loaders(open_store(synthesise(tmp_path, TINY)), TINY, 1.0, "cpu")
    images = {key: torch.cat([batch[0] for batch in epochs.loader]) for key, epochs in loaders.items()}
    clean = images[bench_places.CLEAN]
    assert [key[1] or None for key in loaders] == [epochs.loader.place for epochs in loaders.values()]
    for domain, (default, other) in PLACES.items():
        assert torch.equal(images[domain, default], images[domain, other])
        assert not torch.equal(images[domain, default], clean)
    run = loaders["source", "graph"]
    assert run() > 0
    assert len(run.cpu_seconds) == 1
