"""An export as one file per image, ``images/000123.<suffix>``, and ``table.csv`` beside them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from wavestream.engine.durable import write_durably
from wavestream.engine.export_source import ExportSource
from wavestream.engine.export_table import table_csv
from wavestream.engine.ordered import map_ordered

TABLE_FILE = "table.csv"
IMAGES = "images"
_DIGITS = 6


class FileFormat(NamedTuple):
    """One file per image.

    Attributes:
        suffix: of the files' names, without the dot.
        encode: the content of an image's file, by index; called from several threads.
        offsets: what is subtracted from each image's stored values, (N,).
    """

    suffix: str
    encode: Callable[[int], bytes]
    offsets: list[int]


def write_files(source: ExportSource, form: FileFormat, target: Path, jobs: int, progress: bool) -> int:
    """Write the files that are not there yet, and the table last; returns how many images were written.

    A file gets its name when it is complete and on disk.
    """
    folder = target / IMAGES
    folder.mkdir(exist_ok=True)
    digits = max(_DIGITS, len(str(len(source) - 1)))
    names = [f"{index:0{digits}d}.{form.suffix}" for index in range(len(source))]
    there = {path.name for path in folder.iterdir()}
    missing = [index for index, name in enumerate(names) if name not in there]

    def write(index: int) -> None:
        write_durably(folder / names[index], form.encode(index))

    done = len(source) - len(missing)
    with closing(map_ordered(write, missing, jobs)) as written:
        for _ in tqdm(written, "exporting", len(source), initial=done, unit="image", disable=not progress):
            pass
    table = table_csv(source, [f"{IMAGES}/{name}" for name in names], form.offsets)
    write_durably(target / TABLE_FILE, table.encode())
    return len(missing)
