"""Horizons: up to where the events of each app go, by the time in their ids, and since when.

They move once a day, at midnight UTC, and what moves them is what a server is configured to keep
and what an app has of its own. Where that keeps less than before, it is announced and holds only
GRACE later: who has written 30 for 300 has so long to take it back. Of servers that are configured
differently the one that keeps the longest has its way, as each announces anew what the other has
taken back. So is a move announced after LEAP without one: the clock may be wrong.

Nothing is deleted that is not behind a horizon which was committed before: so whoever asks about
events leaves them out from one moment on, and not as they go.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import asyncpg
import structlog

from ingest.errors import StartupError
from ingest.store import citus
from ingest.store.archive_mark import Waits
from ingest.store.postgres import Connection

log = structlog.get_logger(__name__)

AS_POSTGRES: Final = -1
"""Of the archive: as long as Postgres."""
OTHERS: Final = 0
"""Stands for all apps that are in no table."""
GRACE: Final = timedelta(minutes=10)
LEAP: Final = timedelta(days=2)
LOCK: Final = 0x6E6F_6E69_746F_0004  # "nonito", 4

_SHOWN_MAX: Final = 10
_CLOCK_ERROR_MAX: Final = timedelta(hours=1)
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Of apps that are in no table those are found that have strays, each by one look into the index;
# in a partition they go with that.
_STRAYS: Final = """
RECURSIVE stray (app_id) AS (
    SELECT min(app_id) FROM events_default UNION ALL
    SELECT (SELECT min(app_id) FROM events_default WHERE app_id > stray.app_id) FROM stray
    WHERE stray.app_id IS NOT NULL
)
"""
# Citus knows no recursion over all shards.
_STRAYS_OF_SHARDS: Final = "stray AS (SELECT DISTINCT app_id FROM events_default)"
_WANTED: Final = """
WITH {strays} SELECT app_id, name, coalesce(apps.retain_days, $1) AS days,
    coalesce(apps.archive_retain_days, $2) AS archive_days, known
FROM (
    SELECT id AS app_id FROM apps UNION SELECT app_id FROM archive_files
    UNION SELECT app_id FROM retention UNION SELECT 0
    UNION SELECT app_id FROM stray WHERE app_id IS NOT NULL
) AS each LEFT JOIN apps ON apps.id = app_id LEFT JOIN retention AS known USING (app_id)
ORDER BY app_id
"""
_SAY: Final = """
INSERT INTO retention AS known (app_id, retain_days, archive_retain_days) VALUES ($1, $2, $3)
ON CONFLICT (app_id) DO UPDATE
SET retain_days = excluded.retain_days, archive_retain_days = excluded.archive_retain_days,
    announced_at = CASE WHEN $4 THEN now() ELSE known.announced_at END,
    moved_at = CASE WHEN $4 THEN NULL ELSE known.moved_at END
"""
_ANNOUNCE: Final = "UPDATE retention SET announced_at = now(), moved_at = NULL WHERE app_id = $1"
_MOVE: Final = """
UPDATE retention
SET events_before = $2, archive_before = $3, dropped_before = greatest(dropped_before, $2),
    moved_at = now()
