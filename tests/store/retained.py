"""What tests of retention share: events of any time, partitions, and one round."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ingest.store import archive_mark
from ingest.store.horizons import Kept
from ingest.store.periods import first_id, name_of, period_of
from ingest.store.retention import Figures, Retention
from tests.support.postgres import fetch, make_postgres

NO_GRACE = timedelta(0)
OF_HERE = f"system_identifier = {archive_mark.SYSTEM}, timeline = {archive_mark.TIMELINE}"
"""The mark's, of an archive of this Postgres."""
_numbers = itertools.count()  # of the same thousandth of a second there may be several stores
_INSERT = (
    "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
    " SELECT $1, id, 'test', '{}', now() FROM unnest($2::uuid[]) AS t (id)"
)


def days_ago(days: int) -> datetime:
    """Return the noon of a day."""
    return datetime.now(UTC).replace(hour=12, minute=0, second=0) - timedelta(days=days)


def id_of(moment: datetime, number: int = 1) -> UUID:
    """Return an id of a time."""
    return UUID(int=first_id(moment).int + number)


async def store(url: str, ages: Sequence[int], app_id: int = 1, each: int = 1) -> list[UUID]:
    """Store events of so many days ago; return their ids."""
    ids = [id_of(days_ago(age), next(_numbers)) for age in ages for _ in range(each)]
    await fetch(url, _INSERT, app_id, ids)
    return ids


async def make_partition(url: str, age: int, period: str = "day") -> str:
    """Make the partition of so many days ago; return its name."""
    wanted = period_of(days_ago(age), period)  # type: ignore[arg-type]
    await fetch(
        url,
        f"CREATE TABLE {name_of(wanted)} PARTITION OF events"
        f" FOR VALUES FROM ('{first_id(wanted.start)}') TO ('{first_id(wanted.end)}')",
    )
    return name_of(wanted)


async def ages(url: str, app_id: int = 1) -> list[int]:
    """Return of how many days ago an app's stored events are, the oldest first."""
    found = await fetch(url, "SELECT id FROM events WHERE app_id = $1 ORDER BY id", app_id)
    today = datetime.now(UTC).date()
    return [
        (today - datetime.fromtimestamp((UUID(str(row["id"])).int >> 80) / 1000, UTC).date()).days
        for row in found
    ]


async def one_round(
    url: str,
    days: int,
    archive_days: int = -1,
    *,
    has_archive: bool = False,
    grace: timedelta = NO_GRACE,
) -> Figures:
    """Have go what a server of this configuration has go."""
    kept = Kept(days, archive_days, 60.0 if has_archive else None)
    return await Retention(make_postgres(url), kept, grace).round()


async def troubles(url: str) -> dict[int, str]:
    """Return why something waits, by app."""
    found = await fetch(url, "SELECT app_id, trouble FROM retention WHERE trouble <> ''")
    return {row["app_id"]: row["trouble"] for row in found}
