"""What can't be stored of a client that would send it for ever is set aside, with the reason.

It is among the rejected events, where an operator finds it, before its sender has an answer.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from ingest.delivery.events_table import EVENTS
from ingest.errors import Code, Refusal
from ingest.events import ids
from ingest.store import rejected
from ingest.store.failures import Unavailable
from ingest.store.postgres import Postgres
from ingest.store.rejected import Rejected

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


class Aside:
    """Keeps what can't be stored."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def keep(self, app_id: int, events: Sequence[Unfit], now_ms: int) -> None:
        """Keep an app's events; once each, however often they come. Raise Refusal if that fails."""
        received = ids.moment(now_ms).text.decode()
        try:
            await rejected.keep(
                self._postgres, EVENTS, [_rejected(app_id, each, received) for each in events]
            )
        except Unavailable:
            raise Refusal(
                Code.NOT_READY,
                "An event of these can't be stored, and can't be set aside as the database is"
                " away; send them again later.",
            ) from None


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