WHERE app_id = $1 AND (events_before, archive_before) IS DISTINCT FROM ($2, $3)
"""
# An app of which no server has said anything yet keeps all.
_COLUMNS: Final = (
    "coalesce(app_id, apps.id), coalesce(name, ''), coalesce(known.retain_days, 0),"
    " coalesce(known.archive_retain_days, 0), coalesce(announced_at, now()), moved_at,"
    " events_before, archive_before, dropped_before, forgotten_before, coalesce(trouble, '')"
    " FROM retention AS known"
)
_READ: Final = f"SELECT {_COLUMNS} FULL JOIN apps ON apps.id = app_id ORDER BY 1"
_HOLD: Final = (
    f"SELECT {_COLUMNS} LEFT JOIN apps ON apps.id = app_id WHERE app_id = $1 FOR SHARE OF known"
)


class Kept(NamedTuple):
    """How long a server keeps the events of an app that has nothing of its own, in days.

    0 is for ever, and AS_POSTGRES of the archive as long as Postgres.
    """

    days: int
    archive_days: int
    archive_interval_s: float | None = None
    """So often this server archives; None if it does not."""


class Horizon(NamedTuple):
    """What is kept of one app."""

    app_id: int
    app: str
    """Its name; empty of OTHERS, and of one that is in no table any more."""
    days: int
    archive_days: int
    announced_at: datetime
    moved_at: datetime | None
    """When it moved last; None since it was announced."""
    events_before: datetime | None
    """What is older goes from Postgres; None for nothing."""
    archive_before: datetime | None
    """What is older is in no answer."""
    dropped_before: datetime | None
    """The latest `events_before` there ever was: what is older may be in the archive alone."""
    forgotten_before: datetime | None
    """Up to where the archive has let events go, whatever it is to keep now."""
    trouble: str

    @property
    def is_archived_first(self) -> bool:
        """Whether an event has to be in the archive before it goes from Postgres."""
        if self.events_before is None:
            return False
        return self.archive_before is None or self.archive_before < self.events_before

    def require_taken_again(self) -> None:
        """Raise Waits while the archive has let go what it is to keep again."""
        gone = self.forgotten_before
        if gone and (self.archive_before is None or self.archive_before < gone):
            raise Waits(
                "events wait that the archive has let go and is to keep again: first it is made"
                " anew, by whoever archives"
            )

    def goes_on_to(self, due: Sequence[datetime | None]) -> bool:
        """Return whether more than now would be behind others, of Postgres and of the archive."""
        now = (self.events_before, self.archive_before)
        return any(new and (old is None or new > old) for old, new in zip(now, due, strict=True))


async def advance(
    connection: Connection, kept: Kept, grace: timedelta = GRACE
) -> Sequence[Horizon] | None:
    """Announce what is new, and move the horizons that are due; return all of them.

    None while another server does it. Raises PostgresError, and StartupError where this machine's
    clock and that of Postgres tell different days.
    """
    async with connection.transaction(isolation="read_committed"):
        if not await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({LOCK})"):
            return None
        now = await connection.fetchval("SELECT now()")
        _require_same_clock(now)
        less = await _announce(connection, kept)
        for each in await read(connection):
            if not await _move(connection, each, now, grace):
                less.append(_told(each.app, each.days, each.archive_days))
        _warn(less)
        return await read(connection)


async def read(connection: Connection) -> Sequence[Horizon]:
    """Return the horizon of each app, that of OTHERS first; raise PostgresError."""
    return [Horizon(*row) for row in await connection.fetch(_READ)]


async def hold(connection: Connection, app_id: int) -> Horizon | None:
    """Return that of an app, which stays until the transaction ends; raise PostgresError."""
    row = await connection.fetchrow(_HOLD, app_id)
    return Horizon(*row) if row else None


async def planned(connection: Connection, kept: Kept) -> Sequence[Horizon]:
    """Return where they are going to be by a server's configuration; changes nothing.

    Raises PostgresError.
    """
    now = await connection.fetchval("SELECT now()")
    before = by_app(await read(connection))
    found = []
    for row in await _wanted(connection, kept):
        days, archive_days = _days_of(row)
        known = before.get(row["app_id"])
        events = horizon_of(days, now)
        dropped = [each for each in (known and known.dropped_before, events) if each]
        found.append(
            Horizon(
                row["app_id"],
                row["name"] or "",
                days,
                archive_days,
                _announced_at(known, days, archive_days, now),
                known.moved_at if known else None,
                events,
                horizon_of(archive_days, now),
                max(dropped, default=None),
                known.forgotten_before if known else None,
                known.trouble if known else "",
            )
        )
    return found


def by_app(horizons: Sequence[Horizon]) -> Mapping[int, Horizon]:
    """Return them by app; of one that is not there that of OTHERS counts."""
    return {each.app_id: each for each in horizons}


def horizon_of(days: int, now: datetime) -> datetime | None:
    """Return the time before which events go that are kept for so many days; None for nothing.

    At the earliest 1970, as no id is from before.
    """
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = min(days, (midnight - _EARLIEST).days)
    return None if days == 0 else midnight - timedelta(days=days)


async def _move(connection: Connection, each: Horizon, now: datetime, grace: timedelta) -> bool:
    """Move a horizon if it is due; return False if that was announced: it has not for too long."""
    due = horizon_of(each.days, now), horizon_of(each.archive_days, now)
    if each.goes_on_to(due) and abs(now - (each.moved_at or each.announced_at)) > LEAP:
        await connection.execute(_ANNOUNCE, each.app_id)
        return False
    if now - each.announced_at >= grace:
        await connection.execute(_MOVE, each.app_id, *due)
    return True


async def _wanted(connection: Connection, kept: Kept) -> Sequence[asyncpg.Record]:
    """Return what is wanted of each app, and what is known of it."""
    strays = _STRAYS_OF_SHARDS if await citus.is_distributed(connection) else _STRAYS
    return await connection.fetch(_WANTED.format(strays=strays), kept.days, kept.archive_days)


async def _announce(connection: Connection, kept: Kept) -> list[str]:
    """Write what holds for each app from now on; return what is less than before, in words."""
    less: list[str] = []
    for row in await _wanted(connection, kept):
        known = row["known"]
        days, archive_days = _days_of(row)
        before = (known["retain_days"], known["archive_retain_days"]) if known else (0, 0)
        if known and before == (days, archive_days):
            continue
        is_less = _is_less(days, before[0]) or _is_less(archive_days, before[1])
        await connection.execute(_SAY, row["app_id"], days, archive_days, is_less)
        if is_less:
            less.append(_told(row["name"], days, archive_days))
    return less


def _told(app: str | None, days: int, archive_days: int) -> str:
    return f"{app or 'all others'}: {days}, in the archive {archive_days}"


def _warn(less: Sequence[str]) -> None:
    if not less:
        return
    log.warning(
        "events are to go that were kept so far: so long is the time to take it back",
        begins_in_s=GRACE.total_seconds(),
        retain_days=less[:_SHOWN_MAX],
        apps=len(less),
        more="nonito retention",
    )


def _days_of(row: asyncpg.Record) -> tuple[int, int]:
    """Return for how many days an app's events are to be kept, in Postgres and in the archive."""
    days, archive_days = row["days"], row["archive_days"]
    return days, days if archive_days == AS_POSTGRES else archive_days


def _announced_at(known: Horizon | None, days: int, archive_days: int, now: datetime) -> datetime:
    """Return since when so many days are announced: since now, where that is less than before."""
    if not known or _is_less(days, known.days) or _is_less(archive_days, known.archive_days):
        return now
    return known.announced_at


def _is_less(days: int, before: int) -> bool:
    """Return whether so many days are shorter than those before; 0 is for ever."""
    return bool(days) and (before == 0 or days < before)


def _require_same_clock(now: datetime) -> None:
    """Raise StartupError if this machine's clock is far from that of Postgres: one is wrong."""
    error = abs(datetime.now(UTC) - now)
    if error > _CLOCK_ERROR_MAX:
        raise StartupError(
            f"the clocks of this machine and of Postgres differ by {error.total_seconds():.0f} s:"
            " no event goes until they agree"
        )
