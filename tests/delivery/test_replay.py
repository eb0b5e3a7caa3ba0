"""The replayer against a real Postgres and spool: what is settled leaves the spool, once."""

from uuid import UUID

import pytest

from ingest.delivery import replay
from ingest.delivery.committer import MERGES, Committer
from ingest.delivery.events_table import EVENTS
from ingest.delivery.fallback import Fallback
from ingest.delivery.quarantine import Quarantine
from ingest.delivery.queue import EventQueue
from ingest.delivery.queues import Queues
from ingest.delivery.replay import Replayer
from ingest.delivery.shared import Shared
from ingest.events import copy_format, copy_reader
from ingest.observe.metrics import Metrics
from ingest.spool import Spool
from ingest.store.failures import Unavailable
from ingest.store.health import Health
from ingest.store.partitions import Partitions
from ingest.store.postgres import Postgres
from tests.delivery.surroundings import BAD, BreakingLink, count, make_row, make_rows
from tests.support.postgres import fetch


class Replaying:
    """A replayer, and what it replays to."""

    def __init__(self, postgres: Postgres, spool: Spool, part_rows_max: int) -> None:
        self.link = BreakingLink(postgres, EVENTS)
        self.metrics = Metrics()
        self.spool = spool
        queues = Queues(
            lambda: EventQueue(events_max=10, bytes_max=10, batch_events_max=10, batch_bytes_max=10)
        )
        committer = Committer(
            self.link,
            partitions=Partitions(postgres, "month", 1),
            merges=MERGES,
            part_rows_max=part_rows_max,
        )
        self.health = Health(self.link)
        fallback = Fallback(spool, self.metrics)
        shared = Shared(self.health, Quarantine(queues), fallback, self.metrics)
        self._replayer = Replayer(spool, queues, committer, postgres, shared)

    async def bring(self) -> None:
        """Bring everything to Postgres; raise Unavailable."""
        await self._replayer._bring(await self.spool.oldest(10_000))


async def dead_letters(url: str) -> set[UUID]:
    """Return the ids of all."""
    return {row["id"] for row in await fetch(url, "SELECT id FROM rejected_events")}


def ids_of(*rows: bytes) -> set[UUID]:
    """Return the ids of rows."""
    return {UUID(bytes=copy_reader.identity(row)[4:]) for row in rows}


@pytest.fixture
async def replaying(postgres: Postgres, spool: Spool) -> Replaying:
    """A replayer on the test's database and spool."""
    return Replaying(postgres, spool, part_rows_max=10)


async def test_everything_is_brought_and_what_is_refused_is_a_dead_letter(
    replaying: Replaying, spool: Spool, database_url: str
) -> None:
    """Rows of one batch, of its beginning and its end, and those that were stored before."""
    known, bad = make_rows(5), [make_row(BAD) for _ in range(3)]
    await replaying.link.copy(copy_format.document(known), len(known))
    await spool.append([*make_rows(10), bad[0]])
    await spool.append([*known, *make_rows(10)])
    await spool.append([bad[1], *make_rows(10), bad[2]])
    await replaying.bring()
    assert spool.is_empty
    assert await dead_letters(database_url) == ids_of(*bad)
    assert await count(database_url) == 35
    metrics = replaying.metrics
    assert (metrics.replayed_events, metrics.dead_lettered_events) == (35, 3)
    await replaying.link.close()


@pytest.mark.parametrize("goes_at", range(1, 8))
async def test_what_is_settled_leaves_the_spool_though_postgres_goes_away(
    replaying: Replaying, spool: Spool, database_url: str, goes_at: int
) -> None:
    """Batch by batch; the others stay whole, and come again without harm."""
    batches = [make_rows(8) for _ in range(5)]
    batches[1][3] = make_row(BAD)
    batches[3][7] = make_row(BAD)
    for rows in batches:
        await spool.append(rows)
    replaying.link.goes_at = goes_at
    try:
        await replaying.bring()
    except Unavailable:
        assert not spool.is_empty
    else:
        assert spool.is_empty
    metrics = replaying.metrics
    settled = metrics.replayed_events + metrics.dead_lettered_events
    left = await spool.oldest(10_000)
    assert settled == 40 - sum(len(batch.rows) for batch in left)
    assert (settled > 0) == (goes_at > 1)  # with the second COPY the first batch is stored
    assert {len(batch.rows) for batch in left} <= {8}
    assert len(await dead_letters(database_url)) == metrics.dead_lettered_events
    assert await count(database_url) >= metrics.replayed_events
    replaying.link.goes_at = 0
    await replaying.bring()
    assert spool.is_empty
    assert (metrics.replayed_events, metrics.dead_lettered_events) == (38, 2)
    assert await dead_letters(database_url) == ids_of(batches[1][3], batches[3][7])
    assert await count(database_url) == 38
    await replaying.link.close()


async def test_refused_row_costs_one_part_s_copy(
    postgres: Postgres, spool: Spool, database_url: str
) -> None:
    """And not one of a whole transaction of 20,000 rows."""
    replaying = Replaying(postgres, spool, replay.PART_ROWS_MAX)
    rows = make_rows(replay.PART_ROWS_MAX * 3)
    rows[10], rows[-10] = make_row(BAD), make_row(BAD)
    await spool.append(rows)
    await replaying.bring()
    assert replaying.link.copies == 1 + 3 + 1
    assert await count(database_url) == len(rows) - 2
    await replaying.link.close()
