"""People as stored: whose an id is, a copy of all of it, and its erasure.

Erased is somewhere else, by whoever has the archive (`privacy/duty.py`); here it is asked for, and
said how far it is. It is asked twice: what goes is named first, and has to be named again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Final

import msgspec

from ingest.api import files
from ingest.api.desk import Desk, TookTooLong, Work
from ingest.api.refusals import Code, Refused, invalid
from ingest.api.views import View
from ingest.config import Config
from ingest.insights.bounds import TEXT_MAX
from ingest.privacy import people
from ingest.privacy.export import Export
from ingest.privacy.people import TooMany
from ingest.privacy.search import Search
from ingest.store import erasures
from ingest.store.app_settings import AppSettings
from ingest.store.erasures import Erasure
from ingest.store.kept import Kept

_IN_MEMORY_BYTES: Final = 256 * 1024


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a person, and would be erased."""

    ids: Sequence[str]
    """All of theirs; the one that was asked for is the first."""
    events: int
    first: datetime | None
    last: datetime | None
    confirm: str
    """What says that it is these ids that are to be erased."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure, as its app is told of it: without an id of the person."""

    id: int
    asked_at: datetime
    done_at: datetime | None
    stage: str
    trouble: str
    events: int
    rejected: int
    keys: int
    links: int
    tiles: int
    files: int


def told(erasure: Erasure) -> Told:
    """Return how an erasure is told of."""
    found = erasure._asdict()
    return Told(**{name: found[name] for name in Told.__struct_fields__})


class People:
    """What is stored of people of all apps; what one app's is, is known by its number."""

    def __init__(self, desk: Desk, kept: Kept, config: Config) -> None:
        self._desk = desk
        self._kept = kept
        self._directory = Path(config.archive.path) / "temporary"
        self.asked_to_erase = asyncio.Event()
        """Set when somebody is to be erased."""
        self._export = Export(kept, config, Search(kept, config), desk.open_view)

    async def stored(self, app: AppSettings, person: str) -> Stored:
        """Return what is stored of whom an id is; raise Refused, ArchiveTrouble."""
        require(person)

        def look(view: View) -> people.Person:
            return people.look_up(view, person)

        try:
            found = await self._desk.do(Work(self._desk.open_view, app.id, people.EVENTS, look))
        except TooMany as error:
            raise invalid("person", str(error)) from None
        except TookTooLong:
            message = f"This takes longer than {self._desk.timeout_s:g} s; ask again."
            raise Refused(Code.TOO_DEAR, message) from None
        events = found.events
        return Stored(
            ids=found.ids,
            events=events.number,
            first=events.earliest,
            last=events.latest,
            confirm=_confirming(found.ids),
        )

    async def erase(self, app: AppSettings, person: str, confirm: str, by: str) -> Erasure:
        """Have somebody erased if what goes was named; raise Refused, ArchiveTrouble, Unavailable.

        What is being erased already is gone on with, also by whoever did not hear the answer and
        asks once more: what was named is half gone by then.
        """
        found = await self.stored(app, person)
        if confirm != found.confirm:
            if going_on := await self._going_on(app, person):
                return going_on
            raise Refused(
                Code.NOT_CONFIRMED,
                f"Nothing is erased yet. {found.events} events of {len(found.ids)} ids would be:"
                f" GET this path names them. Send confirm={found.confirm} to erase them.",
            )
        erasure = await self._kept.change(
            partial(erasures.ask, app_id=app.id, ids=found.ids, asked_by=by)
        )
        self.asked_to_erase.set()
        return erasure

    async def _going_on(self, app: AppSettings, person: str) -> Erasure | None:
        of_person = partial(erasures.of_person, app_id=app.id, person=person)
        asked = await self._kept.read(of_person)
        return next((each for each in asked if each.done_at is None), None)

    async def erasure(self, app: AppSettings, number: int) -> Erasure | None:
        """Return an erasure of an app; None if it has none of this number. Raises Unavailable."""
        return await self._kept.read(partial(erasures.find, app_id=app.id, erasure_id=number))

    async def copy(self, app: AppSettings, person: str) -> IO[bytes]:
        """Return a copy of what is stored of somebody, as NDJSON in a file without a name.

        However slowly that is sent, nothing else is held for it. Raises what `stored` does.
        """
        found = await self.stored(app, person)
        file: IO[bytes] = SpooledTemporaryFile(  # noqa: SIM115 - closed by whoever sends it
            max_size=_IN_MEMORY_BYTES, dir=str(self._directory)
        )
        try:
            async with aclosing(self._export.lines(app, [*found.ids])) as lines:
                async for line in lines:
                    await files.in_time(file.write, line)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file


def require(person: str) -> None:
    """Raise Refused for what is nobody's id."""
    if not people.is_id(person) or len(person) > TEXT_MAX:
        raise invalid("person", f"write an id of {TEXT_MAX:,} characters at most")


def _confirming(ids: Sequence[str]) -> str:
    return sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]
