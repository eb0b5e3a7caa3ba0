"""The kernel keeps new connections out of a socket that is about to close, and resets none."""

import errno
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from ingest.http import handshakes

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone can")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket that listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        yield found


def test_new_client_is_kept_out_and_one_that_has_connected_is_not(listening: socket.socket) -> None:
    """The new one hears nothing, so it has sent nothing; the other one is served in full."""
    with closing(socket.create_connection(listening.getsockname(), 10)) as client:
        handshakes.drop_further(listening)
        with socket.socket() as late:
            late.settimeout(0.5)
            with pytest.raises(TimeoutError):
                late.connect(listening.getsockname())
        assert handshakes.has_waiting(listening)
        accepted, _ = listening.accept()
        with accepted:
            assert not handshakes.has_waiting(listening)
            client.sendall(b"asked")
            assert accepted.recv(10) == b"asked"
            accepted.sendall(b"answered")
            assert client.recv(10) == b"answered"


def test_client_that_was_kept_out_is_refused_once_nobody_listens(listening: socket.socket) -> None:
    """TCP tries again by itself."""
    handshakes.drop_further(listening)
    with socket.socket() as late:
        late.setblocking(False)
        late.connect_ex(listening.getsockname())
        listening.close()
        select.select([], [late], [], 10)
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
