"""What another process of the server has just now: nobody waits for it for long, or is blamed."""

import asyncio

import pytest

from ingest.delivery import writer
from ingest.delivery.committer import MERGES, Committer
from ingest.delivery.events_table import EVENTS
from ingest.delivery.fallback import Fallback
from ingest.delivery.outcome import Ack
from ingest.delivery.retries import Retries
from ingest.delivery.writer import Writer
from ingest.share.turn import Turn
from ingest.spool import Spool
from ingest.store.partitions import Partitions
from ingest.store.postgres import Postgres
from ingest.store.turn_link import TurnLink
from ingest.store.turns import Turns
from tests.delivery.surroundings import DedupSurroundings, count, outcome_of
from tests.share.others import NUMBER, Other


class TurnSurroundings(DedupSurroundings):
    """With the writer of a queue that is written in turn."""

    def __init__(self, postgres: Postgres, spool: Spool, descriptor: int) -> None:
        super().__init__(postgres, spool)
        turn = Turn(NUMBER, descriptor)
        self.turn_link = TurnLink(postgres, EVENTS, None, turn, hold_s=0.0)
        partitions = Partitions(postgres, "month", 1)
        committer = Committer(
            self.turn_link, partitions=partitions, merges=MERGES, wants_earlier=True
        )
        shared = self.shared(Fallback(spool, self.metrics))
        self.writer = Writer(self.queue, committer, shared, Retries(spool, self.metrics))


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a turn less long."""
    monkeypatch.setattr(writer, "_TURN_S", 0.5)


async def test_batch_that_gets_no_turn_is_spooled_and_nobody_is_to_blame(
    postgres: Postgres, spool: Spool, descriptor: int, other: Other, database_url: str
) -> None:
    """Postgres is up, and the app is no worse than before; the next one in turn is committed."""
    own = TurnSurroundings(postgres, spool, descriptor)
    other.take()
    async with own.running():
        assert await outcome_of(own.put()) is Ack.SPOOLED
        assert own.health.is_up
        assert not own.health.row_alarm.reason
        other.process.kill()
        assert await outcome_of(own.put()) is Ack.COMMITTED
    assert await count(database_url) == 1
    await own.turn_link.close()
    assert own.balance == 0


async def test_events_are_strays_while_another_process_makes_partitions(
    own_url: str,
) -> None:
    """That their partition is not made holds them up for a second at most, and is no outage."""
    busy, waiting = (
        Postgres(own_url, connect_timeout_s=2, commit_timeout_s=5, turns=turns)
        for turns in (Turns(), Turns())
    )
    waiting.turns.partitions = busy.turns.partitions
    partitions = Partitions(waiting, "month", 1)
    async with busy.session(turn=busy.turns.partitions):
        async with asyncio.timeout(5):
            await partitions.make_for([(1, 1_000_000_000_000)])
        assert not partitions.covers(1_000_000_000_000)
        async with asyncio.timeout(0.5):  # not again for a while
            await partitions.make_for([(1, 1_000_000_000_000)])
