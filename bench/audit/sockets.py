"""Ends of connections that TCP has and asyncio has not, and ports that nobody has."""

import asyncio
import socket
import struct
from contextlib import suppress
from random import Random
from typing import Final

from bench.errors import BenchError

_PORTS: Final = (20_000, 30_000)  # below those that the kernel gives to clients
_PORT_TRIES: Final = 100

_LINGER: Final = struct.pack("ii", 1, 0)  # on, 0 s


def reset_on_close(transport: asyncio.Transport) -> None:
    """Let closing send an RST, and drop what was not sent."""
    with suppress(OSError, AttributeError):
        own: socket.socket = transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)


def free_port() -> int:
    """Return a port that nobody uses and that no client is given by the kernel."""
    random = Random()  # noqa: S311 - any port will do
    for _ in range(_PORT_TRIES):
        port = random.randrange(*_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise BenchError("no free port was found")
