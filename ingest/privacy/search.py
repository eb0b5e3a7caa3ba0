"""A search for what is stored of somebody, place by place, by a look at everything.

Nothing here goes by what an erasure has done, or by what the archive says of Postgres: each row of
the app is looked at, each file, each event that waits on this server's disk.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

from ingest.archive.removal import Removal
from ingest.archive.thread import in_thread
from ingest.config import Config
from ingest.privacy import people, spooled
from ingest.privacy.people import Events, OpenView, Person
from ingest.privacy.spooled import Unread
from ingest.store import boards, erasing
from ingest.store.app_settings import AppSettings
from ingest.store.erasing import BEGINNING, SPAN_ROWS, Span, Whose
from ingest.store.kept import Kept
from ingest.store.postgres import Connection

EVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Before which everything was received."""
_LISTED_MAX: Final = 10_000

Tell = Callable[[int], None]
"""Told how many rows were looked at since it was told last, or a few more."""


class Found(NamedTuple):
    """How much is stored of somebody."""

    events: int
    """In Postgres."""
    archived: int
    """Of them, in files of the archive; None counts where there is no archive."""
    spooled: int
    """On this server's disk, on their way to Postgres."""
    rejected: int
    links: int
    tiles: int
    """Of boards, whose question names them."""
    unread: Unread
    """What of the spool can't be read."""
    ids: tuple[UUID, ...] = ()
    """Of the first of these events."""

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing."""
        return not any(self[:6])

    @property
    def told(self) -> str:
        """Say it in words."""
        return (
            f"{self.events} events in Postgres, {self.archived} in the archive, {self.spooled} in"
            f" this server's spool, {self.rejected} rejected, {self.links} links of ids,"
            f" {self.tiles} tiles of boards"
        )


def _nothing(_: int) -> None:
    return


class Search:
    """Looks; raises Unavailable, ArchiveTrouble, StartupError."""

    def __init__(self, kept: Kept, config: Config, removal: Removal | None = None) -> None:
        """Without a `removal` no file of the archive is looked into."""
        self._kept = kept
        self._config = config
        self._removal = removal

    async def all(self, whose: Whose, tell: Tell = _nothing) -> Found:
        """Return what there is in every place."""
        ids: list[UUID] = []
        events = 0
        async with aclosing(self.events(whose, tell)) as found:
            async for some in found:
                events += len(some)
                ids += some[: _LISTED_MAX - len(ids)]
        waiting, unread = await self.spooled(whose)
        return Found(
            events,
            await self.archived(whose),
            waiting,
            len([each async for each in self.rejected(whose)]),
            await self._kept.read(lambda each: erasing.count_links(each, whose)),
            len(await self.tiles(whose)),
            unread,
            tuple(ids),
        )

    async def who(
        self, open_view: OpenView, app: AppSettings, person: str, *, is_alone: bool = False
    ) -> Person:
        """Return whose an id is; where there is no archive, an id is itself. Raises TooMany."""
        if not await self._kept.read(erasing.has_archive):
            whose = Whose(app.id, app.user_field, [person], EVER)
            found = [len(some) async for some in self.events(whose)]
            return Person([person], Events(sum(found), None, None))

        def look() -> Person:
            with open_view(app.id, people.EVENTS) as view:
                return people.look_up(view, person, is_alone=is_alone)

        return await asyncio.to_thread(look)

    async def events(self, whose: Whose, tell: Tell = _nothing) -> AsyncGenerator[list[UUID], None]:
        """Yield their events in Postgres, after a look at each row of the app."""
        async for span in self.spans(whose.app_id):
            yield await self._kept.read(partial(erasing.find, whose=whose, span=span))
            tell(SPAN_ROWS)

    async def spans(self, app_id: int) -> AsyncIterator[Span]:
        """Yield what an app's events consist of, in order."""
        after = BEGINNING
        while True:
            span = await self._kept.read(partial(erasing.next_span, app_id=app_id, after=after))
            if span is None:
                return
            yield span
            after = span.last

    async def archived(self, whose: Whose) -> int:
        """Return how many of their events are in files of the archive."""
        removal = self._removal
        if removal is None or not await self._kept.read(erasing.has_archive):
            return 0
        return await in_thread("search", lambda: removal.count(whose), removal.stop)

    async def spooled(self, whose: Whose) -> tuple[int, Unread]:
        """Return how many wait on this server's disk, and what can't be read there."""
        return await asyncio.to_thread(spooled.count, self._config, whose)

    async def rejected(self, whose: Whose) -> AsyncIterator[UUID]:
        """Yield their rejected events."""
        after = BEGINNING
        while True:
            page = await self._kept.read(partial(erasing.rejected, whose=whose, after=after))
            for each in page.theirs:
                yield each
            if page.last is None:
                return
            after = page.last

    async def tiles(self, whose: Whose) -> list[int]:
        """Return the tiles whose question names them."""

        async def work(connection: Connection) -> list[int]:
            return await boards.naming(connection, whose.app_id, whose.user_field, whose.ids)

        return await self._kept.read(work)
