"""The codec's benchmark on a few images: sets, checks before timing, and a table that is complete."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wavestream.benchmarks import bench_codec
from wavestream.benchmarks.bench_codec import HEADER, KEEPS, entries, main, rows_of
from wavestream.benchmarks.codec_peers import PEERS, Peer, peers_of
from wavestream.benchmarks.image_sets import IMAGE_SETS, Image, find_data, spread
from wavestream.benchmarks.rounds import OURS
from wavestream.benchmarks.tables import aligned, markdown
from wavestream.engine.codestream import read_codestream
from wavestream.engine.errors import InputError
from wavestream.engine.layers import encode_image, needed_ranges, segment_ends

ROOT = Path(__file__).resolve().parents[2]


def images() -> list[Image]:
    """Smooth images of hostile sizes, signed, unsigned, and of 8 bits."""
    random = np.random.default_rng(2)
    found = []
    for shape, dtype, low, high in (
        ((33, 47), "int16", -2048, 2047),
        ((64, 17), "uint16", 0, 65535),
        ((41, 40), "uint8", 0, 255),
    ):
        walk = random.normal(0, (high - low) / 200, shape).cumsum(0).cumsum(1) + (low + high) / 2
        found.append(Image(walk.clip(low, high).astype(dtype), (low, high)))
    return found


def test_every_peer_is_lossless_on_signed_and_unsigned_images() -> None:
    for image in images():
        peers = peers_of(image)
        assert tuple(peers) == PEERS
        for name, peer in peers.items():
            decoded = peer.decode(peer.encode(peer.pixels)).reshape(image.pixels.shape)
            np.testing.assert_array_equal(decoded, peer.pixels, err_msg=name)
            shift = 0 if peer.pixels.dtype == image.pixels.dtype else image.value_range[0]
            np.testing.assert_array_equal(peer.pixels.astype(np.int64) + shift, image.pixels, err_msg=name)


def test_peers_are_told_the_bits_in_use() -> None:
    pixels = np.random.default_rng(0).integers(0, 1024, (64, 64)).astype(np.uint16)
    codestream = peers_of(Image(pixels, (0, 1023)))["JPEG 2000"]
    assert read_codestream(codestream.encode(pixels)).precision == 10  # type: ignore[union-attr]
    sizes = [len(peer.encode(peer.pixels)) for high in (1023, 65535)
             for peer in (peers_of(Image(pixels, (0, high)))["JPEG XL effort 3"],)]  # fmt: skip
    assert sizes[0] < sizes[1]


def test_bytes_are_those_of_the_streams() -> None:
    sample = images()
    found = {entry.key: entry for entry in entries(sample)}
    peers = [peers_of(image)["HTJ2K"] for image in sample]
    sizes = [len(peer.encode(image.pixels)) for peer, image in zip(peers, sample, strict=True)]
    assert found["HTJ2K 1 full"].bytes == pytest.approx(np.mean(sizes))
    streams = [encode_image(image.pixels, image.value_range) for image in sample]
    assert found[f"{OURS} 1 full"].bytes == pytest.approx(np.mean([len(stream) for stream in streams]))
    for keep in KEEPS:
        for reduction, size in enumerate(("full", "1/2", "1/4", "1/8")):
            ranges = [needed_ranges(segment_ends(stream), KEEPS[:0:-1], keep, reduction) for stream in streams]
            needed = [sum(stop - start for start, stop in parts) for parts in ranges]
            assert found[f"{OURS} {keep:g} {size}"].bytes == pytest.approx(np.mean(needed))


def test_a_codec_that_changes_pixels_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(image: Image) -> dict[str, Peer]:
        peers = peers_of(image)
        return peers | {"PNG": replace(peers["PNG"], decode=lambda data: peers["PNG"].decode(data) ^ 1)}

    monkeypatch.setattr(bench_codec, "peers_of", broken)
    with pytest.raises(ArithmeticError, match="PNG is not lossless"):
        entries(images())


@pytest.mark.parametrize(
    ("keep", "reduction", "message"), [(0.01, 0, "other pixels at keep 0.01"), (1.0, 2, r"expected \(9, 12\) pixels")]
)
def test_our_own_codec_is_held_to_the_same(
    monkeypatch: pytest.MonkeyPatch, keep: float, reduction: int, message: str
) -> None:
    real = bench_codec.decode_image

    def broken(data: bytes, wanted: float, reduced: int) -> np.ndarray:
        decoded = real(data, wanted, reduced)
        if (wanted, reduced) != (keep, reduction):
            return decoded
        return decoded[:-1] if reduction else decoded + 1

    monkeypatch.setattr(bench_codec, "decode_image", broken)
    with pytest.raises(ArithmeticError, match=message):
        entries(images())


def test_the_table_has_ratios_to_every_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = images()
    pixels = sum(image.pixels.nbytes for image in sample) / 3

    def measured(contest: Any, rounds: int) -> Any:
        assert (contest.images, contest.threads, rounds) == (3, 1, 4)
        assert {run() for run in contest.contestants.values()} == {3}
        rates = dict.fromkeys(contest.contestants, 100e6 / pixels)
        rates |= {f"decode {OURS} 1 full": 200e6 / pixels, f"decode {OURS} 0.01 1/2": 1000e6 / pixels}
        rates |= {f"encode {OURS} 1 full": 50e6 / pixels, "decode PNG 1 full": 400e6 / pixels}
        return type("Measured", (), {"rates": rates})

    monkeypatch.setattr(bench_codec, "measure", measured)
    rows = rows_of(sample, 4)
    assert [row[0] for row in rows] == [*PEERS, *[OURS] * 20]
    assert all(len(row) == len(HEADER) for row in rows)
    png = dict(zip(HEADER, rows[1], strict=True))
    ours = next(dict(zip(HEADER, row, strict=True)) for row in rows if row[:3] == (OURS, "1", "full"))
    assert (png["encode MB/s"], png["decode MB/s"]) == ("100", "400")
    assert (png["encode: wavestream / peer"], png["decode: wavestream / peer"]) == ("0.50", "0.50")
    size = [float(row["bytes"].replace(",", "")) for row in (ours, png)]
    assert float(png["bytes: wavestream / peer"]) == pytest.approx(size[0] / size[1], abs=0.01)
    area = sum(image.pixels.size for image in sample) / 3
    assert float(ours["bits per pixel"]) == pytest.approx(8 * size[0] / area, rel=0.001)
    part = next(row for row in rows if row[:3] == (OURS, "0.01", "1/2"))
    assert part[5:7] == ("", "1,000")
    assert part[-1] == "JPEG 2000 10.0; HTJ2K 10.0"


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--sets", "synthetic", "--images", "1", "--rounds", "1", "--markdown"])
    printed = capsys.readouterr().out.splitlines()
    assert "medians of 1 interleaved rounds" in printed[0]
    assert "synthetic: 1 images, 512x512" in printed
    rows = [line for line in printed if line.startswith("| ")]
    assert len(rows) == 1 + len(PEERS) + 20
    assert all(line.count("|") == len(HEADER) + 1 for line in rows)


def test_sets_of_real_images(medical_data: Path) -> None:
    chests = IMAGE_SETS["nih_cxr_1024"](medical_data, 2)
    assert [image.pixels.shape for image in chests] == [(1024, 1024)] * 2
    assert not np.array_equal(chests[0].pixels, chests[1].pixels)
    assert {image.pixels.dtype.name for image in chests} == {"uint8"}
    sixteen = IMAGE_SETS["dicom_torture_16"](medical_data, 100)
    assert {image.pixels.dtype.name for image in sixteen} == {"uint16", "int16"}
    assert len({image.pixels.tobytes() for image in sixteen}) == len(sixteen) > 5
    lossy = IMAGE_SETS["dicom_torture_16_lossy"](medical_data, 100)
    assert len(lossy) > 3
    assert not {image.pixels.tobytes() for image in lossy} & {image.pixels.tobytes() for image in sixteen}
    assert max(image.pixels.size for image in sixteen) > 3_000_000
    for image in (*sixteen, *lossy):
        assert min(image.pixels.shape) >= 64
        assert image.value_range[0] <= image.pixels.min() <= image.pixels.max() <= image.value_range[1]


def test_where_images_come_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder with nih_cxr/ and dicom_torture/, got"):
        find_data(tmp_path)
    (tmp_path / "nih_cxr").mkdir()
    assert find_data(tmp_path) == tmp_path
    assert spread(list(range(10)), 3) == [0, 4, 9]
    assert spread([1, 2], 3) == [1, 2]


def test_tables() -> None:
    header, rows = ("name", "n"), [("a", "1"), ("long name", "1,000")]
    assert markdown(header, rows) == "| name | n |\n|---|---|\n| a | 1 |\n| long name | 1,000 |"
    assert aligned(header, rows) == "name           n\na              1\nlong name  1,000"


def test_every_contestant_is_collected_by_pytest() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "benchmarks/bench_codec.py"]
    listed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    for name in ("decode JPEG 2000 1 full", "encode wavestream 1 full", "decode wavestream 0.001 1/8"):
        assert f"::test_speed[{name}]" in listed
