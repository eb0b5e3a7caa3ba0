"""Rows: bytes that PostgreSQL's binary COPY takes, against golden bytes and against Postgres."""

from datetime import UTC, datetime
from uuid import UUID

from ingest.pipeline import rows
from ingest.pipeline.ids import moment
from ingest.store.link import CopyLink
from ingest.store.postgres import Postgres
from tests.support.postgres import fetch

ID = UUID("01a20775-3827-7f9a-a84b-77c69c54c242")
MOMENT = moment(1_768_046_400_123)  # 2026-01-10T12:00:00.123Z
ROW = rows.row(rows.row_head(7), ID.bytes, "é".encode(), b'{"a": 1}', MOMENT.row)
GOLDEN = bytes.fromhex(
    "0005"
    "00000004 00000007"
    "00000010 01a2077538277f9aa84b77c69c54c242"
    "00000002 c3a9"
    "00000009 01 7b2261223a20317d"
    "00000008 0002eb0626685078"
)


def test_row_has_the_documented_bytes() -> None:
    """A count of fields, then for each its length and its bytes, in network order."""
    assert ROW == GOLDEN


def test_document_has_the_documented_frame() -> None:
    """The signature, two empty fields, the rows, the trailer."""
    document = rows.document([ROW, ROW])
    assert bytes(document) == b"PGCOPY\n\xff\r\n\0" + bytes(8) + ROW + ROW + b"\xff\xff"


async def test_row_comes_back_from_postgres_as_it_was_made(
    postgres: Postgres, database_url: str
) -> None:
    """Every column, to the microsecond."""
    link = CopyLink(postgres, rows.TABLE, rows.COLUMNS, rows.KEY)
    await link.copy(rows.document([ROW]), 1)
    await link.close()
    (stored,) = await fetch(database_url, "SELECT * FROM events")
    assert dict(stored) == {
        "app_id": 7,
        "id": ID,
        "event_name": "é",
        "event_params": '{"a": 1}',
        "created_at": datetime(2026, 1, 10, 12, 0, 0, 123_000, tzinfo=UTC),
    }
