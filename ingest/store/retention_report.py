"""What goes when, and what waits: for people."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from ingest.store import expired_partitions, horizons
from ingest.store.expired_partitions import Partition
from ingest.store.horizons import GRACE, OTHERS, Horizon
from ingest.store.postgres import Connection

PARTITIONS_MAX: Final = 6
APPS_MAX: Final = 20
_DAYS_MAX: Final = 36_500
"""A century is as good as for ever, and still a date."""


class Going(NamedTuple):
    """A partition, and when it goes."""

    partition: Partition
    at: datetime | None
    """None for never."""
    kept_for: str
    """The app that keeps it for the longest; empty for none, and for apps that are in no table."""


class RetentionReport(NamedTuple):
    """What is kept of which app, and what goes next."""

    others: Horizon | None
    """What holds for apps that are in no table: the server's configuration. None if no server has
    said anything yet."""
    apps: Sequence[Horizon]
    """Those that have something other than that, or of which something waits."""
    more_apps: int
    """So many of these are left out."""
    partitions: Sequence[Going]
    """The oldest, if any event goes at all."""
    begins_at: datetime | None
    """When what was announced last begins, if that is ahead."""

    @property
    def troubles(self) -> Sequence[str]:
        """Return why something waits that is to go, in words."""
        found = [self.others] if self.others else []
        return [
            f"{each.app}: {each.trouble}" if each.app else each.trouble
            for each in (*found, *self.apps)
            if each.trouble
        ]


async def read(connection: Connection) -> RetentionReport:
    """Return what servers have said and done; raise PostgresError."""
    return await make(connection, await horizons.read(connection))


async def make(
    connection: Connection, found: Sequence[Horizon], partitions_max: int = PARTITIONS_MAX
) -> RetentionReport:
    """Return what comes of some horizons, of so many partitions at most; raise PostgresError."""
    known = horizons.by_app(found)
    others = known.get(OTHERS)
    usual = (others.days, others.archive_days) if others else (0, 0)
    apps = [
        each
        for each in found
        if each.app_id != OTHERS and ((each.days, each.archive_days) != usual or each.trouble)
    ]
    going = []
    if any(each.days for each in found):
        for each in (await expired_partitions.list_all(connection))[:partitions_max]:
            holding = await expired_partitions.holders(connection, each, known)
            # One that is empty goes as those go that its events may be of.
            going.append(_going(each, holding or {OTHERS: known[OTHERS]}))
    begins_at = max((each.announced_at + GRACE for each in found if _less(each)), default=None)
    is_ahead = begins_at is not None and begins_at > datetime.now(UTC)
    return RetentionReport(
        others,
        apps[:APPS_MAX],
        max(0, len(apps) - APPS_MAX),
        going,
        begins_at if is_ahead else None,
    )


def drop_s(partition: Partition, holding: Mapping[int, Horizon]) -> float:
    """Return when a partition goes, as a Unix time; infinite for never."""
    days = [each.days for each in holding.values()]
    if not days or not all(days):
        return math.inf
    return (partition.range.end + timedelta(days=min(max(days), _DAYS_MAX))).timestamp()


def _going(partition: Partition, holding: Mapping[int, Horizon]) -> Going:
    at_s = drop_s(partition, holding)
    last = max(holding.values(), key=lambda each: each.days or math.inf, default=None)
    at = None if math.isinf(at_s) else datetime.fromtimestamp(at_s, UTC)
    return Going(partition, at, last.app if last else "")


def _less(each: Horizon) -> bool:
    return bool(each.days or each.archive_days)
