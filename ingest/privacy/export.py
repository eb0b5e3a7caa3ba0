"""Everything that is stored of somebody, as lines of JSON: one for whom it is, then one for each.

Each line has a `kind`, and behind it what is stored, by the names of the columns; what is NULL is
left out:

- `person`: `app`, `ids` (the one that was asked for first), `as_of`.
- `event`: `id`, `event_name`, `event_params` as Postgres has them, `created_at`, and `timestamp`
  and `idempotency_key`, a hash, where one was sent. Of what Postgres keeps no longer it is what the
  archive has.
- `spooled_event`: the same of what waits on this server's disk, `event_params` as they were sent.
- `rejected_event`: the same of what Postgres has refused, with `sqlstate` and `message`;
  `event_params` is a text.
- `link`: `joined`, `person`, `link` (`sign_in`, `alias` or `merge`), `at`.
- `unread`, the last, if something on this server's disk can't be read and nobody knows whose it is:
  `events`, how many are damaged, and `files`.

Some of them are in memory at a time.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, Final
from uuid import UUID

import orjson

from ingest.config import Config
from ingest.events.fields import Stored
from ingest.privacy import people
from ingest.privacy.people import Archived, OpenView
from ingest.privacy.search import EVER, Search
from ingest.privacy.spooled import Spooled
from ingest.store import erasing, personal
from ingest.store.app_settings import AppSettings
from ingest.store.erasing import Whose
from ingest.store.kept import Kept

UNREAD: Final = "unread"
_AT_ONCE: Final = 500
_PARAMS: Final = "event_params"


class Export:
    """The copy of what is stored of somebody; raises Unavailable, ArchiveTrouble, StartupError."""

    def __init__(self, kept: Kept, config: Config, search: Search, open_view: OpenView) -> None:
        self._kept = kept
        self._config = config
        self._search = search
        self._open_view = open_view

    async def lines(self, app: AppSettings, ids: list[str]) -> AsyncGenerator[bytes, None]:
        """Yield them, of all ids of a person."""
        whose = Whose(app.id, app.user_field, ids, EVER)
        yield _line("person", {"app": app.name, "ids": ids, "as_of": datetime.now(UTC)})
        async for some in self._events(whose):
            for row in some:
                yield _line("event", _with_json(row))
        waiting = Spooled(self._config, whose)
        async for event in _read(waiting):
            yield _line("spooled_event", _with_json({**event, "app_id": None}))
        async for each in self._search.rejected(whose):
            read = partial(personal.rejected_event, app_id=app.id, event_id=each)
            if (refused := await self._kept.read(read)) is not None:
                yield _line("rejected_event", refused)
        async for row in self._links(whose):
            yield _line("link", row)
        if any(waiting.unread):
            yield _line(UNREAD, waiting.unread._asdict())

    async def _events(self, whose: Whose) -> AsyncIterator[list[personal.Row]]:
        if not await self._kept.read(erasing.has_archive):
            async for some in self._search.events(whose):
                yield await self._stored(whose, some)
            return
        found = people.events(self._open_view, whose.app_id, whose.ids)
        try:
            while page := await asyncio.to_thread(_next, found):
                stored = await self._stored(whose, [each.id for each in page])
                known = {row["id"]: row for row in stored}
                yield [known.get(str(each.id)) or _of_archive(each) for each in page]
        finally:
            await asyncio.to_thread(found.close)

    async def _stored(self, whose: Whose, ids: list[UUID]) -> list[personal.Row]:
        return await self._kept.read(partial(personal.events, app_id=whose.app_id, ids=ids))

    async def _links(self, whose: Whose) -> AsyncIterator[personal.Row]:
        after = 0
        while True:
            found, last = await self._kept.read(partial(personal.links, whose=whose, after=after))
            if not found:
                return
            for row in found:
                yield row
            after = last


async def _read(waiting: Spooled) -> AsyncIterator[Stored]:
    """Yield what waits, read by a thread, some at a time."""
    events = iter(waiting)
    while some := await asyncio.to_thread(lambda: [*islice(events, _AT_ONCE)]):
        for event in some:
            yield event


def _next(pages: Iterator[list[Archived]]) -> list[Archived]:
    return next(pages, [])


def _of_archive(event: Archived) -> personal.Row:
    """Return an event that Postgres keeps no longer."""
    return {
        "id": str(event.id),
        "event_name": event.name,
        _PARAMS: event.params,
        "created_at": event.created_at,
        "timestamp": event.at if event.at != event.created_at else None,
    }


def _with_json(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**row, _PARAMS: orjson.Fragment(row[_PARAMS])}


def _line(kind: str, row: Mapping[str, Any]) -> bytes:
    told = {"kind": kind} | {name: value for name, value in row.items() if value is not None}
    return orjson.dumps(told, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)
