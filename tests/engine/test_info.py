"""The description of a store agrees with what was put in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from wavestream.engine.errors import StoreError
from wavestream.engine.info import describe
from wavestream.engine.ingest import IngestConfig, ingest
from wavestream.engine.layers import needed_ranges

MakeStudy = Callable[..., Path]
MakeCsv = Callable[..., Path]


def test_figures_and_text(tmp_path: Path, make_study: MakeStudy, make_csv: MakeCsv) -> None:
    study = make_study(6)
    (study / "x.txt").write_text("x")
    parts = ["train", "train", "train", "val", "test", "test"]
    rows = [(f"{n}.dcm", parts[n], "MF"[n % 2], "" if n == 2 else 1.5 * n) for n in range(6)]
    labels = make_csv(["file", "part", "sex", "dose"], *rows)
    config = IngestConfig(split_column="part", workers=1)
    ingest(study, tmp_path / "s.zarr", labels, config=config, progress=False)

    found = describe(tmp_path / "s.zarr")
    assert (found.images, found.patients, found.series, found.canvas, found.dtype) == (6, 6, 6, (11, 7), "uint16")
    assert (found.smallest, found.largest, found.bits_stored) == ((9, 7), (11, 7), {12: 6})
    assert found.windows == {"LINEAR": 6}
    sizes = {"train": 3, "val": 1, "test": 2}
    assert found.parts == {name: {"images": count, "patients": count} for name, count in sizes.items()}
    assert found.labels["sex"] == {"train": {"F": 1, "M": 2}, "val": {"F": 1, "M": 0}, "test": {"F": 1, "M": 1}}
    assert found.labels["dose"]["train"] == {"missing": 1, "min": 0.0, "mean": 0.75, "max": 1.5}
    assert found.quarantined == {"not an image file": 1}
    files = [path for path in (tmp_path / "s.zarr").rglob("*") if path.is_file()]
    assert found.bytes_on_disk == sum(path.stat().st_size for path in files)
    shards = sum(path.stat().st_size for path in (tmp_path / "s.zarr/images").rglob("*") if path.is_file())
    assert found.bits_per_pixel == pytest.approx(8 * shards / (7 * 2 * (9 + 10 + 11)))

    text = str(found)
    for line in ("6 images, 6 patients", "train      images 3, patients 3", "F 1, M 2", "not an image file 1"):
        assert line in text
    assert json.loads(json.dumps(found.to_json()))["canvas"] == [11, 7]


def test_layers_and_what_they_cost(tmp_path: Path, write_store: Callable[..., Path]) -> None:
    images = [np.random.default_rng(4).integers(0, 4096, (40, 56), np.uint16) for _ in range(5)]
    store = write_store(tmp_path / "s.zarr", images, codec="layers", fractions=(0.01, 0.25))
    ends = zarr.open_array(store / "table/layer_ends", mode="r")[...].astype(int).tolist()
    found = describe(store)
    assert (found.codec, [cost.keep for cost in found.layers]) == ("layers", [0.01, 0.25, 1.0])
    for cost in found.layers:
        for reduction, size in enumerate(["1/1", "1/2", "1/4", "1/8"]):
            read = [needed_ranges(image, (0.01, 0.25), cost.keep, reduction) for image in ends]
            expected = sum(stop - start for ranges in read for start, stop in ranges)
            assert cost.bytes[size] == expected
            assert cost.bits_per_pixel[size] == pytest.approx(8 * expected / (5 * 40 * 56))
    assert found.layers[-1].bytes["1/1"] == sum(image[-1][-1] for image in ends)
    lines = str(found).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("keep"))
    assert lines[at].split()[:6] == ["keep", "1/8", "1/4", "1/2", "1/1", "bytes"]
    bits = found.layers[1].bits_per_pixel
    numbers = [f"{bits[size]:.4f}" for size in ("1/8", "1/4", "1/2", "1/1")]
    assert lines[at + 2].split() == ["0.25", *numbers, f"{found.layers[1].bytes['1/1']:,}"]
    assert json.loads(json.dumps(found.to_json()))["layers"][0]["bytes"] == found.layers[0].bytes


def test_a_zstd_store_has_no_layers(tiny_store: Path) -> None:
    found = describe(tiny_store)
    assert (found.codec, found.layers) == ("zstd", ())
    assert "keep" not in str(found)


def test_there_must_be_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        describe(tmp_path / "nowhere.zarr")
