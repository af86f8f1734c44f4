"""Where a store's bytes lie: in a local folder, or in a remote one that fsspec reaches.

Both give the files of a store by their names within it. A file is read by ranges of bytes: a local one exactly these
(mapped into memory it would be read ahead: 890 KB for 300 bytes, measured), a remote one also what lies between ranges
that are close, to save requests.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from wavestream.engine.errors import InputError, MissingExtraError

Range = tuple[int, int]

# A remote request costs about as much as this many bytes of the answer, so ranges that lie closer are fetched as one.
GAP = 1 << 16
# Requests on their way at once: threads that wait for a remote store cost little.
REMOTE_LANES = 16


class ByteSource(Protocol):
    """One file, read by ranges. Safe to use from several threads. Raises OSError where bytes cannot be had."""

    def tail(self, length: int) -> memoryview:
        """The last ``length`` bytes; all of them where the file is shorter."""
        ...

    def read(self, start: int, ranges: Sequence[Range]) -> memoryview:
        """The bytes from ``start`` to the end of the last range.

        Args:
            start: where the ranges count from.
            ranges: first byte and end of each, ascending, apart, at least one.

        Returns:
            as many bytes as the last range's end; what lies between ranges may be anything.
        """
        ...


class Folder(Protocol):
    """The folder of a store. Safe to use from several threads, after a fork, and pickled.

    Attributes:
        location: what a user calls it: path or URL.
        lanes: how many reads at once it takes to keep it busy.
    """

    location: str
    lanes: int

    def contents(self, name: str) -> bytes:
        """All bytes of a file. Raises OSError, FileNotFoundError where there is none."""
        ...

    def open(self, name: str) -> ByteSource:
        """A file to read ranges of. Raises OSError, FileNotFoundError where there is none, now or when it is read."""
        ...

    def within(self, name: str) -> Path | str:
        """Path or URL of a file or folder in it."""
        ...


def folder_at(location: str | Path) -> Folder:
    """The folder at a path or at a URL that fsspec knows (``s3://``, ``gs://``, ``https://``, ``memory://``, ...).

    Raises:
        MissingExtraError: a URL without fsspec.
        InputError: fsspec does not know the URL, or lacks the package for its protocol.
    """
    text = str(location)
    if text.startswith("file://"):
        return LocalFolder(Path(text.removeprefix("file://")))
    return RemoteFolder(text) if "://" in text else LocalFolder(Path(location))


class LocalFolder:
    """A folder of this machine; see :class:`Folder`."""

    lanes = 1

    def __init__(self, path: Path) -> None:
        self.path = path
        self.location = str(path)

    def contents(self, name: str) -> bytes:
        return self.within(name).read_bytes()

    def open(self, name: str) -> ByteSource:
        return LocalFile(self.within(name))

    def within(self, name: str) -> Path:
        return self.path / name


class LocalFile:
    """A file of this machine; see :class:`ByteSource`."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)

    def tail(self, length: int) -> memoryview:
        size = self._size()
        length = min(length, size)
        return memoryview(self._piece(size - length, length))

    def read(self, start: int, ranges: Sequence[Range]) -> memoryview:
        # Before memory is allocated for them.
        if start + ranges[-1][1] > self._size():
            raise OSError(f"bytes {start} to {start + ranges[-1][1]} lie beyond the end of the file of {self._size()}")
        return _in_place(ranges, [self._piece(start + low, high - low) for low, high in ranges])

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def _piece(self, start: int, length: int) -> bytes:
        # Has no position that threads could fight over, and waits without the GIL.
        piece = os.pread(self._file.fileno(), length, start)
        if len(piece) < length:
            raise OSError(_cut_short(start, length, len(piece)))
        return piece


class RemoteFolder:
    """A folder that fsspec reaches by a URL; see :class:`Folder`.

    Raises:
        MissingExtraError: fsspec is not installed.
        InputError: fsspec does not know the URL, or lacks the package for its protocol.
    """

    lanes = REMOTE_LANES

    def __init__(self, url: str) -> None:
        self.location = url.rstrip("/")
        self._connect()

    def __reduce__(self) -> tuple[type[RemoteFolder], tuple[str]]:
        return RemoteFolder, (self.location,)

    def contents(self, name: str) -> bytes:
        return _answer(self._filesystem.cat_file, self._path(name))

    def open(self, name: str) -> ByteSource:
        return RemoteFile(self._filesystem, self._path(name))

    def within(self, name: str) -> str:
        return f"{self.location}/{name}"

    @property
    def _filesystem(self) -> Any:
        if self._pid != os.getpid():
            # fsspec's connections do not survive a fork.
            self._connect()
        return self._connected

    def _connect(self) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise MissingExtraError("fsspec", "remote", f"a store at {self.location}") from error
        try:
            self._connected, self._root = url_to_fs(self.location)
        except (ImportError, ValueError) as error:
            raise InputError(
                f"cannot read a store at {self.location}: {error}; expected a path, or a URL that fsspec can reach"
            ) from error
        self._pid = os.getpid()

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


class RemoteFile:
    """A file of an fsspec file system; see :class:`ByteSource`.

    Ranges at most :data:`GAP` bytes apart are fetched by one request, those of one read at the same time.
    """

    def __init__(self, filesystem: Any, path: str) -> None:
        self._filesystem = filesystem
        self._path = path

    def tail(self, length: int) -> memoryview:
        data = _answer(self._filesystem.cat_file, self._path, start=-length)
        if len(data) > length:
            raise OSError(_whole_file(length, len(data)))
        return memoryview(data)

    def read(self, start: int, ranges: Sequence[Range]) -> memoryview:
        requests = merged(ranges, GAP)
        first, stops = [start + low for low, _ in requests], [start + high for _, high in requests]
        pieces = _answer(self._filesystem.cat_ranges, [self._path] * len(requests), first, stops, on_error="raise")
        for (low, high), piece in zip(requests, pieces, strict=True):
            if len(piece) > high - low:
                raise OSError(_whole_file(high - low, len(piece)))
            if len(piece) < high - low:
                raise OSError(_cut_short(start + low, high - low, len(piece)))
        return _in_place(requests, pieces)


def merged(ranges: Sequence[Range], gap: int) -> list[Range]:
    """Ascending ranges, those at most ``gap`` bytes apart as one."""
    together = [ranges[0]]
    for start, stop in ranges[1:]:
        if start - together[-1][1] <= gap:
            together[-1] = (together[-1][0], stop)
        else:
            together.append((start, stop))
    return together


def _in_place(ranges: Sequence[Range], pieces: Sequence[bytes]) -> memoryview:
    """A buffer with each piece at its range."""
    if len(ranges) == 1 and ranges[0][0] == 0:
        return memoryview(pieces[0])
    buffer = np.empty(ranges[-1][1], np.uint8).data
    for (low, high), piece in zip(ranges, pieces, strict=True):
        buffer[low:high] = piece
    return buffer


def _answer(request: Any, *arguments: Any, **options: Any) -> Any:
    """Call fsspec; every protocol has errors of its own, they leave here as OSError."""
    try:
        return request(*arguments, **options)
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def _cut_short(start: int, expected: int, found: int) -> str:
    return f"the file ends early: expected {expected} bytes from byte {start} on, got {found}"


def _whole_file(expected: int, found: int) -> str:
    return f"expected {expected} bytes, got {found}: the server ignores byte ranges; use one that serves them"
