"""Which files an ingest reads, in which order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wavestream.engine.errors import InputError


@dataclass(frozen=True)
class Sources:
    """The input files of an ingest.

    Attributes:
        root: folder that the names are relative to.
        names: paths relative to ``root``, with forward slashes, sorted by code point: the order of the store.
    """

    root: Path
    names: tuple[str, ...]

    def path(self, index: int) -> Path:
        """Absolute path of one file."""
        return self.root / self.names[index]


def find_sources(source: str | Path | Sequence[str | Path], exclude: Iterable[Path] = ()) -> Sources:
    """List the files of a folder and all folders below it, or those named.

    Links to folders are followed, each folder is entered once, and nothing is judged here: files that are no images
    are listed too, so that they can be reported.

    Args:
        source: a folder, a file, or a list of them.
        exclude: files and folders to leave out: the store itself, its manifest, the label CSV.

    Raises:
        InputError: something named does not exist or is named twice, or no file is found.
    """
    named = [source] if isinstance(source, str | Path) else list(source)
    if not named:
        raise InputError("expected a folder, a file or a list of files to ingest, got an empty list")
    paths = [Path(os.path.abspath(path)) for path in named]
    for path in paths:
        if not os.path.lexists(path):
            raise InputError(f"no such file or folder: {path}")
    excluded = {Path(os.path.abspath(path)) for path in exclude}
    files: list[Path] = []
    entered: set[tuple[int, int]] = set()
    for path in paths:
        if path.is_dir():
            files += _walk(path, excluded, entered)
        else:
            files.append(path)
    if not files:
        where = ", ".join(map(str, paths[:10]))
        raise InputError(f"no files to ingest in {where}: expected DICOM, PNG, JPEG or NPY files")
    twice = sorted(path for path, count in Counter(files).items() if count > 1)
    if twice:
        raise InputError(f"{len(twice)} files are named more than once, for example {twice[0]}: name each file once")
    root = paths[0] if len(paths) == 1 and paths[0].is_dir() else _common_folder(files)
    return Sources(root, tuple(sorted(path.relative_to(root).as_posix() for path in files)))


def _walk(folder: Path, excluded: set[Path], entered: set[tuple[int, int]]) -> list[Path]:
    files = []
    for current, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(current)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        here = Path(current)
        folders[:] = sorted(name for name in folders if here / name not in excluded)
        files += [here / name for name in names if here / name not in excluded]
    return files


def _common_folder(files: list[Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in files]))
