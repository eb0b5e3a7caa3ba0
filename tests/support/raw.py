"""A small HTTP client on a bare socket: it sends any bytes, in any pieces, and reads answers.

It checks nothing of what it sends, and reads an answer strictly: a status line, headers, and a body
of Content-Length bytes; anything else is an AssertionError.
"""

import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

HOST = "127.0.0.1"
TIMEOUT_S = 10.0
HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """One answer; the names of its headers are in lower case."""

    version: str
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - any JSON value
        """Return the decoded body."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """Return the error's code; None for a success."""
        error = self.json().get("error")
        return error["code"] if error else None

    @property
    def says_close(self) -> bool:
        """Return whether it announces that the connection ends behind it."""
        default = "close" if self.version == "HTTP/1.0" else "keep-alive"
        return self.headers.get("connection", default) == "close"


class RawClient:
    """One connection."""

    def __init__(self, port: int, timeout_s: float = TIMEOUT_S) -> None:
        self.socket = socket.create_connection((HOST, port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def send(self, *pieces: bytes, pause_s: float = 0.0) -> None:
        """Send pieces, each as a segment of its own if there is a pause behind it."""
        for piece in pieces:
            self.socket.sendall(piece)
            time.sleep(pause_s)

    def read(self, *, has_body: bool = True) -> Answer:
        """Read one answer, interim ones (100) too; `has_body=False` for an answer to HEAD."""
        head = self._until(HEAD_END)
        status_line, *lines = head.decode("ascii").split("\r\n")
        version, status, reason = status_line.split(" ", 2)
        assert version in {"HTTP/1.1", "HTTP/1.0"}, status_line
        assert reason, status_line
        headers = dict(_header(line) for line in lines)
        assert len(headers) == len(lines), "a header came twice"
        length = int(headers.get("content-length", "0")) if has_body else 0
        return Answer(version, int(status), headers, self._exactly(length))

    def ask(self, request: bytes) -> Answer:
        """Send a request and read its answer."""
        self.send(request)
        return self.read()

    def half_close(self) -> None:
        """Close the sending side only."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close at once with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def is_silent(self, seconds: float) -> bool:
        """Return whether nothing comes and the connection stays open for so long."""
        if self._received:
            return False
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT_S)
        return False

    def is_closed_by_server(self) -> bool:
        """Wait until the connection ends; return False if something comes before it does."""
        try:
            return not self._received and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """Close both sides."""
        self.socket.close()

    def _until(self, end: bytes) -> bytes:
        while end not in self._received:
            self._receive()
        found, self._received = self._received.split(end, 1)
        return found

    def _exactly(self, length: int) -> bytes:
        while len(self._received) < length:
            self._receive()
        found, self._received = self._received[:length], self._received[length:]
        return found

    def _receive(self) -> None:
        received = self.socket.recv(65536)
        assert received, f"the connection ended behind {self._received!r}"
        self._received += received


def _header(line: str) -> tuple[str, str]:
    name, value = line.split(": ", 1)
    return name.lower(), value


@contextmanager
def connected(port: int) -> Iterator[RawClient]:
    """Connect to a server on this machine."""
    client = RawClient(port)
    try:
        yield client
    finally:
        client.close()
