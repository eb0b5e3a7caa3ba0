"""One child process, a worker or the insights process: a clean new one, with the channel to it."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Self

import msgspec

from ingest.errors import StartupError
from ingest.supervisor.order import Begun, Command, Failed, Order, Ready, encode

COMMAND: Final = ("-m", "ingest")
"""What of Python's a child is: the `nonito` command, with this process's modules."""
_LINE_BYTES_MAX: Final = 1 << 20
_ORDER_TIMEOUT_S: Final = 10.0
_STACKS_TIMEOUT_S: Final = 2.0
_KILLED_TIMEOUT_S: Final = 5.0


class Child:
    """A child from its start to its end. Each method may be called at any time."""

    def __init__(
        self, order: Order, process: asyncio.subprocess.Process, channel: socket.socket
    ) -> None:
        self.order = order
        self._process = process
        self._channel = channel
        self.ready_s = 0.0
        """Since when it serves, on the loop's clock."""
        self._beat = -1
        self._looks = 0
        self._ended = asyncio.create_task(process.wait(), name=str(self))
        self.ready: Ready | None = None
        """What it said once it served, if it is a worker."""

    @classmethod
    async def start(cls, order: Order, inherited: Sequence[int]) -> Self:
        """Start it; `inherited` are descriptors beyond those of the order. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await _spawn(order, theirs, inherited)
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        child = cls(order, process, ours)
        with suppress(OSError):  # it is gone, or does not listen: `wait_until_ready` says so
            async with asyncio.timeout(_ORDER_TIMEOUT_S):
                await asyncio.get_running_loop().sock_sendall(ours, encode(order))
        return child

    def __str__(self) -> str:
        return " ".join(self.order.arguments)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.done()

    async def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until it serves; raise StartupError if it can't, ends, or takes longer than that."""
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._read_line()
                how = "" if line else how_ended(await self.wait())
        except TimeoutError:
            raise StartupError(f"{self} took longer than {timeout_s:.0f} s to begin") from None
        if not line:
            raise StartupError(f"{self} ended before it served: {how}")
        said = msgspec.json.decode(line, type=Ready | Begun | Failed)
        if isinstance(said, Failed):
            raise StartupError(said.reason)
        self.ready = said if isinstance(said, Ready) else None
        self.ready_s = asyncio.get_running_loop().time()

    async def wait(self) -> int:
        """Wait until it has ended; return its exit code, or the negative number of a signal."""
        return await asyncio.shield(self._ended)

    async def wait_or_kill(self, timeout_s: float) -> int:
        """Wait for its end, and bring it about if it takes too long; return what `wait` does.

        One that not even that ends, since a disk or a driver holds it, is left to the system.
        """
        for wait_s in (timeout_s, _KILLED_TIMEOUT_S):
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    return await self.wait()
            self.signal(signal.SIGKILL)
        return -signal.SIGKILL

    def note_beat(self, beat: int) -> int:
        """Take note of its heartbeat; return how many times in a row it was the one before."""
        self._looks = self._looks + 1 if beat == self._beat else 0
        self._beat = beat
        return self._looks

    def tell(self, command: Command) -> None:
        """Say what to do; one that is gone or does not listen is not waited for."""
        with suppress(OSError):
            self._channel.send(encode(command))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it is there to get it."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def end_stuck(self) -> None:
        """Have it print where all of its threads are, and end it."""
        self.signal(signal.SIGABRT)
        await self.wait_or_kill(_STACKS_TIMEOUT_S)

    def close(self) -> None:
        """Let go of the channel."""
        self._channel.close()

    async def _read_line(self) -> bytes:
        """Return the line that it says; empty if it ends without."""
        loop, line = asyncio.get_running_loop(), b""
        while not line.endswith(b"\n") and len(line) < _LINE_BYTES_MAX:
            try:
                part = await loop.sock_recv(self._channel, 65_536)
            except OSError:
                return b""
            if not part:
                return b""
            line += part
        return line


async def _spawn(
    order: Order, channel: socket.socket, inherited: Sequence[int]
) -> asyncio.subprocess.Process:
    """Start a process that imports what this one imports, from wherever that is."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # not from the working directory, where anything may lie
        *(*COMMAND, *order.arguments),
        stdin=channel.fileno(),
        pass_fds=[*order.descriptors, order.segment, *inherited],
        # Ctrl-C at a terminal is the supervisor's to hear, who tells the others.
        process_group=0,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def how_ended(code: int) -> str:
    """Return in words how a process ended, by what `Child.wait` returns."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
