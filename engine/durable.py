"""Files that are there whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_durably(path: Path, content: bytes) -> None:
    """Write a file by way of a temporary one beside it: write, flush to disk, rename."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file durably; keys are sorted, so that equal values are equal bytes."""
    write_durably(path, json.dumps(value, sort_keys=True, indent=1).encode())


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Flush every file and folder below ``path`` to disk."""
    for current, _, names in os.walk(path):
        for name in names:
            with (Path(current) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(current))
