"""Rows: bytes that PostgreSQL's binary COPY takes, against golden bytes and against Postgres."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from ingest.delivery.events_table import EVENTS
from ingest.events import copy_format
from ingest.events.ids import moment
from ingest.store.link import CopyLink
from ingest.store.postgres import Postgres
from tests.support.postgres import fetch
from tests.support.rows import tail

ID = UUID("01a20775-3827-7f9a-a84b-77c69c54c242")
KEY = UUID("c5d7a1f0-9b1e-4b52-8f3e-ffffffffffff")
CREATED_US = 821_361_600_123_000  # 2026-01-10T12:00:00.123Z
TIMESTAMP_US = -1  # a microsecond before 2000
START = bytes.fromhex(
    "0007"
    "00000004 00000007"
    "00000010 01a2077538277f9aa84b77c69c54c242"
    "00000002 c3a9"
    "00000009 01 7b2261223a20317d"
    "00000008 0002eb0626685078"
)
GOLDEN = {
    (None, None): START + bytes.fromhex("ffffffff ffffffff"),
    (TIMESTAMP_US, None): START + bytes.fromhex("00000008 ffffffffffffffff ffffffff"),
    (None, KEY): START + bytes.fromhex("ffffffff 00000010") + KEY.bytes,
    (TIMESTAMP_US, KEY): START + bytes.fromhex("00000008 ffffffffffffffff 00000010") + KEY.bytes,
}


def make_row(timestamp_us: int | None, key: UUID | None) -> bytes:
    """Return the row of which all is known but its two last fields."""
    end = tail(CREATED_US, timestamp_us, key.bytes if key else None)
    return copy_format.row(copy_format.row_head(7), ID.bytes, "é".encode(), b'{"a": 1}', end)


ROW = make_row(None, None)


@pytest.mark.parametrize(("timestamp_us", "key"), GOLDEN)
def test_row_has_the_documented_bytes(timestamp_us: int | None, key: UUID | None) -> None:
    """A count of fields, then for each its length and its bytes, in network order."""
    assert make_row(timestamp_us, key) == GOLDEN[timestamp_us, key]


def test_plain_tail_is_the_one_that_is_made_once_a_millisecond() -> None:
    """What the intake appends to a plain event ends with two NULLs."""
    end = copy_format.tail(CREATED_US)
    assert end == moment(1_768_046_400_123).row
    assert end[12:] == copy_format.PLAIN


def test_document_has_the_documented_frame() -> None:
    """The signature, two empty fields, the rows, the trailer."""
    document = copy_format.document([ROW, ROW])
    assert bytes(document) == b"PGCOPY\n\xff\r\n\0" + bytes(8) + ROW + ROW + b"\xff\xff"


async def test_rows_come_back_from_postgres_as_they_were_made(
    postgres: Postgres, database_url: str
) -> None:
    """Every column, to the microsecond."""
    link = CopyLink(postgres, EVENTS)
    other_id = ID.bytes[:-1] + b"\0"
    full = make_row(TIMESTAMP_US, KEY).replace(ID.bytes, other_id)
    await link.copy(copy_format.document([ROW, full]), 2)
    await link.close()
    names = ", ".join(copy_format.COLUMNS)
    stored = await fetch(database_url, f"SELECT {names} FROM events ORDER BY idempotency_key")
    known = {
        "app_id": 7,
        "event_name": "é",
        "event_params": '{"a": 1}',
        "created_at": datetime(2026, 1, 10, 12, 0, 0, 123_000, tzinfo=UTC),
    }
    before_2000 = datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert list(map(dict, stored)) == [
        known | {"id": UUID(bytes=other_id), "timestamp": before_2000, "idempotency_key": KEY},
        known | {"id": ID, "timestamp": None, "idempotency_key": None},
    ]
