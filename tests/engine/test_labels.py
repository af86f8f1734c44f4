"""Label CSVs: reading, and finding the files that rows are about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wavestream.engine.errors import InputError
from wavestream.engine.labels import match_files, read_label_file
from wavestream.engine.sources import Sources, find_sources

MakeCsv = Callable[..., Path]


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    for name in ("data/a.dcm", "data/sub/b.dcm", "data/x/same.dcm", "data/y/same.dcm", "data/z/same.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return find_sources(tmp_path / "data")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("prefix", ["", "\ufeff"])
def test_reading_with_any_delimiter_quotes_blanks_and_byte_order_mark(
    tmp_path: Path, delimiter: str, prefix: str
) -> None:
    text = f'{prefix}file{delimiter} sex \r\n"a{delimiter}b"{delimiter} M \r\n\r\n"two\nlines"{delimiter}F\r\n'
    (tmp_path / "l.csv").write_text(text, encoding="utf-8", newline="")
    labels = read_label_file(tmp_path / "l.csv")
    assert labels.columns == {"file": [f"a{delimiter}b", "two\nlines"], "sex": ["M", "F"]}
    assert labels.lines == [2, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"file,sex\n", "got no rows"),
        (b"file,sex\na,M\nb\n", r"line 3: expected 2 fields as in the header, got 1"),
        (b"file,sex,sex\na,M,F\n", "names 'sex' more than once"),
        (b"file,,sex\na,M,F\n", "column 2 has no name"),
        ("file,sex\na,M\nJürgen,F\n".encode("latin-1"), "line 3: not UTF-8"),
    ],
)
def test_broken_files_are_refused_with_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "l.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_label_file(tmp_path / "l.csv")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.csv cannot be read: No such file"):
        read_label_file(tmp_path / "nowhere.csv")


def test_files_are_found_in_every_way(tmp_path: Path, sources: Sources, make_csv: MakeCsv) -> None:
    rows = [("data/x/same.dcm",), ("b.dcm",), ("y/same.dcm",), (str(tmp_path / "data/z/same.dcm"),)]
    labels = read_label_file(make_csv(["path"], *rows))
    assert {sources.names[index]: row for index, row in match_files(labels, sources).items()} == {
        "x/same.dcm": 0,  # relative to the CSV
        "sub/b.dcm": 1,  # by its name alone
        "y/same.dcm": 2,  # relative to the source
        "z/same.dcm": 3,  # absolute
    }


@pytest.mark.parametrize("column", ["file", "filename", "path", "image"])
def test_the_file_column_is_found_by_its_usual_names(sources: Sources, make_csv: MakeCsv, column: str) -> None:
    labels = read_label_file(make_csv(["sex", column], ["M", "a.dcm"]))
    assert match_files(labels, sources) == {0: 0}


def test_the_file_column_can_be_named(sources: Sources, make_csv: MakeCsv) -> None:
    labels = read_label_file(make_csv(["scan", "file"], ["a.dcm", "other"]))
    assert match_files(labels, sources, "scan") == {0: 0}
    with pytest.raises(InputError, match="no file column 'Scan'; its columns are scan, file"):
        match_files(labels, sources, "Scan")
    nameless = read_label_file(make_csv(["scan"], ["a.dcm"]))
    with pytest.raises(InputError, match="say which one names the image files"):
        match_files(nameless, sources)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.dcm", "gone.dcm", "too.dcm"], r"lines 3, 4: 2 rows name files .*'gone.dcm', 'too.dcm'"),
        (["a.dcm", ""], r"line 3: 1 rows name files"),
        (["a.dcm", "data/a.dcm"], r"lines 2, 3: two rows for the file a.dcm"),
        (["same.dcm"], r"line 2: 'same.dcm' fits 3 input files \(x/same.dcm, y/same.dcm, z/same.dcm\)"),
        (["1.png", "2.png"], r"none of its 2 rows .* for example '1.png', an input file is '.*data/a.dcm'"),
    ],
)
def test_rows_that_fit_no_file_or_two_are_refused(
    sources: Sources, make_csv: MakeCsv, names: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        match_files(read_label_file(make_csv(["file", "sex"], *([name, "M"] for name in names))), sources)


def test_only_the_first_ten_unknown_files_are_named(sources: Sources, make_csv: MakeCsv) -> None:
    labels = read_label_file(make_csv(["file"], ["a.dcm"], *([f"{number}.dcm"] for number in range(15))))
    with pytest.raises(InputError, match="and 5 more: 15 rows") as caught:
        match_files(labels, sources)
    assert "'9.dcm'" in str(caught.value)
    assert "'10.dcm'" not in str(caught.value)
