"""A client that speaks HTTP/2 without asking is told in HTTP/2 what to speak."""

import shutil
import struct
import subprocess

import pytest

from tests.support.raw import connected
from tests.support.server import Server

CURL = shutil.which("curl")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, GOAWAY, HTTP_1_1_REQUIRED = 4, 7, 13
EMPTY_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
CURLE_HTTP2 = 16


def frames(data: bytes) -> list[tuple[int, int, bytes]]:
    """Return the type, the stream and the payload of every frame."""
    found = []
    while data:
        size, kind, _, stream = struct.unpack(">IBBI", b"\0" + data[:9])
        found.append((kind, stream, data[9 : 9 + size]))
        assert len(data) >= 9 + size
        data = data[9 + size :]
    return found


def test_prior_knowledge_is_declined_in_frames(http_server: Server) -> None:
    """SETTINGS first, then GOAWAY: no stream was served, HTTP/1.1 is required."""
    with connected(http_server.port) as client:
        client.send(PREFACE + EMPTY_SETTINGS, pause_s=0.1)
        client.send(EMPTY_SETTINGS * 10)  # what comes late resets nothing
        received = b""
        while piece := client.socket.recv(4096):
            received += piece
    settings, goaway = frames(received)
    assert settings == (SETTINGS, 0, b"")
    assert goaway[:2] == (GOAWAY, 0)
    assert struct.unpack(">II", goaway[2][:8]) == (0, HTTP_1_1_REQUIRED)
    assert b"HTTP/1.1" in goaway[2]
    assert http_server.get("/healthz").status_code == 200
    assert "Traceback" not in http_server.logs()


def test_declined_connection_ends_when_its_client_does_not(http_server: Server) -> None:
    """After `idle_timeout_s` (1.5 s here), whatever it sends."""
    with connected(http_server.port) as client:
        client.send(PREFACE)
        while client.socket.recv(4096):
            pass
        with pytest.raises(ConnectionError):  # noqa: PT012 - whichever piece meets the reset
            for _ in range(100):
                client.send(EMPTY_SETTINGS, pause_s=0.1)


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
def test_curl_understands(http_server: Server) -> None:
    """Where HTTP/2 is its user's demand; one who only offers it is served by HTTP/1.1."""
    url = f"{http_server.url}/healthz"
    asked = subprocess.run(
        ["curl", "--silent", "--http2-prior-knowledge", url], timeout=30, check=False
    )
    assert asked.returncode == CURLE_HTTP2
    offered = subprocess.run(
        ["curl", "--silent", "--http2", url], capture_output=True, timeout=30, check=True
    )
    assert offered.stdout == b'{"status":"ok"}'
