"""A child's end of the channel to the supervisor: the order, and what it is told from then on."""

import asyncio
import faulthandler
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

import msgspec

from ingest.errors import StartupError
from ingest.store.failures import Unavailable
from ingest.supervisor.order import Begun, Command, Failed, Order, Ready, encode

_ORDER_BYTES_MAX: Final = 1 << 20
_STDIN: Final = 0

OrderT = TypeVar("OrderT", bound=Order)
Actions = Mapping[Command, Callable[[], None]]
"""What to do when told so."""


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
    """Does as the supervisor says, until that is gone, and tells it what comes of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._has_begun = False

    def begin(self, said: Ready | Begun) -> None:
        """Say that this process serves: until then it ends at once with its supervisor."""
        self._writer.write(encode(said))
        self._has_begun = True

    @contextmanager
    def doing(self, does: Actions, on_gone: Callable[[], None]) -> Iterator[None]:
        """Have each command do what `does` says; call `on_gone` when the supervisor is gone.

        Signals come from somebody who means this process alone: it is to retire.
        """
        task = asyncio.create_task(self.run(does, on_gone), name="supervisor")
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, does["retire"])
        try:
            yield
        finally:
            task.cancel()

    async def run(self, does: Actions, on_gone: Callable[[], None]) -> None:
        """Heed it until it is gone."""
        known = {f'"{command}"'.encode(): do for command, do in does.items()}
        while line := await self._line():
            known[line]()
        if not self._has_begun:
            os._exit(1)  # it may wait for Postgres yet, and would keep the address all along
        on_gone()

    async def _line(self) -> bytes:
        with suppress(OSError):
            return (await self._reader.readline()).rstrip()
        return b""


async def attend(channel: socket.socket, run: Callable[[Heeding], Awaitable[bool]]) -> bool:
    """Run until that ends, and return what it returns; tell the supervisor why it can't begin."""
    reader, writer = await asyncio.open_connection(sock=channel)
    try:
        return await run(Heeding(reader, writer))
    except (StartupError, Unavailable) as error:
        failed = isinstance(error, Unavailable)
        writer.write(encode(Failed(f"the database failed: {error}" if failed else str(error))))
        return False
    finally:
        writer.close()
