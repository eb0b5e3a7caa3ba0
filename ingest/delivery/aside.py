"""What can't be stored of a client that would send it for ever is set aside, with the reason.

It is among the rejected events, where an operator finds it, before its sender has an answer.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

import structlog

from ingest.delivery.events_table import EVENTS
from ingest.errors import Code, Refusal
from ingest.events import ids
from ingest.store import rejected
from ingest.store.failures import Unavailable
from ingest.store.postgres import Postgres
from ingest.store.rejected import Rejected

log = structlog.get_logger(__name__)

_WAITING_MAX: Final = 100
"""Requests that wait for it."""
_ROWS: Final = 1_000
"""After so many the next transaction begins."""
_SQLSTATE: Final = "22023"
"""Invalid parameter value."""


class Unfit(NamedTuple):
    """An event that can't be stored."""

    id: bytes
    """16 bytes, the same if it is sent again."""
    name: str
    params: str
    """What it has, or all of it where it can't be understood; need not be JSON."""
    timestamp: str | None
    """When it happened, as RFC 3339."""
    reason: Refusal


class _Waiting(NamedTuple):
    """What one request has set aside."""

    events: Sequence[Rejected]
    kept: asyncio.Future[None]


class Aside:
    """Keeps what can't be stored: of all who wait at once in one transaction."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._waiting: list[_Waiting] = []
        self._one_at_a_time = asyncio.Lock()

    async def keep(self, app_id: int, events: Sequence[Unfit], now_ms: int) -> None:
        """Keep an app's events; once each, however often they come. Raise Refusal if that fails."""
        if len(self._waiting) >= _WAITING_MAX:
            raise _not_now()
        received = ids.moment(now_ms).text.decode()
        rows = [_rejected(app_id, each, received) for each in events]
        mine = _Waiting(rows, asyncio.get_running_loop().create_future())
        mine.kept.add_done_callback(_note)
        self._waiting.append(mine)
        async with self._one_at_a_time:
            while not mine.kept.done():
                await self._keep_some()
        await mine.kept

    async def _keep_some(self) -> None:
        waiting = self._take()
        rows = {(each.event["app_id"], each.id): each for one in waiting for each in one.events}
        refusal: Refusal | None = _not_now()
        try:
            turn = self._postgres.turns.sessions
            await rejected.keep(self._postgres, EVENTS, [*rows.values()], turn)
            refusal = None
        except Unavailable as failure:
            log.warning("events could not be set aside", reason=str(failure))
        finally:
            for _, kept in waiting:
                if kept.cancelled():
                    continue
                if refusal is None:
                    kept.set_result(None)
                else:
                    kept.set_exception(refusal.anew())

    def _take(self) -> list[_Waiting]:
        """Return the first who wait: so many that all of theirs is kept in time."""
        taken = list[_Waiting]()
        while self._waiting and sum(len(each.events) for each in taken) < _ROWS:
            taken.append(self._waiting.pop(0))
        return taken


def _not_now() -> Refusal:
    return Refusal(
        Code.NOT_READY,
        "An event of these can't be stored, nor be set aside for the moment; send them again.",
    )


def _note(kept: asyncio.Future[None]) -> None:
    """See what became of it, should its request be gone."""
    if not kept.cancelled():
        kept.exception()


def _rejected(app_id: int, unfit: Unfit, received: str) -> Rejected:
    event = {
        "app_id": str(app_id),
        "id": str(UUID(bytes=unfit.id)),
        "event_name": unfit.name,
        "event_params": unfit.params,
        "created_at": received,
        "timestamp": unfit.timestamp,
        "idempotency_key": None,
    }
    return Rejected(event, _SQLSTATE, f"{unfit.reason.code}: {unfit.reason.message}")
