"""What ingest writes with each codec: streams of the images themselves, where their layers end, and what is refused."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from wavestream.__main__ import main
from wavestream.engine.errors import InputError
from wavestream.engine.ingest import IngestConfig, IngestSummary, ingest
from wavestream.engine.layers import DEFAULT_FRACTIONS, decode_image, header_of, needed_ranges, segment_ends
from wavestream.engine.shards import read_shard_index, shard_path
from wavestream.engine.store import open_store
from wavestream.engine.verify import verify
from wavestream.kernels import inject

MakeStudy = Callable[..., Path]
MakeDicom = Callable[..., Path]
RANDOM = np.random.default_rng(6)
SIZES = ((60, 45), (1, 1), (9, 60), (33, 33), (2, 7))


def run(source: Path, store: Path, **settings: Any) -> IngestSummary:
    return ingest(source, store, config=IngestConfig(**{"workers": 1, **settings}), progress=False)


def chunks(store: Path, shard_images: int) -> Iterator[bytes]:
    """The chunks of a store, by the index of each shard."""
    for number in range(-(-len(open_store(store)) // shard_images)):
        shard = shard_path(store, number).read_bytes()
        for offset, length in read_shard_index(shard_path(store, number), shard_images).tolist():
            if offset < 2**64 - 1:
                yield shard[offset : offset + length]


@pytest.fixture
def images(tmp_path: Path) -> list[np.ndarray]:
    """Smooth 16-bit images of several sizes with some noise, as ``0.npy``, ``1.npy``, ... in the folder ``data``."""
    (tmp_path / "data").mkdir()
    made = []
    for number, (rows, cols) in enumerate(SIZES):
        row, col = np.mgrid[0:rows, 0:cols]
        wave = 9000 * (2 + np.sin(row / 7) + np.cos(col / 5)) + RANDOM.normal(0, 60, (rows, cols))
        made.append(wave.astype(np.uint16))
        np.save(tmp_path / "data" / f"{number}.npy", made[-1])
    return made


def test_a_chunk_is_the_stream_of_the_image_alone(tmp_path: Path, images: list[np.ndarray]) -> None:
    run(tmp_path / "data", tmp_path / "s.zarr", shard_images=2, layers=(0.003, 0.05))
    store = open_store(tmp_path / "s.zarr")
    assert (store.header.format, store.header.codec, store.header.layers) == (2, "layers", (0.003, 0.05))
    assert store.table["layer_ends"].shape == (5, 3, 4)
    stored = list(chunks(tmp_path / "s.zarr", 2))
    assert len(stored) == 5
    for image, chunk, ends in zip(images, stored, store.table["layer_ends"], strict=True):
        header = header_of(chunk)
        assert (header.rows, header.cols, header.dtype, header.fractions) == (*image.shape, np.uint16, (0.003, 0.05))
        assert tuple(header.value_range) == (0, 65535)
        np.testing.assert_array_equal(ends, segment_ends(chunk))
        for keep in (0.003, 0.05, 1.0):
            partial = bytearray(len(chunk))
            for start, stop in needed_ranges(ends, header.fractions, keep):
                partial[start:stop] = chunk[start:stop]
            expected = inject(image[None], keep, "cdf53", header.levels, value_range=(0, 65535))[0]
            np.testing.assert_array_equal(decode_image(partial, keep), expected)


def test_values_are_bounded_by_the_bits_that_the_file_states(tmp_path: Path, make_dicom: MakeDicom) -> None:
    make_dicom(tmp_path / "data/a.dcm", np.full((8, 8), 100, np.uint16), BitsStored=12)
    make_dicom(tmp_path / "data/b.dcm", np.full((8, 8), -3, np.int16), BitsStored=10)
    run(tmp_path / "data", tmp_path / "s.zarr")
    ranges = [tuple(header_of(chunk).value_range) for chunk in chunks(tmp_path / "s.zarr", 256)]
    assert ranges == [(0, 4095), (-512, 511)]


def test_both_codecs_hold_the_same_pixels(tmp_path: Path, images: list[np.ndarray]) -> None:
    for codec in ("layers", "zstd"):
        run(tmp_path / "data", tmp_path / f"{codec}.zarr", codec=codec, shard_images=3)
    ours, plain = (zarr.open_array(tmp_path / f"{codec}.zarr/images", mode="r")[...] for codec in ("layers", "zstd"))
    assert ours.shape == (5, 60, 60)
    np.testing.assert_array_equal(ours, plain)
    for index, image in enumerate(images):
        np.testing.assert_array_equal(ours[index, : image.shape[0], : image.shape[1]], image)
    first, second = (open_store(tmp_path / f"{codec}.zarr") for codec in ("layers", "zstd"))
    assert set(first.table) - set(second.table) == {"layer_ends"}
    assert (second.header.format, second.header.codec, second.header.layers) == (2, "zstd", ())
    for name in ("rows", "value_high", "pixel_sha256", "source_sha256", "split"):
        np.testing.assert_array_equal(first.table[name], second.table[name])
    assert verify(tmp_path / "zstd.zarr", progress=False).ok


def test_a_large_canvas_costs_small_images_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    noise = RANDOM.integers(0, 65536, (8, 8), np.uint16)
    np.save(tmp_path / "data/0.npy", noise)
    run(tmp_path / "data", tmp_path / "alone.zarr")
    np.save(tmp_path / "data/1.npy", np.zeros((900, 1100), np.uint16))
    run(tmp_path / "data", tmp_path / "beside.zarr")
    (alone,), (beside, _) = (list(chunks(tmp_path / name, 256)) for name in ("alone.zarr", "beside.zarr"))
    assert alone == beside


def test_16_bits_signed_and_unsigned_together(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    extremes = (np.array([[-32768, 32767]], np.int16), np.array([[0, 65535]], np.uint16))
    for number, image in enumerate(extremes):
        np.save(tmp_path / f"data/{number}.npy", image)
    run(tmp_path / "data", tmp_path / "s.zarr")
    array = zarr.open_array(tmp_path / "s.zarr/images", mode="r")
    assert array.dtype == np.int32
    assert array[...].tolist() == [[[-32768, 32767]], [[0, 65535]]]
    assert verify(tmp_path / "s.zarr", progress=False).ok


def test_an_image_too_long_for_the_layers_is_listed_and_zstd_stores_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data/0.npy", np.ones((2, 65536), np.uint8))
    np.save(tmp_path / "data/1.npy", np.ones((2, 65535), np.uint8))
    summary = run(tmp_path / "data", tmp_path / "s.zarr")
    assert (summary.stored, open_store(tmp_path / "s.zarr").header.canvas) == (1, (2, 65535))
    assert summary.quarantined == {"larger than codec 'layers' takes; codec 'zstd' stores it": 1}
    with (tmp_path / "s.zarr.manifest/quarantine.csv").open() as file:
        assert [row["detail"] for row in csv.DictReader(file)] == [
            "2 x 65536 pixels; up to 65535 rows and columns, 268435456 pixels"
        ]
    assert run(tmp_path / "data", tmp_path / "zstd.zarr", codec="zstd").stored == 2


def test_an_ingest_is_not_continued_with_another_codec(tmp_path: Path, make_study: MakeStudy) -> None:
    study = make_study(2)
    run(study, tmp_path / "s.zarr")
    with pytest.raises(InputError, match=r"begun from something else; changed: codec\."):
        run(study, tmp_path / "s.zarr", codec="zstd")
    with pytest.raises(InputError, match=r"begun from something else; changed: layers\."):
        run(study, tmp_path / "s.zarr", layers=(0.5,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"codec": "jpeg"}, "codec: expected 'layers' or 'zstd', got 'jpeg'"),
        ({"layers": (0.1, 0.01)}, "layers: expected at most 7 ascending fractions"),
        ({"codec": "zstd", "layers": (0.1,)}, "layers: expected none with codec 'zstd'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        IngestConfig(**settings)
    assert IngestConfig(layers=[0.5]).layers == (0.5,)  # type: ignore[arg-type]


def test_the_command_line_chooses_codec_and_layers(
    tmp_path: Path, images: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    def ingested(name: str, *words: str) -> tuple[int, str]:
        status = main(["ingest", str(tmp_path / "data"), "--store", str(tmp_path / name), "--quiet", *words])
        return status, capsys.readouterr().err

    assert ingested("default.zarr") == (0, "")
    assert ingested("layers.zarr", "--layers", "[0.02, 0.3]") == (0, "")
    assert ingested("zstd.zarr", "--codec", "zstd") == (0, "")
    status, error = ingested("wrong.zarr", "--layers", "[0.3, 0.02]")
    assert status == 2
    assert "layers: expected at most 7 ascending fractions" in error
    headers = [open_store(tmp_path / name).header for name in ("default.zarr", "layers.zarr", "zstd.zarr")]
    found = [(header.codec, header.layers) for header in headers]
    assert found == [("layers", DEFAULT_FRACTIONS), ("layers", (0.02, 0.3)), ("zstd", ())]
