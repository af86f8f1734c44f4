"""Bytes of one archive against a set for each level: counted twice, once here and by hand."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from wavestream.benchmarks.archive_sizes import ArchiveSizes, main, measure_sizes
from wavestream.engine.errors import InputError
from wavestream.engine.layers import needed_ranges
from wavestream.engine.reader import Reader
from wavestream.engine.store import open_store
from wavestream.kernels.reference import inject_reference

KEEPS = (1.0, 0.1, 0.01, 0.001, 0.0001)


def test_sizes_are_those_of_files_and_prefixes(layered_store: Path) -> None:
    store = open_store(layered_store)
    found = measure_sizes(store, 2, progress=False)
    rows, cols = store.table["rows"], store.table["cols"]
    whole = [canvas[:h, :w] for canvas, h, w in zip(Reader(store).read(range(45)), rows, cols, strict=True)]
    for keep in KEEPS:
        images = [inject_reference(image, keep, "cdf53", value_range=(0, 4095)) for image in whole]
        assert found.sets[keep] == sum(len(imagecodecs.png_encode(image, level=6)) for image in images)
        ranges = [needed_ranges(ends, store.header.layers, keep) for ends in store.table["layer_ends"]]
        assert found.epochs[keep] == sum(stop - start for parts in ranges for start, stop in parts)
    assert found.store == sum(path.stat().st_size for path in layered_store.rglob("*") if path.is_file())
    assert (found.images, found.pixels) == (45, int((rows * cols).sum()))


def test_a_store_without_layers_is_refused(tiny_store: Path) -> None:
    with pytest.raises(InputError, match="expected a store of layers, got zstd"):
        measure_sizes(open_store(tiny_store), 1)


def test_tables_hold_sums_ratios_and_the_expected_epoch() -> None:
    sizes = dict(zip(KEEPS, (1000, 300, 80, 10, 2), strict=True))
    found = ArchiveSizes(images=2, pixels=4000, store=500, sets=sizes, epochs=sizes)
    assert found.mixed_epoch == pytest.approx(0.25 * 1000 + 0.75 * (300 + 80 + 10) / 3)
    disk, epochs = found.disk_table().splitlines(), found.epoch_table().splitlines()
    assert disk[2] == "| PNG of every image at 100 % | 1,000 | 2.0000 | 2.000 |"
    assert disk[-2] == "| these 5 sets together | 1,392 | 2.7840 | 2.784 |"
    assert disk[-1] == "| one wavestream store | 500 | 1.0000 | 1.000 |"
    assert epochs[4] == "| all samples at 1 % | 80 | 0.1600 | 0.080 |"
    assert epochs[-1].startswith("| 75 % of the samples at one of 10 %, 1 %, 0.1 %; the others clean | 348 |")


def test_the_command_measures_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for number in range(5):
        np.save(tmp_path / f"{number}.npy", random.integers(0, 256, (40, 40)).astype(np.uint8))
    main([str(tmp_path), "--images", "3", "--threads", "1", "--quiet"])
    printed = capsys.readouterr()
    assert "3 images, 4,800 pixels" in printed.out
    assert printed.out.count("\n| ") == 1 + 7 + 1 + 6
    assert printed.err == ""
