"""The client's end of a connection to the simulated Postgres: a transport for the product's Copier.

Copier's own messages go to the session, and Postgres's own bytes come back, with the network's
delays. What asyncpg itself speaks (the look at a new connection, sessions for short work) comes as
calls. The network may be cut, and may keep what it has until it is mended.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

import asyncpg

from bench.simulate import short_work, statements
from bench.simulate.loop import SimulatedLoop
from bench.simulate.network import Network
from bench.simulate.session import Answer, Session
from bench.simulate.statements import PostgresError, Reply
from ingest.store.copier import Copier

_QUERY_HEAD_BYTES: Final = 5
_WHOLE: Final = 5
"""One message of so many comes in two pieces."""
_IDLE: Final = b"Z\0\0\0\5I"


class Transport:
    """Implements what Copier needs of `asyncio.Transport`, and connects it to a session."""

    def __init__(self, loop: SimulatedLoop, network: Network, pid: int) -> None:
        self._loop = loop
        self._network = network
        self.session = Session(network.cluster, pid, self._send_answer, self._hang_up)
        self._protocol: asyncio.Protocol | None = None
        self._asked: asyncio.Future[Any] | None = None
        self._is_lost = False
        self._to_server_s = self._to_client_s = 0.0
        network.transports[self] = None

    @property
    def is_lost(self) -> bool:
        """Whether it is over, as far as the client knows."""
        return self._is_lost

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._is_lost

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        """Hand what comes to somebody else."""
        self._protocol = protocol

    def writelines(self, messages: Sequence[bytes]) -> None:
        """Send what Copier sends: a Query, and with a COPY its document."""
        text = messages[0][_QUERY_HEAD_BYTES:-1].decode()
        document = messages[3] if len(messages) > 1 else None
        self.to_server(partial(self._ask, text, document))

    async def ask(self, name: str, work: Callable[[Session], statements.Work]) -> Reply:
        """Have a statement of asyncpg's done; raises what asyncpg does."""
        if self._is_lost:
            raise asyncpg.InterfaceError("the connection is closed")
        self._asked = self._loop.create_future()
        self.to_server(partial(self.session.ask, name, work))
        reply: Reply = await self._asked
        return reply

    def abort(self) -> None:
        """End it at once; the server hears of it later."""
        if not self._is_lost:
            self._lose(None)
            self.to_server(self.session.leave)

    def cut(self, *, by_reset: bool) -> None:
        """Break: each end finds out, and what is on its way is lost."""
        self._network.transports.pop(self, None)
        self._network.world.after(self._network.delay_s(), self.session.leave)
        reason = ConnectionResetError("reset by peer") if by_reset else None
        self._loop.arrive(self, self._lose, reason)

    def to_server(self, call: Callable[[], None]) -> None:
        """Have something reach the server, in order."""
        self._to_server_s = self._network.carry(self._to_server_s, self, call)

    def _ask(self, text: str, document: bytes | None) -> None:
        if document is None:
            name, work = statements.known(text)
            self.session.ask(name, lambda session: work(session, text))
        elif "nonito_staging" in text:
            name = "stage for the sift" if "GENERATED ALWAYS" in text else "stage"
            self.session.ask(name, lambda session: statements.stage(session, document), begins=True)
        else:
            self.session.ask(
                "copy", lambda session: statements.copy(session, document), begins="BEGIN" in text
            )

    def _send_answer(self, answer: Answer) -> None:
        is_of_rows = isinstance(answer, Reply) and answer.tag.startswith(
            ("COPY", "COMMIT", "INSERT")
        )
        if self._network.answers_to_lose and is_of_rows:
            self._network.answers_to_lose -= 1
            self.cut(by_reset=True)
            return
        self._to_client_s = self._network.carry(
            self._to_client_s, self, lambda: self._loop.arrive(self, self._take, answer)
        )

    def _hang_up(self) -> None:
        self._to_client_s = self._network.carry(
            self._to_client_s, self, lambda: self._loop.arrive(self, self._lose, None)
        )

    def _take(self, answer: Answer) -> None:
        """Take an answer that has arrived."""
        if self._is_lost:
            return
        if self._asked is not None:
            asked, self._asked = self._asked, None
            if asked.done():
                return
            if isinstance(answer, PostgresError):
                asked.set_exception(as_asyncpg(answer))
            else:
                asked.set_result(answer)
        elif self._protocol is not None:
            data = _encode(answer)
            at = self._network.world.random.randrange(len(data) * _WHOLE)
            for piece in (data[:at], data[at:]):
                if piece:
                    self._protocol.data_received(piece)

    def _lose(self, reason: Exception | None) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        self._network.transports.pop(self, None)
        if self._asked is not None and not self._asked.done():
            gone = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle")
            self._asked.set_exception(gone)
        if self._protocol is not None:
            self._loop.call_soon(self._protocol.connection_lost, reason)


