"""What the tests of the merge share: events with ids, times and keys, sent and sent again."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from ingest.events import copy_format, copy_reader
from ingest.events.ids import IdSequence
from ingest.store.link import CopyLink
from ingest.store.merge import Earlier
from tests.support.postgres import fetch
from tests.support.rows import tail

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
RESERVE = "INSERT INTO idempotency_keys VALUES (1, $1, gen_random_uuid(), $2)"
INSERT = (
    "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
    " VALUES (1, $1, 'a', '{}', $2)"
)
ALL_WAIT = (
    "SELECT count(*) = 3 FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
BAD = rb'{"a":"\u0000"}'
ids = IdSequence()


class Sent(NamedTuple):
    """One event on its way."""

    id: UUID
    row: bytes

    @property
    def key(self) -> bytes:
        """Return what it is known by."""
        return copy_reader.dedup_key(self.row)


def make(  # noqa: PLR0913 - whatever an event may have
    name: str = "new",
    *,
    app_id: int = 1,
    event_id: UUID | None = None,
    key: UUID | None = None,
    params: bytes = b"{}",
    created_at: datetime = NOON,
    timestamp: datetime | None = None,
) -> Sent:
    """Return an event; its id is new if none is given."""
    event_id = event_id or UUID(bytes=ids.next()[0])
    end = tail(_us(created_at), _us(timestamp) if timestamp else None, key.bytes if key else None)
    return Sent(
        event_id,
        copy_format.row(copy_format.row_head(app_id), event_id.bytes, name.encode(), params, end),
    )


def _us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def again(event: Sent) -> Sent:
    """Return another try: by the same key under an id of its own, or by the same id."""
    is_by_key = copy_reader.has_idempotency_key(event.row)
    return make(key=UUID(bytes=event.key[-16:])) if is_by_key else event


async def run(link: CopyLink, *sent: Sent) -> dict[bytes, Earlier]:
    """Merge events; return what was there before, by key."""
    merged = await link.merge(
        copy_format.document([each.row for each in sent]),
        len(sent),
        has_keys=any(copy_reader.has_idempotency_key(each.row) for each in sent),
        wants_earlier=True,
    )
    found = {each.key: each for each in merged.earlier}
    assert len(found) == len(merged.earlier) <= merged.existing
    return found


async def stored(url: str) -> dict[UUID, str]:
    """Return the names of all events by their ids."""
    found = await fetch(url, "SELECT id, event_name FROM events")
    assert len({row["id"] for row in found}) == len(found)
    return {UUID(str(row["id"])): row["event_name"] for row in found}


async def clear(url: str) -> None:
    """Forget all keys: the module's database is shared."""
    await fetch(url, "DELETE FROM idempotency_keys")
