"""``wavestream export`` end to end: it does what the function does, and says what it did or what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from wavestream.__main__ import main
from wavestream.engine.export import FORMATS, export
from wavestream.engine.store import open_store


def test_the_command_does_what_the_function_does(
    layered_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(layered_store), str(tmp_path / "command"), "--format", "png", "--keep", "0.01"]
    assert main([*words, "--resolution", "1/2", "--jobs", "2", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{tmp_path / 'command'}: 45 images as png; ")
    assert printed.err == ""
    export(layered_store, tmp_path / "function", format="png", keep=0.01, resolution="1/2", progress=False)
    contents = [
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("command", "function")
    ]
    assert contents[0] == contents[1]
    assert main([*words, "--resolution", "1/2"]) == 0
    printed = capsys.readouterr()
    assert "45 of them were there already" in printed.out
    assert "exporting: 100%" in printed.err


def test_lossless_and_in_full_unless_told_otherwise(layered_store: Path, tmp_path: Path) -> None:
    assert main(["export", str(layered_store), str(tmp_path / "out"), "--format", "zarr-zstd", "--quiet"]) == 0
    before, after = open_store(layered_store), open_store(tmp_path / "out")
    assert after.table["pixel_sha256"].tobytes() == before.table["pixel_sha256"].tobytes()


def test_help_tells_the_formats(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    printed = capsys.readouterr().out
    assert all(f"\n  {form} " in printed for form in FORMATS)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["STORE", "OUT", "--format", "png", "--keep", "2"], 2, "keep: expected a fraction in (0, 1], got 2.0"),
        (["STORE", "OUT", "--format", "png", "--resolution", "1/2"], 2, "ingest again with the layers codec"),
        (["STORE", "STORE", "--format", "png"], 2, "choose another folder"),
        (["no-such-store.zarr", "OUT", "--format", "png"], 1, "no store at no-such-store.zarr"),
    ],
)
def test_mistakes_end_in_one_line(
    words: list[str], status: int, message: str, tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"STORE": str(tiny_store), "OUT": str(tmp_path / "out")}
    assert main(["export", *(names.get(word, word) for word in words), "--quiet"]) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("wavestream export: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