class Connection:
    """Implements what the product uses of `CopyConnection`."""

    def __init__(self, transport: Transport, command_timeout_s: float) -> None:
        self._transport = transport
        self._command_timeout_s = command_timeout_s

    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self._transport.is_lost

    def lend(self) -> Copier:
        """Return a Copier that has the connection until it gives it back."""
        copier = Copier(self._transport, asyncio.Protocol())  # type: ignore[arg-type] # a part of it
        self._transport.set_protocol(copier)
        return copier

    def terminate(self) -> None:
        """End it at once."""
        self._transport.abort()

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - as asyncpg has it
        """End it in good order."""
        self._transport.abort()

    def get_server_pid(self) -> int:
        """Return the process id that it began with."""
        return self._transport.session.pid

    async def fetchval(self, text: str, *arguments: object) -> Any:  # noqa: ANN401 - as asyncpg
        """Return a statement's one value."""
        return await self._ask(text, arguments)

    async def fetch(self, text: str, *arguments: object) -> Any:  # noqa: ANN401 - as asyncpg
        """Return a statement's rows."""
        return await self._ask(text, arguments)

    async def executemany(self, text: str, arguments: Iterable[Sequence[object]]) -> None:
        """Do a statement many times, all or none."""
        await self._ask(text, [*arguments])

    async def _ask(self, text: str, arguments: Sequence[Any]) -> Any:  # noqa: ANN401
        name, work, read = short_work.known(text)
        async with asyncio.timeout(self._command_timeout_s):
            reply = await self._transport.ask(name, lambda session: work(session, arguments))
        return read(reply)


async def dial(network: Network, command_timeout_s: float) -> Connection:
    """Connect; raise what asyncpg raises."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)  # noqa: S101 - for the type checker
    reached: asyncio.Future[str] = loop.create_future()
    network.reach(lambda how: loop.arrive(reached, _tell, reached, how))
    how = await reached
    if how == "refused":
        raise ConnectionRefusedError("connection refused")
    if how:
        raise as_asyncpg(PostgresError(how, "no connection now"))
    return Connection(Transport(loop, network, network.new_pid()), command_timeout_s)


def _tell(reached: asyncio.Future[str], how: str) -> None:
    if not reached.done():
        reached.set_result(how)


def as_asyncpg(error: PostgresError) -> asyncpg.PostgresError:
    """Return an error as asyncpg raises it."""
    made: asyncpg.PostgresError = asyncpg.PostgresError.new(
        {letter: value for letter, value in _fields(error).items() if value}
    )
    return made


def _fields(error: PostgresError) -> dict[str, str]:
    return {
        "S": error.severity,
        "V": error.severity,
        "C": error.sqlstate,
        "M": error.text,
        "W": error.context,
        "n": error.constraint,
    }


def _encode(answer: Answer) -> bytes:
    """Return an answer as Postgres sends it."""
    if isinstance(answer, PostgresError):
        fields = (f"{letter}{value}" for letter, value in _fields(answer).items() if value)
        content = b"\0".join(field.encode() for field in fields) + b"\0\0"
        is_last = answer.severity == "FATAL"
        return _message(b"E", content) + (b"" if is_last else _IDLE)
    rows = (_message(b"D", _encode_row(row)) for row in answer.rows)
    return b"".join((*rows, _message(b"C", answer.tag.encode() + b"\0"), _IDLE))


def _message(kind: bytes, content: bytes) -> bytes:
    return kind + (len(content) + 4).to_bytes(4, "big") + content


def _encode_row(row: Sequence[bytes | None]) -> bytes:
    fields = (
        b"\xff\xff\xff\xff" if value is None else len(value).to_bytes(4, "big") + value
        for value in row
    )
    return len(row).to_bytes(2, "big") + b"".join(fields)
