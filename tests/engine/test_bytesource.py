"""Local and remote folders: the same bytes by ranges, in few requests, from memory and from a real HTTP server."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wavestream.engine import bytesource
from wavestream.engine.bytesource import LocalFolder, RemoteFile, RemoteFolder, folder_at, merged
from wavestream.engine.errors import InputError, MissingExtraError, StoreError
from wavestream.engine.layers import needed_ranges
from wavestream.engine.reader import Reader
from wavestream.engine.store import open_store

fsspec = pytest.importorskip("fsspec", reason="fsspec, which reads remote stores, is not installed")


class RangeServer(ThreadingHTTPServer):
    """Serves the files of a folder by byte ranges, and no listings, as object stores do behind HTTPS.

    Attributes:
        requests: (path, Range header) of each GET.
        ranges: False: ignore byte ranges and send whole files.
        status: an error to answer with, or None.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True
        self.status: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{self.folder.name}"


class _Handler(BaseHTTPRequestHandler):
    server: RangeServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range")))
        self._answer(send=True)

    def _answer(self, send: bool) -> None:
        file = self.server.folder.parent / self.path.lstrip("/")
        if self.server.status or not file.is_file():
            self.send_response(self.server.status or 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data, asked = file.read_bytes(), self.headers.get("Range")
        partial = asked is not None and self.server.ranges
        if partial:
            first, last = asked.removeprefix("bytes=").split("-")
            total = len(data)
            data = data[-int(last) :] if not first else data[int(first) : int(last) + 1 if last else None]
            if not data:
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes */{total}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if send:
            self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing on standard error."""


@pytest.fixture
def server(layered_store: Path) -> Iterator[RangeServer]:
    pytest.importorskip("aiohttp", reason="aiohttp, which fsspec needs for HTTP, is not installed")
    with RangeServer(layered_store) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def in_memory(layered_store: Path) -> Iterator[str]:
    """URL of a copy of ``layered_store`` in fsspec's memory."""
    memory = fsspec.filesystem("memory")
    memory.put(str(layered_store), "/stores/tiny.zarr", recursive=True)
    yield "memory://stores/tiny.zarr"
    memory.rm("/stores", recursive=True)


KEEP = np.resize([1.0, 0.1, 0.01, 0.05, 0.0001], 45)


@pytest.mark.parametrize("reduction", [0, 2])
def test_a_store_in_memory_reads_like_the_local_one(layered_store: Path, in_memory: str, reduction: int) -> None:
    local, remote = (Reader(open_store(place), 2) for place in (layered_store, in_memory))
    expected = local.read(range(45), KEEP, reduction)
    np.testing.assert_array_equal(remote.read(range(45), KEEP, reduction), expected)
    assert remote.bytes_read == local.bytes_read
    opened, original = remote.store, local.store
    assert opened.location == in_memory
    assert list(opened.labels) == ["sex"]
    assert opened.categories("sex") == ("F", "M")
    for name, values in original.table.items():
        np.testing.assert_array_equal(opened.table[name], values)


@pytest.mark.parametrize("reduction", [0, 1])
def test_a_store_behind_http_reads_like_the_local_one(layered_store: Path, server: RangeServer, reduction: int) -> None:
    local, remote = (Reader(open_store(place), 2) for place in (layered_store, server.url))
    np.testing.assert_array_equal(remote.read(range(45), KEEP, reduction), local.read(range(45), KEEP, reduction))
    assert remote.bytes_read == local.bytes_read
    assert list(remote.store.labels) == ["sex"]


def test_a_zstd_store_may_be_remote(tiny_store: Path) -> None:
    fsspec.filesystem("memory").put(str(tiny_store), "/plain.zarr", recursive=True)
    try:
        remote, local = (Reader(open_store(place), 2) for place in ("memory://plain.zarr", tiny_store))
        np.testing.assert_array_equal(remote.read(range(45)), local.read(range(45)))
        assert remote.bytes_read == local.bytes_read
        assert list(remote.store.labels) == ["sex"]
    finally:
        fsspec.filesystem("memory").rm("/plain.zarr", recursive=True)


def test_one_request_for_an_index_and_one_for_an_image_whose_ranges_are_close(server: RangeServer) -> None:
    store = open_store(server.url)
    reader = Reader(store, 2)
    server.requests.clear()
    reader.read(range(8), 0.01)
    shard, ends = f"/{server.folder.name}/images/c/0/0/0", store.table["layer_ends"]
    shards = [request for request in server.requests if request[0] == shard]
    assert shards[0] == (shard, f"bytes=-{8 * 16 + 4}")
    assert len(shards) == 1 + 8
    lengths = {1 + int(last) - int(first) for first, last in (found[6:].split("-") for _, found in shards[1:])}  # type: ignore[index]
    assert lengths == set(ends[:8, 2, 3].tolist())
    server.requests.clear()
    reader.read([2], reduction=1)
    ((_, header),) = server.requests
    first, last = map(int, header.removeprefix("bytes=").split("-"))  # type: ignore[union-attr]
    # The finest subbands of all layers but the last come along, and do not count.
    assert last + 1 - first == ends[2, 4, 2]
    server.requests.clear()
    reader.read([2], 0.001)
    assert [path for path, _ in server.requests] == [shard]


def test_ranges_that_are_far_apart_are_fetched_apart(
    server: RangeServer, write_store: Any, in_layers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(5).integers(0, 4096, (160, 170), np.uint16)
    server.folder = in_layers(write_store(tmp_path / "s.zarr", [image]), tmp_path / "l.zarr", (0.3, 0.6))
    remote, local = Reader(open_store(server.url), 2), Reader(open_store(server.folder), 2)
    np.testing.assert_array_equal(remote.read([0]), image[None])
    needed = needed_ranges(remote.store.table["layer_ends"][0], (0.3, 0.6), 1.0, 2)
    assert len(needed) == 3
    for gap in (0, 1 << 20):
        monkeypatch.setattr(bytesource, "GAP", gap)
        server.requests.clear()
        before = remote.bytes_read
        np.testing.assert_array_equal(remote.read([0], reduction=2), local.read([0], reduction=2))
        spans = [header.removeprefix("bytes=") for _, header in server.requests if header]
        asked = needed if not gap else [(0, needed[-1][1])]
        assert sorted(spans) == sorted(f"{first}-{end - 1}" for first, end in asked)
        assert remote.bytes_read - before == sum(end - first for first, end in needed)


def test_close_ranges_are_merged() -> None:
    ranges = [(0, 5), (8, 10), (14, 20)]
    assert merged(ranges, 0) == ranges
    assert merged(ranges, 3) == [(0, 10), (14, 20)]
    assert merged(ranges, 4) == [(0, 20)]
    assert merged([(3, 4)], 9) == [(3, 4)]


def test_a_server_that_ignores_ranges_is_refused(server: RangeServer) -> None:
    reader = Reader(open_store(server.url), 2)
    server.ranges = False
    with pytest.raises(StoreError, match=r"image 4 \(shard 0, http://.*the server ignores byte ranges"):
        reader.read([4])
    server.ranges = True
    reader.read([5])
    server.ranges = False
    with pytest.raises(StoreError, match=r"image 4 .*expected \d+ bytes, got \d+: the server ignores byte ranges"):
        reader.read([4])


def test_errors_of_a_remote_store_name_image_and_shard(
    server: RangeServer, layered_store: Path, tmp_path: Path
) -> None:
    reader = Reader(open_store(server.url), 2)
    reader.read([4])
    server.status = 503
    for index, shard in ((4, 0), (17, 2)):
        with pytest.raises(StoreError, match=rf"image {index} \(shard {shard}, http://.*c/{shard}/0/0\): .*503"):
            reader.read([index])
    server.status = None
    reader.read([4, 17])
    server.folder = Path(shutil.copytree(layered_store, tmp_path / layered_store.name))
    file = server.folder / "images" / "c" / "3" / "0" / "0"
    file.unlink()
    with pytest.raises(StoreError, match=r"image 24 \(shard 3, http://.*the shard file is missing"):
        reader.read([24])
    file = server.folder / "images" / "c" / "0" / "0" / "0"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"image 0 \(shard 0, http://.*: the file ends early: expected \d+ bytes from"):
        reader.read([0])
    with pytest.raises(StoreError, match=r"image 7 \(shard 0, http://.*: ClientResponseError: 416"):
        reader.read([7])


def test_nothing_there_is_named(server: RangeServer, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no store at http://127.*/nothing\.zarr: expected the folder"):
        open_store(f"{server.url}/nothing.zarr")
    with pytest.raises(StoreError, match=r"no store at memory://nothing"):
        open_store("memory://nothing")
    server.status = 500
    with pytest.raises(StoreError, match=r"zarr\.json cannot be read \(ClientResponseError: 500"):
        open_store(server.url)


def test_urls_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"cannot read a store at nosuch://x: Protocol not known: nosuch"):
        open_store("nosuch://x")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtraError, match=r"a store at memory://x needs fsspec.*wavestream\[remote\]"):
        open_store("memory://x")


