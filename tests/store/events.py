"""What the store's tests share: rows to send, a condition to wait for, a setting of a database."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg

from ingest.delivery.events_table import EVENTS
from ingest.events import copy_format
from ingest.events.ids import IdSequence
from ingest.store.link import CopyLink
from ingest.store.postgres import Postgres
from ingest.store.rejected import Rejected
from tests.support.postgres import fetch

_ids = IdSequence()


class Event(NamedTuple):
    """One event as the database is to hold it, and the COPY tuple that brings it there."""

    id: UUID
    row: bytes


def make_event(
    *, params: bytes = b"{}", name: bytes = b"test", created_at: bytes | None = None
) -> Event:
    """Return an event of app 1; `created_at` is the whole tail of its row."""
    raw_id, _, moment = _ids.next()
    row = copy_format.row(copy_format.row_head(1), raw_id, name, params, created_at or moment.row)
    return Event(UUID(bytes=raw_id), row)


def make_event_at(event_id: UUID) -> Event:
    """Return an event with an id of one's own."""
    _, _, moment = _ids.next()
    row = copy_format.row(copy_format.row_head(1), event_id.bytes, b"test", b"{}", moment.row)
    return Event(event_id, row)


def make_rejected(
    params: str = "{}",
    *,
    name: str = "test",
    message: str = "x",
    created_at: str = "2026-01-10T12:00:00.123456Z",
) -> Rejected:
    """Return an event of app 1 that Postgres refused."""
    event = {
        "app_id": 1,
        "id": str(make_event().id),
        "event_name": name,
        "event_params": params,
        "created_at": created_at,
        "timestamp": None,
        "idempotency_key": None,
    }
    return Rejected(event, "22P05", message)


def changed(rejected: Rejected, **columns: object) -> Rejected:
    """Return a rejected event with other values in some columns."""
    return rejected._replace(event={**rejected.event, **columns})


def make_link(postgres: Postgres) -> CopyLink:
    """Return a link to the events table."""
    return CopyLink(postgres, EVENTS)


async def copy(link: CopyLink, *events: Event) -> None:
    """COPY events."""
    await link.copy(copy_format.document([event.row for event in events]), len(events))


async def stored_ids(url: str) -> set[UUID]:
    """Return the id of every stored event."""
    return {UUID(str(row["id"])) for row in await fetch(url, "SELECT id FROM events")}


async def assert_works(link: CopyLink, url: str) -> None:
    """Assert that an event sent on a link is stored."""
    event = make_event()
    await copy(link, event)
    assert event.id in await stored_ids(url)


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait until a condition holds; raise TimeoutError if it does not in time."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - it is told of by nobody
            await asyncio.sleep(0.01)


async def until_true(url: str, query: str, timeout_s: float = 5.0) -> None:
    """Wait until a query's only value is true; raise TimeoutError if it is not in time."""
    async with asyncio.timeout(timeout_s):
        while not (await fetch(url, query))[0][0]:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.01)


async def empty(url: str) -> None:
    """Take out what a test may have left, schema and settings excepted."""
    connection = await asyncpg.connect(url, timeout=10)
    await connection.execute(
        "DELETE FROM events; DELETE FROM api_keys; DELETE FROM read_keys; DELETE FROM api_key_uses;"
        " DELETE FROM limit_uses; DELETE FROM apps"
    )
    await connection.close()


async def alter_database(url: str, action: str) -> None:
    """Run `ALTER DATABASE … ACTION` from another database; it holds for new connections."""
    name = urlsplit(url).path.removeprefix("/")
    await fetch(url.replace(f"/{name}?", "/postgres?"), f"ALTER DATABASE {name} {action}")


async def terminate_backends(url: str) -> int:
    """Let Postgres end every session of this program on a database; return how many."""
    ended = await fetch(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'nonito' AND datname = current_database()",
    )
    return len(ended)
