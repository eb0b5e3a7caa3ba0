"""What was sent of limits by the day, in Postgres: for all servers, and for a server's next start.

One process of a server adds what all of its processes have let in, every two seconds, and reads
what others have. So a server that is killed forgets what its last two seconds brought, and several
servers let in together what they get in two seconds beyond a limit.
"""

import asyncio
import random
from collections.abc import Iterable
from datetime import date
from typing import Any, Final, NamedTuple

import structlog

from ingest.metering.meter import Meter, Subject
from ingest.metering.meters import Meters
from ingest.store.failures import Unavailable
from ingest.store.postgres import Connection, Postgres
from ingest.store.reasons import reason_of

log = structlog.get_logger(__name__)

INTERVAL_S: Final = 2.0
_TIMEOUT_S: Final = 5.0
_READ_EVERY: Final = 5
"""At every so many, what others have sent is read of all, also of those who sent nothing here."""
# In the order of the key, so that servers never wait for each other in a circle. A day that is over
# for another server, whose clock is ahead or who has the app's new zone already, is over.
_ADD: Final = (
    "INSERT INTO limit_uses AS known (app_id, key_id, day, events, bytes)"
    " SELECT * FROM unnest($1::int[], $2::int[], $3::date[], $4::bigint[], $5::bigint[])"
    "  AS added (app_id, key_id, day, events, bytes) ORDER BY app_id, key_id"
    " ON CONFLICT (app_id, key_id) DO UPDATE SET"
    " day = greatest(known.day, excluded.day),"
    " events = CASE WHEN known.day < excluded.day THEN excluded.events"
    "  WHEN known.day = excluded.day THEN known.events + excluded.events ELSE known.events END,"
    " bytes = CASE WHEN known.day < excluded.day THEN excluded.bytes"
    "  WHEN known.day = excluded.day THEN known.bytes + excluded.bytes ELSE known.bytes END"
    " RETURNING app_id, key_id, day, events, bytes"
)
_READ: Final = (
    "SELECT app_id, key_id, day, events, bytes FROM limit_uses"
    " JOIN unnest($1::int[], $2::int[]) AS asked (app_id, key_id) USING (app_id, key_id)"
)
_USED: Final = (
    "SELECT events, bytes FROM limit_uses"
    " WHERE app_id = $1 AND key_id = $2 AND day = (now() AT TIME ZONE $3)::date"
)


class Used(NamedTuple):
    """What was sent of a day, as far as it is settled."""

    events: int
    bytes: int


async def used_today(connection: Connection, app_id: int, key_id: int, zone: str) -> Used:
    """Return what an app, or a key with its number, has sent today in a time zone."""
    row = await connection.fetchrow(_USED, app_id, key_id, zone)
    return Used(*row) if row else Used(0, 0)


class DayUses:
    """Settles what the processes of one server have let in; to be done by one of them."""

    def __init__(self, postgres: Postgres, meters: Meters) -> None:
        self._postgres = postgres
        self._meters = meters
        self._times = 0
        self._known: set[tuple[Subject, int]] = set()
        """Of which day what others have sent was read."""
        self._reason = ""
        """Why the last try failed; empty if it did not."""

    async def run(self) -> None:
        """Settle for ever; an outage only delays it."""
        while True:
            try:
                await self.settle()
            except Unavailable as failure:
                self._complain(failure.reason)
            except Exception as error:  # noqa: BLE001 - asyncpg has many, InternalClientError too
                self._complain(reason_of(error))
            else:
                self._reason = ""
            await asyncio.sleep(INTERVAL_S * random.uniform(0.8, 1.0))  # noqa: S311 - jitter

    async def settle(self) -> None:
        """Add what was let in lately, and read what others have; raise what asyncpg does."""
        meters = self._meters.by_day
        for each in meters:
            each.begin_day()
        changed, others = list[Meter](), list[Meter]()
        for each in meters:
            is_changed = any(unit.unsettled for unit in each.place.units)
            (changed if is_changed else others).append(each)
        self._times += 1
        is_time = self._times % _READ_EVERY == 0
        unread = [
            each for each in others if is_time or (each.subject, each.place.day) not in self._known
        ]
        if not changed and not unread:
            return
        async with self._postgres.session(_TIMEOUT_S) as connection:
            if changed:
                await self._add(connection, changed)
            if unread:
                await self._read(connection, unread)
        self._known = {(each.subject, each.place.day) for each in meters}

    async def _add(self, connection: Connection, changed: list[Meter]) -> None:
        days = [each.place.day for each in changed]
        amounts = [[unit.unsettled for unit in each.place.units] for each in changed]
        rows = await connection.fetch(
            _ADD,
            [each.subject.app_id for each in changed],
            [each.subject.key_id for each in changed],
            [date.fromordinal(day) for day in days],
            [events for events, _ in amounts],
            [size for _, size in amounts],
            timeout=_TIMEOUT_S,
        )
        totals = _by_subject(rows)
        for meter, day, added in zip(changed, days, amounts, strict=True):
            _settle(meter, day, added, totals.get(meter.subject))

    async def _read(self, connection: Connection, unread: list[Meter]) -> None:
        rows = await connection.fetch(
            _READ,
            [each.subject.app_id for each in unread],
            [each.subject.key_id for each in unread],
            timeout=_TIMEOUT_S,
        )
        totals = _by_subject(rows)
        for meter in unread:
            _settle(meter, meter.place.day, [0, 0], totals.get(meter.subject))

    def _complain(self, reason: str) -> None:
        if reason != self._reason:
            log.warning("what was sent of daily limits can't be noted", reason=reason)
        self._reason = reason


def _by_subject(rows: Iterable[Any]) -> dict[Subject, tuple[int, list[int]]]:
    return {
        Subject(row["app_id"], row["key_id"]): (
            row["day"].toordinal(),
            [row["events"], row["bytes"]],
        )
        for row in rows
    }


def _settle(meter: Meter, day: int, added: list[int], kept: tuple[int, list[int]] | None) -> None:
    """Note in shared memory what Postgres has of a day; nothing, if that is another one by now."""
    if kept is None or kept[0] != day or meter.place.day != day:
        return
    for unit, amount, total in zip(meter.place.units, added, kept[1], strict=True):
        unit.settle(amount, total)
