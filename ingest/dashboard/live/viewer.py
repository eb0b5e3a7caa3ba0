"""A viewer: one browser that watches, and what waits to be sent to it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from ingest.dashboard.live import messages

_WAITING_MAX: Final = 4
"""Seconds that may wait for a browser that is slow; further ones are left out, and it is told."""
_HEARTBEAT_S: Final = 10.0
"""So often something is sent, so that nobody on the way takes the connection for dead."""


class Viewer:
    """Is told what is new, and never holds up whoever tells it."""

    def __init__(self, account_id: int) -> None:
        self.account_id = account_id
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(_WAITING_MAX)
        self._ended = asyncio.Event()
        self._left_out = 0
        self._late_state = b""
        """Whether there is a trouble, where no message had room that says so."""

    def tell_state(self, message: bytes) -> None:
        """Have it said soon whether there is a trouble; only the latest word counts."""
        if self._waiting.full():
            self._late_state = message
        else:
            self._waiting.put_nowait(message)
            self._late_state = b""

    def tell(self, message: bytes) -> None:
        """Have a message sent soon."""
        if self._waiting.full():
            self._left_out += 1
            return
        if self._left_out:
            message = messages.left_out(self._left_out) + message
            self._left_out = 0
        self._waiting.put_nowait(self._late_state + message)
        self._late_state = b""

    def end(self) -> None:
        """Send no more."""
        self._ended.set()

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield what is to be sent, something every few seconds, until it ends."""
        while not self._ended.is_set():
            yield await self._next()

    async def _next(self) -> bytes:
        """Return the next message; nothing of one if it ends or none comes for long."""
        getting = asyncio.ensure_future(self._waiting.get())
        ending = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait(
                (getting, ending), timeout=_HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED
            )
            return getting.result() if getting.done() else messages.HEARTBEAT
        finally:
            getting.cancel()
            ending.cancel()
