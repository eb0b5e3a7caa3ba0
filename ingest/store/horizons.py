"""Horizons: up to where the events of each app go, by the time in their ids, and since when.

They move once a day, at midnight UTC, and what moves them is what a server is configured to keep
and what an app has of its own. Where that keeps less than before, it is announced and holds only
GRACE later: who has written 30 for 300 has so long to take it back. Of servers that are configured
differently the one that keeps the longest has its way, as each announces anew what the other has
taken back.

Nothing is deleted that is not behind a horizon which was committed before: so whoever asks about
events leaves them out from one moment on, and not as they go.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import asyncpg
import structlog

from ingest.errors import StartupError
from ingest.store.periods import first_id
from ingest.store.postgres import Connection

log = structlog.get_logger(__name__)

AS_POSTGRES: Final = -1
"""Of the archive: as long as Postgres."""
OTHERS: Final = 0
"""Stands for all apps that are in no table."""
GRACE: Final = timedelta(minutes=10)
LOCK: Final = 0x6E6F_6E69_746F_0004  # "nonito", 4

_SHOWN_MAX: Final = 10
_CLOCK_ERROR_MAX: Final = timedelta(hours=1)
# Of apps that are in no table those are found that have strays, each by one look into the index;
# in a partition they go with that.
_WANTED: Final = """
WITH RECURSIVE stray (app_id) AS (
    SELECT min(app_id) FROM events_default UNION ALL
    SELECT (SELECT min(app_id) FROM events_default WHERE app_id > stray.app_id) FROM stray
    WHERE stray.app_id IS NOT NULL
)
SELECT app_id, name, coalesce(apps.retain_days, $1) AS days,
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
    announced_at = CASE WHEN $4 THEN now() ELSE known.announced_at END
"""
_MOVE: Final = """
UPDATE retention
SET events_before = $2, archive_before = $3, dropped_before = greatest(dropped_before, $2)
WHERE app_id = $1 AND (events_before, archive_before) IS DISTINCT FROM ($2, $3)
"""
_READ: Final = (
    "SELECT app_id, coalesce(name, ''), known.retain_days, known.archive_retain_days, announced_at,"
    " events_before, archive_before, dropped_before, trouble FROM retention AS known"
    " LEFT JOIN apps ON apps.id = app_id ORDER BY app_id"
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
    events_before: datetime | None
    """What is older goes from Postgres; None for nothing."""
    archive_before: datetime | None
    """What is older is in no answer."""
    dropped_before: datetime | None
    """The latest `events_before` there ever was: what is older may be in the archive alone."""
    trouble: str

    @property
    def is_archived_first(self) -> bool:
        """Whether an event has to be in the archive before it goes from Postgres."""
        if self.events_before is None:
            return False
        return self.archive_before is None or self.archive_before < self.events_before


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
        await _announce(connection, kept)
        for each in await read(connection):
            if now - each.announced_at >= grace:
                due = horizon_of(each.days, now), horizon_of(each.archive_days, now)
                await connection.execute(_MOVE, each.app_id, *due)
        return await read(connection)


async def read(connection: Connection) -> Sequence[Horizon]:
    """Return the horizon of each app, that of OTHERS first; raise PostgresError."""
    return [Horizon(*row) for row in await connection.fetch(_READ)]


async def planned(connection: Connection, kept: Kept) -> Sequence[Horizon]:
    """Return where they are going to be by a server's configuration; changes nothing.

    Raises PostgresError.
    """
    now = await connection.fetchval("SELECT now()")
    before = by_app(await read(connection))
    found = []
    for row in await connection.fetch(_WANTED, kept.days, kept.archive_days):
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
                known.announced_at if known else now,
                events,
                horizon_of(archive_days, now),
                max(dropped, default=None),
                known.trouble if known else "",
            )
        )
    return found


def by_app(horizons: Sequence[Horizon]) -> Mapping[int, Horizon]:
    """Return them by app; of one that is not there that of OTHERS counts."""
    return {each.app_id: each for each in horizons}


def horizon_of(days: int, now: datetime) -> datetime | None:
    """Return the time before which events go that are kept for so many days; None for nothing."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return None if days == 0 else midnight - timedelta(days=days)


def bound(horizon: datetime) -> str:
    """Return the first id that is not before a horizon."""
    return str(first_id(horizon))


async def _announce(connection: Connection, kept: Kept) -> None:
    """Write what holds for each app from now on; log what is new."""
    less: list[str] = []
    for row in await connection.fetch(_WANTED, kept.days, kept.archive_days):
        app, known = row["name"], row["known"]
        days, archive_days = _days_of(row)
        before = (known["retain_days"], known["archive_retain_days"]) if known else (0, 0)
        if known and before == (days, archive_days):
            continue
        is_less = _is_less(days, before[0]) or _is_less(archive_days, before[1])
        await connection.execute(_SAY, row["app_id"], days, archive_days, is_less)
        if is_less:
            less.append(f"{app or 'all others'}: {days}, in the archive {archive_days}")
    if less:
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
