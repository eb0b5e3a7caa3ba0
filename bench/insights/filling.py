"""Fills a database as a server has filled it after two months, and archives that.

COPY goes straight into `events`, with ids of the time, into partitions of its own. The archiver is
the server's, in a thread of this process; how fast it is counts from its start to the end of its
round, merging included. What comes behind it is the tail.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Final, NamedTuple

from msgspec.structs import replace

from bench import servers
from bench.console import Update
from bench.errors import BenchError
from bench.insights import events, place
from bench.insights.events import Period
from bench.insights.place import Archiving, Filled, Place
from bench.load import database
from bench.load.database import Session
from ingest.app.database import make_partitions, make_postgres
from ingest.archive.archiver import Archiver
from ingest.archive.failures import ArchiveTrouble
from ingest.archive.view import Views, views_of
from ingest.config import Config
from ingest.store import api_keys, upkeep

APP: Final = "bench-insights"
"""Whose events are asked for."""
TIMEOUT_S: Final = 7_200.0
"""Of each statement: a question in SQL may take minutes."""

_SEED: Final = 14
_TAIL_LENGTH: Final = timedelta(hours=1)
_LOOK_S: Final = 0.05

Bar = Callable[[str, float], AbstractContextManager[Update]]
"""Shows a bar of a description and a total; yields what moves it."""


class Site(NamedTuple):
    """A database that is filled, and its archive."""

    place: Place
    app_id: int
    filled: Filled
    views: Views


def prepared(where: Place, count: int, bar: Bar) -> Site:
    """Fill a place unless it is filled; see that there is a tail. Raises BenchError."""
    app_id = _prepare(where.database_url)
    filled = place.read(where, count) or _fill(where, app_id, count, bar)
    site = Site(where, app_id, filled, _views_of(where))
    _add_tail(site)
    return site


def _views_of(where: Place) -> Views:
    """Return what opens views, with the settings that a server has by default."""
    config = Config()
    archive = replace(config.archive, path=str(where.archive))
    return views_of(replace(config, archive=archive), where.database_url)


def archive(where: Place, update: Update) -> Archiving:
    """Archive what there is; return how long that took. Raises BenchError."""
    settings = Config().archive
    archiver = Archiver(
        where.database_url,
        where.archive,
        interval_s=settings.interval_s,
        memory_max=settings.memory_max,
        threads=1,
    )
    failures: list[ArchiveTrouble] = []
    thread = threading.Thread(target=_round, args=(archiver, failures), name="archiver")
    begun = written = _Moment.now()
    rows = 0
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK_S)
        if archiver.figures.rows != rows:
            rows, written = archiver.figures.rows, _Moment.now()
            update(completed=rows)
    if failures:
        raise BenchError(f"the archive: {failures[0]}")
    return Archiving(*begun.until(_Moment.now()), *begun.until(written))


class _Moment(NamedTuple):
    """What a clock shows, and how much CPU this process has had."""

    at_s: float
    cpu_s: float

    @classmethod
    def now(cls) -> "_Moment":
        return cls(time.perf_counter(), time.process_time())

    def until(self, later: "_Moment") -> tuple[float, float]:
        return later.at_s - self.at_s, later.cpu_s - self.cpu_s


def _round(archiver: Archiver, failures: list[ArchiveTrouble]) -> None:
    try:
        archiver.round()
    except ArchiveTrouble as trouble:
        failures.append(trouble)


def _prepare(url: str) -> int:
    """Bring a database to the server's schema; return the app whose events are asked for."""
    servers.make_key(url)

    async def work(connection: Session) -> int:
        find = "SELECT id FROM apps WHERE name = $1"
        if await connection.fetchval(find, APP) is None:
            await api_keys.create(connection, APP, "python -m bench", None)
        return int(await connection.fetchval(find, APP))

    return database.run(url, work)


def _fill(where: Place, app_id: int, count: int, bar: Bar) -> Filled:
    period = place.new_period()
    _empty(where.database_url)
    asyncio.run(_partition(where.database_url, app_id, period))
    with bar("filling Postgres", count) as update:
        _copy(where.database_url, app_id, period, count, update)
    database.run(where.database_url, _tidy, TIMEOUT_S)
    asyncio.run(upkeep.complete(make_postgres(Config(), where.database_url)))
    with bar("archiving", count) as update:
        archiving = archive(where, update)
    filled = Filled(count, *period, archiving)
    place.write(where, filled)
    return filled


def _empty(url: str) -> None:
    """Take out what a run has left that did not come to its end."""

    async def work(connection: Session) -> None:
        await connection.execute("TRUNCATE events")
        await connection.execute("TRUNCATE archive_files")
        await connection.execute("UPDATE archive_state SET system_identifier = NULL")

    database.run(url, work)


async def _partition(url: str, app_id: int, period: Period) -> None:
    """Make the partitions of a period, as the server does it for events of the past."""
    postgres = make_postgres(Config(), url)
    partitions = make_partitions(Config(), postgres)
    moments = [(app_id, round(each.start.timestamp() * 1000)) for each in period.cut(events.DAYS)]
    await partitions.ensure()
    await partitions.make_for(moments)
    if not all(partitions.covers(ms) for _, ms in moments):
        raise BenchError("not every day has a partition")
    await upkeep.complete(postgres)


def _copy(url: str, app_id: int, period: Period, count: int, update: Update) -> None:
    """Send so many events in many transactions; the next ones are made meanwhile."""
    chunks = -(-count // events.CHUNK)
    sizes = [count // chunks + (number < count % chunks) for number in range(chunks)]

    async def work(connection: Session) -> None:
        made: list[bytes] = []
        for number, piece in enumerate([*period.cut(chunks), None]):
            making = piece and asyncio.create_task(
                asyncio.to_thread(events.chunk, app_id, piece, sizes[number], _SEED + number)
            )
            if made:
                await copy(connection, made.pop())
                update(advance=sizes[number - 1])
            if making:
                made.append(await making)

    database.run(url, work, TIMEOUT_S)


async def copy(connection: Session, chunk: bytes) -> None:
    """Store a chunk of events."""

    async def source() -> AsyncIterator[bytes]:
        yield chunk

    await connection.copy_to_table("events", source=source(), columns=events.COLUMNS)


async def _tidy(connection: Session) -> None:
    """Do what autovacuum, as upkeep has it, and the checkpointer do in time."""
    over = await connection.fetch(
        "SELECT relid::regclass::text AS name FROM pg_partition_tree('events')"
        " JOIN pg_class ON oid = relid WHERE isleaf AND reloptions IS NULL"
    )
    for each in over:
        await connection.execute(f"VACUUM {each['name']}")
    await connection.execute("ANALYZE events")
    await connection.execute("CHECKPOINT")


def _add_tail(site: Site) -> None:
    """Have some thousand events that are not in the archive."""
    wanted = events.tail_of(site.filled.events)
    with site.views.view(app_id=site.app_id) as view:
        missing = wanted - view.tail_rows
    if missing <= 0:
        return
    end = site.filled.end
    seed = database.count(site.place.database_url)
    chunk = events.chunk(site.app_id, Period(end - _TAIL_LENGTH, end), missing, seed)
    database.run(site.place.database_url, lambda connection: copy(connection, chunk))
