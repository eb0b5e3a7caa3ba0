"""What is behind a horizon in a partition that holds other events too: deleted some at a time.

By app and id, so by the primary key, CHUNK_ROWS in a transaction and a pause between two of them:
events that come in go first. A row that has to be in the archive first and is not is left to the
next time. So are dead letters, which are events as well, though none goes that was rejected after
the horizon: somebody may be about to mend it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from ingest.store import archive_mark, horizons
from ingest.store.horizons import Horizon
from ingest.store.periods import Range, first_id
from ingest.store.postgres import Connection

CHUNK_ROWS: Final = 2_000

_PAUSE_S: Final = 0.05
_NIL: Final = UUID(int=0)
_LIMITS: Final = (
    "SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '2s';"
    " SET LOCAL idle_in_transaction_session_timeout = '2s'"
)
# Whoever makes the archive anew keeps what Postgres has no more: not while it goes.
_TURN: Final = "LOCK TABLE retention IN ROW EXCLUSIVE MODE"
_LAST: Final = (
    "SELECT id FROM (SELECT id FROM events WHERE app_id = $1 AND id >= $2 AND id < $3 AND {holds}"
    " ORDER BY id LIMIT $4) AS first ORDER BY id DESC LIMIT 1"
)
_DELETE: Final = "DELETE FROM events WHERE app_id = $1 AND id >= $2 AND id <= $3 AND {holds}"
_DELETE_REJECTED: Final = (
    "DELETE FROM rejected_events WHERE app_id = $1 AND id IN (SELECT id FROM rejected_events"
    " WHERE app_id = $1 AND id < $2 AND rejected_at < $3 ORDER BY id LIMIT $4)"
)


class Rows:
    """Deletes what is behind the horizon of one app, for a while each time.

    Wherever that is by then: what was taken back meanwhile stays.
    """

    def __init__(self, app_id: int, archive_interval_s: float, but: Iterable[Range]) -> None:
        """Let nothing go yet; the archive works so often.

        What lies in the ranges of `but` stays.
        """
        self._but = [f"NOT (id >= '{start}' AND id < '{end}')" for start, end in _joined(but)]
        self._app_id = app_id
        self._archive_interval_s = archive_interval_s
        self._from = _NIL
        self.are_gone = False
        """Whether nothing is left that can go now."""

    async def delete(
        self, connection: Connection, end_s: float, tell: Callable[[int], None]
    ) -> None:
        """Delete until then, by the monotonic clock, or until all is gone; tell of each chunk.

        Raises Waits, or PostgresError.
        """
        while not self.are_gone and time.monotonic() < end_s:
            tell(await self._delete_chunk(connection))
            await asyncio.sleep(_PAUSE_S)

    async def _delete_chunk(self, connection: Connection) -> int:
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(f"{_LIMITS}; {_TURN}")
            horizon = await horizons.hold(connection, self._app_id)
            if horizon is None or horizon.events_before is None:
                self.are_gone = True
                return 0
            first = first_id(horizon.events_before)
            holds = await self._holds(connection, horizon)
            last = await connection.fetchval(
                _LAST.format(holds=holds), self._app_id, self._from, first, CHUNK_ROWS
            )
            if last is None:
                self.are_gone = True
                return await self._delete_rejected(connection, horizon.events_before)
            done = await connection.execute(
                _DELETE.format(holds=holds), self._app_id, self._from, last
            )
            self._from = last
            return _count(done)

    async def _holds(self, connection: Connection, horizon: Horizon) -> str:
        """Return the SQL that is true of a row that may go; within its transaction."""
        conditions = self._but
        if horizon.is_archived_first:
            horizon.require_taken_again()
            mark = await archive_mark.read(connection)
            mark.require_fresh(self._archive_interval_s)
            conditions = [*conditions, mark.holds]
        return " AND ".join(conditions) or "true"

    async def _delete_rejected(self, connection: Connection, before: datetime) -> int:
        done = await connection.execute(
            _DELETE_REJECTED, self._app_id, first_id(before), before, CHUNK_ROWS
        )
        self.are_gone = _count(done) < CHUNK_ROWS
        return _count(done)


def _joined(ranges: Iterable[Range]) -> Sequence[tuple[UUID, UUID]]:
    """Return ranges of time as ranges of id, those that follow each other as one."""
    found: list[tuple[UUID, UUID]] = []
    for each in sorted(ranges):
        start, end = first_id(each.start), first_id(each.end)
        if found and found[-1][1] == start:
            start, _ = found.pop()
        found.append((start, end))
    return found


def _count(tag: str) -> int:
    """Return how many rows a statement says that it was about."""
    return int(tag.rsplit(" ", 1)[-1])