def test_file_urls_are_local(layered_store: Path) -> None:
    store = open_store(f"file://{layered_store}")
    assert isinstance(store.folder, LocalFolder)
    assert store.path == layered_store
    assert isinstance(folder_at(layered_store), LocalFolder)
    assert isinstance(folder_at("memory://x/"), RemoteFolder)
    assert folder_at("memory://x/").within("table/rows") == "memory://x/table/rows"


def test_a_remote_store_has_no_path(in_memory: str) -> None:
    with pytest.raises(InputError, match=r"memory://stores/tiny\.zarr is remote: copy it here first"):
        _ = open_store(in_memory).path


def test_a_remote_reader_pickles_and_survives_a_fork(server: RangeServer) -> None:
    reader = Reader(open_store(server.url), 2)
    expected = reader.read([1, 2, 44], 0.1)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).read([1, 2, 44], 0.1), expected)

    def child(answers: Any) -> None:
        answers.put(reader.read([1, 2, 44], 0.1))

    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=child, args=(answers,))
    process.start()
    np.testing.assert_array_equal(answers.get(timeout=60), expected)
    process.join(60)
    assert process.exitcode == 0


def test_as_many_images_as_there_are_lanes_are_on_their_way_at_once(
    in_memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, read = threading.Barrier(bytesource.REMOTE_LANES, timeout=30), RemoteFile.read

    def after_the_others(self: RemoteFile, start: int, ranges: Any) -> memoryview:
        together.wait()
        return read(self, start, ranges)

    monkeypatch.setattr(RemoteFile, "read", after_the_others)
    reader = Reader(open_store(in_memory), 2)
    assert reader.read(range(2 * bytesource.REMOTE_LANES)).any()
    reader.close()


def test_an_index_is_read_once_however_many_ask_for_it_at_once(in_memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, tail = [], RemoteFile.tail

    def slow(self: RemoteFile, length: int) -> memoryview:
        calls.append(length)
        time.sleep(0.2)
        return tail(self, length)

    monkeypatch.setattr(RemoteFile, "tail", slow)
    reader = Reader(open_store(in_memory), 2)
    reader.read(range(16))
    assert calls == [8 * 16 + 4] * 2
    reader.read(range(16))
    assert len(calls) == 2


def test_a_local_file_is_asked_for_the_ranges_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(bytes(range(100)))
    source, asked = LocalFolder(tmp_path).open("file"), []

    def noted(file: int, length: int, start: int) -> bytes:
        asked.append((start, length))
        return pread(file, length, start)

    pread = os.pread
    monkeypatch.setattr(os, "pread", noted)
    source.tail(20)
    found = source.read(10, [(0, 4), (6, 9), (50, 51)])
    assert asked == [(80, 20), (10, 4), (16, 3), (60, 1)]
    assert [bytes(found[low:high]) for low, high in ((0, 4), (6, 9), (50, 51))] == [b"\n\v\f\r", b"\x10\x11\x12", b"<"]


def test_a_short_local_file_is_not_read_beyond_its_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    source = LocalFolder(tmp_path).open("file")
    assert bytes(source.tail(3)) == b"789"
    assert bytes(source.tail(30)) == b"0123456789"
    found = bytes(source.read(2, [(1, 3), (5, 8)]))
    assert (len(found), found[1:3], found[5:8]) == (8, b"34", b"789")
    assert bytes(source.read(2, [(0, 8)])) == b"23456789"
    with pytest.raises(OSError, match=r"bytes 2 to 11 lie beyond the end of the file of 10"):
        source.read(2, [(1, 9)])
