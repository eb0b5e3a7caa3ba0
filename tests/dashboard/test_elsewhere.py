"""Events that came with a time of their own are looked for less often where that takes long."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from ingest.dashboard.live import elsewhere
from ingest.dashboard.live.elsewhere import Elsewhere
from ingest.store import latest
from ingest.store.postgres import Connection, Postgres
from tests.store.test_latest import event_id, store

LONG_S = 0.3
"""A look that takes so long has the longest rest."""
STEP_S = 1.5
"""From one look at all else to the next, on a busy machine."""


class Clock:
    """Runs as fast as any, and may be put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now_s(self) -> float:
        """Return the time."""
        return asyncio.get_running_loop().time() + self.ahead_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What rests are measured by."""
    made = Clock()
    monkeypatch.setattr(elsewhere, "_now_s", made.now_s)
    return made


async def look_slowly(looking: Elsewhere, one: Connection, another: Connection) -> None:
    """Look once while somebody else keeps the table for a while."""
    async with another.transaction():
        await another.execute("LOCK TABLE events")
        look = asyncio.create_task(looking.look(one, [1]))
        await asyncio.sleep(LONG_S)
    assert await look == []


async def test_what_came_while_it_rested_is_found_behind_the_longest_rest(
    postgres: Postgres, clock: Clock
) -> None:
    """However long the look before it took."""
    looking = Elsewhere()
    late = event_id(datetime.now(UTC) - timedelta(days=3), 1)
    async with postgres.session() as one, postgres.session() as another:
        looking.begin(await latest.mark(one))
        await look_slowly(looking, one, another)
        await store(another, [late], "late")
        found, looks = list[tuple[int, UUID]](), 0
        while not found and looks < 60:
            clock.ahead_s += STEP_S
            looks += 1
            found = await looking.look(one, [1])
    assert found == [(1, late)]
    assert looks > 1  # it did rest
