"""A server that is asked may be anybody: what it says is bounded, and nothing is sent on."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ingest.cli.query import remote
from tests.support.command import Nonito, complaint

KEY = "nr_secret"
OF_ANOTHER = (
    b'{"as_of":"2026-01-01T00:00:00Z","question":{"type":"names"},"data":{"type":"trends",'
    b'"buckets":[],"series":[],"partial_first":false,"partial_last":false}}'
)


class Answers(BaseHTTPRequestHandler):
    """Answers as its server says, and notes what came."""

    def do_GET(self) -> None:
        """Answer."""
        assert isinstance(self.server, Somebody)
        self.server.requests.append((self.path, self.headers.get("X-API-Key")))
        if self.server.status == 0:
            self.server.let_go.wait(30)
            return
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Somebody(ThreadingHTTPServer):
    """A server on a port of its own; of status 0 it says nothing."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.status = status
        self.body = body
        self.requests: list[tuple[str, str | None]] = []
        self.let_go = threading.Event()


@contextmanager
def somebody(status: int, body: bytes = b"") -> Iterator[Somebody]:
    """Run one."""
    with Somebody(status, body) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.let_go.set()
            server.shutdown()
            thread.join()


def told(nonito: Nonito, server: Somebody) -> str:
    """Ask, and return the complaint, which never has the key."""
    at = ("--server", f"http://127.0.0.1:{server.server_port}/base/")
    told = complaint(nonito("query", "events", *at, "--key", KEY))
    assert KEY not in told
    assert all(KEY not in path for path, _ in server.requests)
    return told


def test_error_is_told_in_the_server_s_words(nonito: Nonito) -> None:
    """But none that a terminal acts on."""
    body = b'{"status":"error","error":{"code":"unavailable","message":"later\\u001b[2J"}}'
    with somebody(503, body) as server:
        assert told(nonito, server) == r"nonito: later\x1b[2J"
        assert server.requests == [("/base/v1/events", KEY)]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (502, b"<html>bad gateway", "answers 502"),
        (500, b'{"error":"x"}', "answers 500"),
        (302, b"", "answers 302"),
        (200, b"<html>hello", "no answer of a query API"),
        (200, OF_ANOTHER, "another question"),
    ],
)
def test_what_is_no_query_api_is_one_line(
    nonito: Nonito, status: int, body: bytes, expected: str
) -> None:
    """A redirection is not followed: the key is for nobody else."""
    with somebody(status, body) as server:
        assert expected in told(nonito, server)
        assert len(server.requests) == 1


def test_answer_is_bounded(nonito: Nonito, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes."""
    monkeypatch.setattr(remote, "_ANSWER_BYTES_MAX", 1_000)
    with somebody(200, b"[" * 100_000) as server:
        assert "longer than" in told(nonito, server)


def test_answer_that_does_not_come_is_not_waited_for(
    nonito: Nonito, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than a question takes."""
    monkeypatch.setattr(remote, "_SPARE_S", 0.1)
    with somebody(0) as server:
        at = ("--server", f"http://127.0.0.1:{server.server_port}", "--key", KEY)
        settings = {"dashboard.question_timeout_s": 0.1}
        ended = nonito("query", "names", *at, settings=settings)
        assert "does not answer in time" in complaint(ended)


def test_nobody_is_one_line(nonito: Nonito) -> None:
    """With the address that was asked."""
    ended = nonito("query", "names", "--server", "http://127.0.0.1:1", "--key", KEY)
    assert "http://127.0.0.1:1 does not answer: Connection refused" in complaint(ended)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8081",
        "ftp://x",
        "http://",
        "http://u:p@h",
        "http://h?key=x",
        "http://h:x",
        "http://[x",
    ],
)
def test_what_is_no_address_is_one_line(nonito: Nonito, address: str) -> None:
    """It may hold a password, and is not repeated."""
    shown = complaint(nonito("query", "names", "--server", address, "--key", KEY))
    assert "--server: write an address as http://" in shown
    assert "u:p" not in shown


def test_key_that_is_none_is_one_line(nonito: Nonito) -> None:
    """A header holds no line break; nothing of the key is shown."""
    at = ("--server", "http://127.0.0.1:1")
    shown = complaint(nonito("query", "names", *at, "--key", "secret\r\nX: y"))
    assert "secret" not in shown
