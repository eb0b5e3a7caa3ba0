"""COPY as this server needs it, spoken on a connection that asyncpg has opened.

Query, CopyData and CopyDone leave in one write, where asyncpg waits for CopyInResponse first: a
batch costs one round trip instead of two, and the server 95 µs of CPU instead of 170 (`python -m
bench batch`). Postgres allows it: after an error it discards what is left, up to CopyDone.

Source: https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-COPY.
"""

import asyncio
from typing import TYPE_CHECKING, Final

import asyncpg

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

NO_ROWS: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"
"""A binary COPY document that ends where it begins."""

_MESSAGE_BYTES_MAX: Final = 2 << 20
_HEAD_BYTES: Final = 5
_COPY_DONE: Final = b"c\0\0\0\4"
_COMMAND_COMPLETE, _ERROR_RESPONSE, _READY_FOR_QUERY, _DATA_ROW = b"CEZD"
# CopyInResponse, NoticeResponse, NotificationResponse, ParameterStatus, RowDescription
_PASSED_OVER: Final = frozenset(b"GNAST")

Fields = list[bytes | None]
"""One row's values as text; None is NULL."""


class CopyConnection(Connection):
    """A connection of asyncpg's that can be lent to a Copier."""

    def lend(self) -> "Copier":
        """Return a Copier that has the connection until it gives it back."""
        transport: asyncio.Transport = self._transport  # type: ignore[attr-defined] # not in stubs
        copier = Copier(transport, self._protocol)  # type: ignore[attr-defined]
        transport.set_protocol(copier)
        return copier


class Copier(asyncio.Protocol):
    """Speaks the simple query protocol, with one statement on its way at a time."""

    def __init__(self, transport: asyncio.Transport, owner: asyncio.Protocol) -> None:
        self._transport = transport
        self._owner = owner
        self._rest = b""
        self._tag = ""
        self._found: list[Fields] = []
        self._error: asyncpg.PostgresError | None = None
        self._answer: asyncio.Future[str] | None = None

    async def copy(self, statement: bytes, document: bytes) -> str:
        """Run a COPY FROM STDIN that `query` made and commit it; return its command tag.

        Raises PostgresError, InterfaceError if nothing was sent, ConnectionError if the connection
        ended, and what `abort` was told.
        """
        size = (len(document) + 4).to_bytes(4, "big")
        return await self._run((statement, b"d", size, document, _COPY_DONE))

    async def execute(self, statement: bytes) -> str:
        """Run a statement that `query` made and that returns no rows; raises what `copy` raises."""
        return await self._run((statement,))

    async def fetch(self, statement: bytes) -> list[Fields]:
        """Run a statement and return its rows, which the caller bounds; raise what `copy` does."""
        try:
            await self._run((statement,))
            return self._found
        finally:
            self._found = []

    def abort(self, reason: Exception) -> None:
        """End the connection at once; what is on its way raises `reason`."""
        self._settle(reason)
        self._transport.abort()

    def give_back(self) -> None:
        """Let asyncpg have its connection again."""
        self._transport.set_protocol(self._owner)

    def data_received(self, data: bytes) -> None:
        """Take each complete message; keep the rest."""
        if self._rest:
            data = self._rest + data
        start, end = 0, len(data)
        while end - start >= _HEAD_BYTES:
            size = int.from_bytes(data[start + 1 : start + _HEAD_BYTES], "big") + 1
            if not _HEAD_BYTES <= size <= _MESSAGE_BYTES_MAX:
                self.abort(ConnectionError("Postgres sent a message of an impossible size"))
                return
            if end - start < size:
                break
            self._take(data[start], data[start + _HEAD_BYTES : start + size])
            start += size
        self._rest = data[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        """End, with the reason that Postgres gave, if it gave one."""
        self._settle(self._error or exc or ConnectionResetError("Postgres ended the connection"))
        self._owner.connection_lost(exc)

    async def _run(self, messages: tuple[bytes, ...]) -> str:
        if self._transport.is_closing() or self._error is not None:
            raise asyncpg.InterfaceError("the connection has ended")
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self._transport.writelines(messages)
        return await answer

    def _take(self, kind: int, content: bytes) -> None:
        if kind == _COMMAND_COMPLETE:
            self._tag = content[:-1].decode()
        elif kind == _READY_FOR_QUERY:
            error, self._error = self._error, None
            self._settle(error)
        elif kind == _ERROR_RESPONSE:
            self._error = _read_error(content)
        elif kind == _DATA_ROW:
            self._found.append(_read_fields(content))
        elif kind not in _PASSED_OVER:
            self.abort(ConnectionError(f"Postgres sent a message of an unexpected kind, {kind}"))

    def _settle(self, error: Exception | None) -> None:
        answer, self._answer = self._answer, None
        if answer is None or answer.done():
            return
        if error is None:
            answer.set_result(self._tag)
        else:
            answer.set_exception(error)


def query(statement: str) -> bytes:
    """Return the Query message of a statement."""
    text = statement.encode() + b"\0"
    return b"Q" + (len(text) + 4).to_bytes(4, "big") + text


def _read_fields(content: bytes) -> Fields:
    """Read a DataRow: a 16-bit count, then for each field its 32-bit length, -1 for NULL."""
    fields: Fields = []
    start = 2
    while start < len(content):
        size = int.from_bytes(content[start : start + 4], "big", signed=True)
        start += 4
        fields.append(None if size < 0 else content[start : start + size])
        start += max(size, 0)
    return fields


def _read_error(content: bytes) -> asyncpg.PostgresError:
    """Read an ErrorResponse: fields of one letter and a string, each ended by a NUL."""
    fields = (field.decode("utf-8", "replace") for field in content.split(b"\0") if field)
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(
        {field[0]: field[1:] for field in fields}
    )
    return error
