"""A child's end of the channel to the supervisor: the order, and what it is told from then on."""

import asyncio
import faulthandler
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

import msgspec

from ingest.errors import StartupError
from ingest.supervisor.order import Command, Order

_ORDER_BYTES_MAX: Final = 1 << 20
_STDIN: Final = 0

OrderT = TypeVar("OrderT", bound=Order)


def receive(kind: type[OrderT]) -> tuple[socket.socket, OrderT]:
    """Return the channel, and the order of a kind that comes first; raise StartupError.

    From now on this process leaves SIGHUP to the supervisor, and SIGABRT prints where all of its
    threads are.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    faulthandler.enable()
    try:
        channel, line = socket.socket(fileno=_STDIN), b""
    except OSError:
        raise StartupError("this is started by nonito serve alone") from None
    while not line.endswith(b"\n"):
        part = channel.recv(65_536)
        if not part or len(line) > _ORDER_BYTES_MAX:
            raise StartupError("the supervisor ended")
        line += part
    return channel, msgspec.json.decode(line, type=kind)


class Heeding:
    """Does as the supervisor says, until that is gone."""

    def __init__(
        self, reader: asyncio.StreamReader, does: Mapping[Command, Callable[[], None]]
    ) -> None:
        self._reader = reader
        self._does = {f'"{command}"'.encode(): do for command, do in does.items()}
        self.has_begun = False
        """Whether this process serves: until then it ends at once with its supervisor."""

    async def run(self, on_gone: Callable[[], None]) -> None:
        """Heed it; call `on_gone` when it is gone, as then nobody is to serve on."""
        while line := await self._line():
            self._does[line]()
        if not self.has_begun:  # it may wait for Postgres yet, and would keep the address all along
            os._exit(1)
        on_gone()

    async def _line(self) -> bytes:
        with suppress(OSError):
            return (await self._reader.readline()).rstrip()
        return b""
