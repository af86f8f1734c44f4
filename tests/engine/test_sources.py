"""Listing input files: order, links, exclusions, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wavestream.engine.errors import InputError
from wavestream.engine.sources import find_sources


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_names_are_sorted_by_code_point_whatever_the_order_on_disk(tmp_path: Path) -> None:
    touch(tmp_path, "b/1", "a/10", "a/2", "Z", "a.dcm", "é")
    assert find_sources(tmp_path).names == ("Z", "a.dcm", "a/10", "a/2", "b/1", "é")
    assert find_sources(tmp_path).path(2) == tmp_path / "a/10"


def test_links_are_followed_and_loops_are_entered_once(tmp_path: Path) -> None:
    touch(tmp_path, "data/one", "elsewhere/two")
    (tmp_path / "data/up").symlink_to(tmp_path / "data")
    (tmp_path / "data/again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/broken").symlink_to(tmp_path / "nowhere")
    assert find_sources(tmp_path / "data").names == ("again/two", "broken", "one")


def test_excluded_files_and_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a", "labels.csv", "s.zarr/zarr.json", "s.zarr/images/c/0", "s.zarr.manifest/salt", "b/s.zarr")
    excluded = [tmp_path / "s.zarr", tmp_path / "s.zarr.manifest", tmp_path / "labels.csv"]
    assert find_sources(tmp_path, excluded).names == ("a", "b/s.zarr")


def test_one_file_and_a_list_are_relative_to_their_common_folder(tmp_path: Path) -> None:
    touch(tmp_path, "x/a", "x/y/b", "z/c")
    assert find_sources(tmp_path / "x/a").names == ("a",)
    listed = find_sources([tmp_path / "x/y/b", str(tmp_path / "x/a")])
    assert (listed.root, listed.names) == (tmp_path / "x", ("a", "y/b"))
    assert find_sources([tmp_path / "x", tmp_path / "z/c"]).names == ("x/a", "x/y/b", "z/c")


def test_relative_paths_do_not_depend_on_a_later_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "data/a")
    monkeypatch.chdir(tmp_path)
    sources = find_sources("data")
    os.chdir("/")
    assert sources.path(0) == tmp_path / "data/a"


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty/below").mkdir(parents=True)
    with pytest.raises(InputError, match="no such file or folder"):
        find_sources(tmp_path / "missing")
    with pytest.raises(InputError, match=r"no files to ingest in .*empty"):
        find_sources(tmp_path / "empty")
    with pytest.raises(InputError, match="empty list"):
        find_sources([])


def test_a_file_named_twice_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/1", "a/2")
    with pytest.raises(InputError, match=r"1 files are named more than once.*a/1"):
        find_sources([tmp_path / "a", tmp_path / "a/1"])
