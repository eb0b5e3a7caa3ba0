"""COPY in one round trip: what Postgres answers is understood however it is cut, or not at all."""

import asyncio
import struct

import asyncpg
import pytest

from ingest.events import copy_format
from ingest.store.copier import Copier, query
from ingest.store.postgres import Postgres
from tests.store.events import make_event, stored_ids

COPY = query(
    f"COPY {copy_format.TABLE} ({', '.join(copy_format.COLUMNS)}) FROM STDIN (FORMAT binary)"
)
READY = b"Z\0\0\0\5I"


class Wire(asyncio.Transport):
    """A transport that keeps what is written; the peer is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.written += data

    def is_closing(self) -> bool:
        """Whether it was aborted."""
        return self.is_aborted

    def abort(self) -> None:
        """Note it."""
        self.is_aborted = True


def message(kind: bytes, content: bytes) -> bytes:
    """Return a backend's message."""
    return kind + struct.pack("!i", len(content) + 4) + content


ANSWERS = (
    message(b"N", b"SNOTICE\0Mmind\0\0")
    + message(b"G", b"\1\0\0")
    + message(b"S", b"name\0value\0")
    + message(b"C", b"COPY 3\0")
    + READY
)


async def test_copy_goes_out_whole_before_postgres_has_said_anything() -> None:
    """Query, CopyData, CopyDone: one round trip."""
    wire = Wire()
    copying = asyncio.create_task(Copier(wire, asyncio.Protocol()).copy(COPY, b"document"))
    await asyncio.sleep(0)
    assert wire.written == COPY + b"d" + struct.pack("!i", 12) + b"document" + b"c\0\0\0\4"
    copying.cancel()


@pytest.mark.parametrize("cut", range(1, len(ANSWERS)))
async def test_answers_may_come_in_any_pieces(cut: int) -> None:
    """Notices and settings in between are passed over."""
    copier = Copier(Wire(), asyncio.Protocol())
    copying = asyncio.create_task(copier.copy(COPY, b""))
    await asyncio.sleep(0)
    for start in range(0, len(ANSWERS), cut):
        assert not copying.done()
        copier.data_received(ANSWERS[start : start + cut])
    assert await copying == "COPY 3"


@pytest.mark.parametrize(
    "answer",
    [b"Z\0\0\0\3", b"Z\xff\xff\xff\xff", b"D\0\x20\0\1", b"?\0\0\0\4"],
    ids=["too short", "negative", "too long", "no such kind"],
)
async def test_what_is_no_answer_to_a_copy_ends_the_connection(answer: bytes) -> None:
    """Better a new connection than a guess."""
    wire = Wire()
    copier = Copier(wire, asyncio.Protocol())
    copying = asyncio.create_task(copier.copy(COPY, b""))
    await asyncio.sleep(0)
    copier.data_received(answer)
    with pytest.raises(ConnectionError):
        await copying
    assert wire.is_aborted
    with pytest.raises(asyncpg.InterfaceError):
        await copier.copy(COPY, b"")


async def test_end_of_the_session_carries_postgres_s_reason() -> None:
    """A FATAL error comes without ReadyForQuery; nothing is sent after it."""
    copier = Copier(Wire(), asyncio.Protocol())
    copying = asyncio.create_task(copier.copy(COPY, b""))
    await asyncio.sleep(0)
    copier.data_received(message(b"E", b"SFATAL\0C57P01\0Mterminating\0\0"))
    with pytest.raises(asyncpg.InterfaceError):
        await copier.execute(COPY)
    copier.connection_lost(None)
    with pytest.raises(asyncpg.AdminShutdownError, match="terminating"):
        await copying


async def test_connection_works_on_after_an_error_and_for_asyncpg_after_that(
    postgres: Postgres, database_url: str
) -> None:
    """What is left of a refused COPY is discarded, up to its CopyDone, in every phase."""
    connection = await postgres.connect()
    copier = connection.lend()
    good, bad = make_event(), make_event(params=b'{"a": "\\u0000"}')
    with pytest.raises(asyncpg.UntranslatableCharacterError) as refused:
        await copier.copy(COPY, copy_format.document([bad.row, *[good.row] * 10_000]))
    assert "line 1" in str(refused.value.context)
    with pytest.raises(asyncpg.UndefinedTableError):
        await copier.copy(query("COPY missing FROM STDIN (FORMAT binary)"), b"document")
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await copier.execute(query("no such statement"))
    assert await copier.copy(COPY, copy_format.document([good.row])) == "COPY 1"
    copier.give_back()
    assert await connection.fetchval("SELECT count(*) FROM events") == 1
    await connection.close()
    assert await stored_ids(database_url) == {good.id}
