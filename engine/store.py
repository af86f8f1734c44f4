"""Open a store: header, table, labels and frozen split. Pixels are read by :mod:`wavestream.engine.reader`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from wavestream.engine.bytesource import Folder, LocalFolder, folder_at
from wavestream.engine.errors import InputError, StoreError
from wavestream.engine.layer_fractions import check_layer_fractions
from wavestream.engine.schema import CODECS, FORMAT_VERSION, SPLITS, StoreHeader

HEADER_ATTRIBUTE = "wavestream"
EXPORT_ATTRIBUTE = "wavestream_export"
"""What an exported store says of the export; it is there before the header is."""
_UNFINISHED = "its ingest did not finish: run ingest again with the same input to complete it"
_DTYPES = ("uint8", "uint16", "int16", "int32")


class LazyColumns(Mapping[str, NDArray[Any]]):
    """Named arrays, each loaded when it is first asked for and kept."""

    def __init__(self, names: tuple[str, ...], load: Callable[[str], NDArray[Any]]) -> None:
        self._names = names
        self._load = load
        self._loaded: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Store:
    """A finished store, opened for reading; made by :func:`open_store`. Pickles as its location.

    Attributes:
        folder: where it lies.
        header: what the store says of itself.
        table: technical columns, name -> (N,) array (``*_sha256``: (N, 32), ``layer_ends``:
            (N, layers, 4)); see ``schema.TABLE`` and ``schema.table_columns``.
        labels: label columns, name -> (N,) array: int16 codes (-1 missing) or float64 (NaN missing).
    """

    def __init__(self, folder: Folder, header: StoreHeader, label_names: tuple[str, ...]) -> None:
        self.folder = folder
        self.header = header
        self.table: Mapping[str, NDArray[Any]] = LazyColumns(tuple(header.columns), self._load_table)
        self.labels: Mapping[str, NDArray[Any]] = LazyColumns(label_names, self._load_label)

    def __len__(self) -> int:
        return self.header.count

    def __repr__(self) -> str:
        height, width = self.header.canvas
        return f"Store({self.location!r}: {self.header.count} images {height}x{width} {self.header.dtype})"

    def __reduce__(self) -> tuple[Callable[[str], Store], tuple[str]]:
        return open_store, (self.location,)

    @property
    def location(self) -> str:
        """Path or URL of the store."""
        return self.folder.location

    @property
    def path(self) -> Path:
        """Folder of the store on this machine.

        Raises:
            InputError: the store is remote.
        """
        if not isinstance(self.folder, LocalFolder):
            raise InputError(f"this needs a store on this machine, and {self.location} is remote: copy it here first")
        return self.folder.path

    def split_indices(self, split: str) -> NDArray[np.int64]:
        """Indices of the images in a split (``train``, ``val``, ``test`` or ``none``), ascending: (n,) int64.

        Raises:
            InputError: no such split.
        """
        if split not in SPLITS:
            raise InputError(f"expected a split out of {', '.join(SPLITS)}, got {split!r}")
        return np.flatnonzero(self.table["split"] == SPLITS.index(split)).astype(np.int64)

    def categories(self, name: str) -> tuple[str, ...] | None:
        """The categories of a label column in the order of their codes; None for a numeric column.

        Raises:
            InputError: no such label column.
        """
        self._require_label(name)
        attributes = _open_array(self.folder, f"labels/{name}").attrs
        found: Any = attributes.get("categories")
        return None if found is None else tuple(str(value) for value in found)

    def target(self, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """A label column to classify by.

        Returns:
            codes: (N,) int64, -1 where the label is missing; and the categories that the codes 0, 1, ... stand for.

        Raises:
            InputError: no such label column, or it is numeric.
        """
        categories = self.categories(name)
        if categories is None:
            raise InputError(
                f"expected a categorical label column as target, got the numeric column {name!r} in {self.location}: "
                "bin it into classes in the label CSV and run ingest again, or choose another target"
            )
        codes = self.labels[name].astype(np.int64)
        if codes.size and (codes.min() < -1 or codes.max() >= len(categories)):
            raise StoreError(f"{self.location}: labels/{name} holds codes outside its {len(categories)} categories")
        return codes, categories

    def _require_label(self, name: str) -> None:
        if name not in self.labels:
            known = ", ".join(self.labels) or "none: it was ingested without labels"
            raise InputError(f"no label column {name!r} in {self.location}; it has {known}")

    def _load_table(self, name: str) -> NDArray[Any]:
        column = self.header.columns[name]
        values = _read_array(self.folder, f"table/{name}")
        expected = (self.header.count, *column.shape)
        if values.shape != expected or values.dtype != np.dtype(column.dtype):
            raise StoreError(
                f"{self.location}: table/{name} is {values.dtype} {values.shape}, expected {column.dtype} {expected}; "
                "the store is damaged: ingest again"
            )
        return values

    def _load_label(self, name: str) -> NDArray[Any]:
        values = _read_array(self.folder, f"labels/{name}")
        if values.shape != (self.header.count,):
            raise StoreError(
                f"{self.location}: labels/{name} has shape {values.shape}, expected ({self.header.count},)"
            )
        return values


def open_store(path: str | Path) -> Store:
    """Open a store for reading.

    Args:
        path: folder of the store, or a URL that fsspec can read it at (``s3://``, ``https://``, ``memory://``, ...).

    Raises:
        StoreError: nothing there; not a wavestream store; its ingest did not finish; written by a newer version;
            damaged metadata.
        InputError: a URL that fsspec cannot read.
        MissingExtraError: a URL without fsspec.
    """
    folder = folder_at(path)
    attributes = _group_metadata(folder).get("attributes", {})
    value = attributes.get(HEADER_ATTRIBUTE)
    if value is None:
        if EXPORT_ATTRIBUTE in attributes:
            raise StoreError(f"{folder.location}: its export did not finish: run the same export again to complete it")
        if isinstance(folder, LocalFolder) and _unfinished(folder.path):
            raise StoreError(f"{folder.location}: {_UNFINISHED}")
        raise StoreError(
            f"{folder.location} is a Zarr group but not a wavestream store: expected the attribute 'wavestream'"
        )
    header = _header(folder.location, value)
    return Store(folder, header, _label_names(folder) if header.labels is None else header.labels)


def _group_metadata(folder: Folder) -> dict[str, Any]:
    location = folder.location
    try:
        text = folder.contents("zarr.json")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if isinstance(folder, LocalFolder) and _unfinished(folder.path):
            raise StoreError(f"{location}: {_UNFINISHED}") from error
        if isinstance(folder, LocalFolder) and folder.path.exists():
            raise StoreError(f"{location} is not a wavestream store: it has no zarr.json") from error
        raise StoreError(f"no store at {location}: expected the folder that ingest wrote") from error
    except OSError as error:
        raise StoreError(f"{folder.within('zarr.json')} cannot be read ({error})") from error
    try:
        metadata = json.loads(text)
    except ValueError as error:
        raise StoreError(
            f"{folder.within('zarr.json')} cannot be read ({error}): the store is damaged, ingest again"
        ) from error
    if not isinstance(metadata, dict) or metadata.get("node_type") != "group":
        raise StoreError(f"{location} is not a wavestream store: expected a Zarr v3 group in zarr.json")
    return metadata


def _unfinished(path: Path) -> bool:
    """Whether an ingest into ``path`` was begun and not finished."""
    return (path / "images").exists() or path.with_name(path.name + ".manifest").exists()


def _label_names(folder: Folder) -> tuple[str, ...]:
    """The label columns of a store whose header does not list them: a remote folder that lists nothing has none."""
    try:
        group = zarr.open_group(folder.within("labels"), mode="r")
    except FileNotFoundError:
        return ()
    return tuple(sorted(group.array_keys()))


def _header(location: str, value: Any) -> StoreHeader:
    """The checked header; the format comes first, as later formats may change everything else."""
    found = value.get("format") if isinstance(value, dict) else None
    if isinstance(found, int) and found > FORMAT_VERSION:
        raise StoreError(
            f"{location} has format {found}, this version reads up to {FORMAT_VERSION}: install a newer wavestream"
        )
    try:
        header = StoreHeader.from_json(value)
        height, width = header.canvas
        sound = header.format >= 1 and header.count >= 0 and height > 0 and width > 0 and header.dtype in _DTYPES
        sound = sound and header.codec in CODECS and check_layer_fractions(header.layers) == header.layers
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{location}: damaged header ({error!r}): ingest again") from error
    if not sound:
        raise StoreError(f"{location}: damaged header {header}: ingest again")
    return header


def _open_array(folder: Folder, name: str) -> zarr.Array[Any]:
    try:
        return zarr.open_array(folder.within(name), mode="r")
    except Exception as error:  # of zarr, or of whatever a remote store comes through
        raise StoreError(f"{folder.location}: {name} is missing or damaged ({error}): ingest again") from error


def _read_array(folder: Folder, name: str) -> NDArray[Any]:
    array = _open_array(folder, name)
    try:
        return np.asarray(array[...])
    except Exception as error:
        raise StoreError(f"{folder.location}: {name} cannot be read ({error}): ingest again") from error
