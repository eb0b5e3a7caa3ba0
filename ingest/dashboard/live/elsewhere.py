"""Events that came with a time of their own: where they lie nobody looks who looks for the latest.

They are found by the transaction that wrote them, which means a look at all that was written since
the last time: at a high rate that is much. So after each look there is a rest, which is longer the
longer it took, and what would take too long is not looked at.
"""

import asyncio
from collections.abc import Collection
from typing import Final
from uuid import UUID

from ingest.dashboard.live.reading import span
from ingest.store import latest
from ingest.store.postgres import Connection

_FOUND_MAX: Final = 50
_SHARE: Final = 0.01
"""Of the time this may take."""
_REST_S_MAX: Final = 12.0
_AGE_S_MAX: Final = _REST_S_MAX + 8
"""What was written in longer than a rest and the looks at all else, on a busy machine, is passed
over: nobody watched, or Postgres was away."""


class Elsewhere:
    """Where the next look begins, and when."""

    def __init__(self) -> None:
        self._since: int | None = None
        self._since_s = 0.0
        self._next_s = 0.0

    def begin(self, mark: int) -> None:
        """Begin no later than at a mark: who has seen what was there then comes to watch."""
        before = self._mark(_now_s())
        self._since = mark if before is None else min(before, mark)
        self._since_s = _now_s()

    async def look(
        self, connection: Connection, app_ids: Collection[int]
    ) -> list[tuple[int, UUID]]:
        """Return app and id of what is new, or was seen the last time; nothing during a rest."""
        began_s = _now_s()
        if began_s < self._next_s:
            return []
        since, mark = self._mark(began_s), await latest.mark(connection)
        self._since, self._since_s = mark, began_s
        if since is None:
            return []
        self._next_s = began_s + _REST_S_MAX  # should it fail
        found = await latest.elsewhere(connection, app_ids, since, span(), _FOUND_MAX)
        self._next_s = began_s + min(_REST_S_MAX, (_now_s() - began_s) / _SHARE)
        return found

    def _mark(self, now_s: float) -> int | None:
        """Return the mark unless that is too long ago: too much would have to be looked at."""
        return self._since if now_s - self._since_s < _AGE_S_MAX else None


def _now_s() -> float:
    return asyncio.get_running_loop().time()
