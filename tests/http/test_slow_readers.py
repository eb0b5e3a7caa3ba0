"""Clients that read their answers slowly are served to the end; those that don't read are not."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.http.cases import AUTH, HOST, JSON, KEY, join, post
from tests.http.checks import assert_refusal, assert_success
from tests.http.conftest import QUICK
from tests.support.raw import HOST as ADDRESS
from tests.support.raw import RawClient, connected
from tests.support.server import Server, wait_for

IDLE_S = QUICK["limits.idle_timeout_s"]
SLOWLY_S = 3 * IDLE_S
PIECE_BYTES = 4096
PAUSE_S = 0.1
WINDOW_BYTES = 4096
"""So small that most of an answer waits in the server's process."""

_EVENT = b'{"event_name":"a","event_params":{"b":"%b"}}' % (b"x" * 60_000)
_COUNT = 150
_BATCH = b"[%b]" % b",".join([_EVENT] * _COUNT)
ONE_ANSWER = join(
    b"POST /events HTTP/1.1",
    HOST,
    AUTH,
    JSON,
    b"Content-Length: %d" % len(_BATCH),
    b"Connection: close",
    body=_BATCH,
)
MANY_ANSWERS = post(body=_EVENT) * _COUNT + post(b"Connection: close", body=b"{}")
ANSWER_BYTES = _COUNT * len(_EVENT)


@contextmanager
def narrow(server: Server, request: bytes) -> Iterator[socket.socket]:
    """Send a request from a connection with a small window, at the pace that it is taken."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
        client.connect((ADDRESS, server.port))
        client.settimeout(10)
        sender = threading.Thread(target=_send, args=(client, request), daemon=True)
        sender.start()
        yield client
    sender.join(10)


def _send(client: socket.socket, request: bytes) -> None:
    with suppress(OSError):  # the server closed the connection, or the test is over
        client.sendall(request)


def read_slowly(client: socket.socket, seconds: float) -> int:
    """Read a little at a time for so long; return how much that was."""
    until_s = time.monotonic() + seconds
    received = 0
    while time.monotonic() < until_s:
        received += len(client.recv(PIECE_BYTES))
        time.sleep(PAUSE_S)
    return received


def read_all(client: socket.socket) -> int:
    """Read to the end; return how much that was."""
    received = 0
    while piece := client.recv(1 << 20):
        received += len(piece)
    return received


@pytest.mark.parametrize("request_bytes", [ONE_ANSWER, MANY_ANSWERS], ids=["one", "many"])
def test_client_that_reads_slowly_gets_all_of_its_answers(
    http_server: Server, request_bytes: bytes
) -> None:
    """Though that takes several idle time-outs, in which its 9 MB hardly become fewer."""
    with narrow(http_server, request_bytes.replace(KEY, http_server.key.encode())) as client:
        slowly = read_slowly(client, SLOWLY_S)
        assert 0 < slowly < ANSWER_BYTES / 10
        assert slowly + read_all(client) > ANSWER_BYTES


@pytest.mark.parametrize("request_bytes", [ONE_ANSWER, MANY_ANSWERS], ids=["one", "many"])
def test_client_that_stops_reading_in_the_middle_is_closed(
    http_server: Server, request_bytes: bytes
) -> None:
    """After the idle time-out: the server keeps nothing for it any longer."""
    with narrow(http_server, request_bytes.replace(KEY, http_server.key.encode())) as client:
        assert read_slowly(client, IDLE_S)
        wait_for(lambda: _is_gone(client))


def _is_gone(client: socket.socket) -> bool:
    client.settimeout(0.05)
    try:
        client.send(b"x")
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


def test_idle_client_gets_what_the_kernel_still_holds(http_server: Server) -> None:
    """An idle connection is closed behind the answers that were written to it, not reset."""
    count = 8
    request = post(body=_EVENT).replace(KEY, http_server.key.encode()) * count
    with narrow(http_server, request) as client:
        time.sleep(2 * IDLE_S)
        assert read_all(client) > count * len(_EVENT)


def test_connection_that_brings_nothing_but_bad_events_is_not_idle(http_server: Server) -> None:
    """Each of them is answered; the connection stays for the good one behind them."""
    good, bad = (
        post(body=body).replace(KEY, http_server.key.encode())
        for body in (b'{"event_name":"a"}', b"{}")
    )
    with connected(http_server.port) as client:
        _send_bad(client, bad, SLOWLY_S)
        assert_success(client.ask(good))


def _send_bad(client: RawClient, bad: bytes, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        assert_refusal(client.ask(bad), 400, "missing_event_name")
        time.sleep(PAUSE_S)
