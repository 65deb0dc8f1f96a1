"""Fetching: a bar, what an interruption left gone on with, a checksum at the end."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from bench.core.errors import UserError
from bench.data import download
from bench.data.access import Access
from bench.data.sources.url import UrlSource

CONTENT = bytes(np.random.default_rng(0).integers(0, 256, size=700_000, dtype=np.uint8))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; notes the ranges it was asked for."""

    ranges: list[str | None]
    breaks: list[int]  # for each coming answer, after how many bytes the connection is cut
    supports: bool  # ranges
    status: int


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.supports else 0
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.server.breaks.pop(0) if self.server.breaks else None
        self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *given: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    made = Server(("127.0.0.1", 0), Handler)
    made.ranges, made.breaks, made.supports, made.status = [], [], True, 200
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def fetched(server: Server, tmp_path: Path, **declared: object) -> Path:
    """The file as the source keeps it."""
    url = f"http://127.0.0.1:{server.server_address[1]}/some/data.npz"
    made = UrlSource(
        {"url": url, "sha256": sha256(CONTENT), "bytes": len(CONTENT), **declared}, tmp_path, Access(tmp_path)
    )
    path = made._fetch()
    assert made.download() == 0
    return path


def test_a_file_is_fetched_once(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fetched(server, tmp_path)
    assert path.read_bytes() == CONTENT
    assert "fetching http://127.0.0.1" in capsys.readouterr().err
    assert fetched(server, tmp_path) == path
    assert server.ranges == [None]
    assert not list(path.parent.glob("*.part"))


def test_a_terminal_gets_a_bar(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    fetched(server, tmp_path)
    shown = capsys.readouterr().err
    assert "data.npz" in shown
    assert "\x1b[" in shown


def test_md5_serves_too(server: Server, tmp_path: Path) -> None:
    path = fetched(server, tmp_path, sha256=None, md5=hashlib.md5(CONTENT).hexdigest())
    assert path.read_bytes() == CONTENT


def test_a_connection_that_breaks_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.breaks = [200_000, 300_000]
    assert fetched(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=200000-", "bytes=500000-"]


def test_an_interrupted_call_is_gone_on_with_by_the_next(server: Server, tmp_path: Path) -> None:
    server.breaks = [100_000, *[0] * 20]
    with pytest.raises(UserError, match=r"cannot be fetched: .* 100,000 bytes are kept; the next attempt goes on"):
        fetched(server, tmp_path)
    made = UrlSource(
        {
            "url": f"http://127.0.0.1:{server.server_address[1]}/some/data.npz",
            "sha256": sha256(CONTENT),
            "bytes": len(CONTENT),
        },
        tmp_path,
        Access(tmp_path),
    )
    assert made.download() == len(CONTENT) - 100_000
    server.breaks, server.ranges = [], []
    assert fetched(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=100000-"]


def test_a_server_without_ranges_is_asked_anew(server: Server, tmp_path: Path) -> None:
    server.supports, server.breaks = False, [200_000]
    assert fetched(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=200000-"]


def part(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "files" / f"{sha256(CONTENT)[:16]}-data.npz.part"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_a_part_that_is_already_whole_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    part(tmp_path, CONTENT)
    assert fetched(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_a_part_of_a_longer_file_is_dropped(server: Server, tmp_path: Path) -> None:
    part(tmp_path, CONTENT + b"more")
    assert fetched(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_wrong_checksum_is_said_and_nothing_is_kept(server: Server, tmp_path: Path) -> None:
    left = part(tmp_path, b"of another file")
    with pytest.raises(UserError, match=r"does not have the declared checksum: .* What was fetched is deleted"):
        fetched(server, tmp_path)
    assert not left.exists()
    assert fetched(server, tmp_path).read_bytes() == CONTENT


def test_an_error_of_the_server_is_a_sentence(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(UserError, match="cannot be fetched: 404"):
        fetched(server, tmp_path)
    assert len(server.ranges) == 1, "what is not there is not asked for again"
    kept = part(tmp_path / "other", CONTENT[:1000])
    server.status = 503
    with pytest.raises(UserError, match="cannot be fetched: 503"):
        fetched(server, tmp_path / "other")
    assert kept.stat().st_size == 1000, "a server that is busy costs nothing that was fetched"


def test_several_at_once_fetch_it_once(server: Server, tmp_path: Path) -> None:
    found: list[bytes] = []
    workers = [threading.Thread(target=lambda: found.append(fetched(server, tmp_path).read_bytes())) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert found == [CONTENT] * 4
    assert server.ranges == [None]


def test_offline_fetches_nothing(server: Server, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{server.server_address[1]}/data.npz"
    with pytest.raises(UserError, match="data.npz is not in the mirror or the cache, and --offline forbids"):
        UrlSource({"url": url, "sha256": "0" * 64}, tmp_path, Access(tmp_path, None, True)).load("train")
    assert server.ranges == []
