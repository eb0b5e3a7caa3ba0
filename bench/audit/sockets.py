"""Ends of connections that TCP has and asyncio has not."""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final

_LINGER: Final = struct.pack("ii", 1, 0)  # on, 0 s


def reset_on_close(transport: asyncio.Transport) -> None:
    """Let closing send an RST, and drop what was not sent."""
    with suppress(OSError, AttributeError):
        own: socket.socket = transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
