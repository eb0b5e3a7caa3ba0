"""A process of a server that has no clients and no Postgres: it counts, publishes and scrapes.

Called with a segment's descriptor and a slot it scrapes; without a slot it has children that count.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

from prometheus_client.parser import text_string_to_metric_families

from ingest.delivery.outcome import Outcome
from ingest.delivery.queue import EventQueue
from ingest.delivery.queues import Queues
from ingest.errors import Code
from ingest.observe.collector import Collector, Limits
from ingest.observe.exposition import Exposer
from ingest.observe.gauges import State, Waiting
from ingest.observe.metrics import Metrics
from ingest.observe.publisher import Publisher
from ingest.share.member import Member
from ingest.share.segment import Segment
from tests.support.server import books_balance

EVENTS_MAX = 1_000
KEPT_IN_SPOOL = 100
Scrape = dict[str, float]


class Nobody:
    """Waits for an event, and does not mind what becomes of it."""

    def settle(self, _: Outcome, _row: bytes = b"") -> None:
        """Take no note."""


class Sources:
    """A process that is well, and whose apps are as many as its worker's number says."""

    refused_connections = 0

    def __init__(self, worker: int) -> None:
        self.apps = {app: f"app {app}" for app in range(1, worker + 2)}

    def state(self) -> State:
        """Return what is so of it."""
        return State(
            is_postgres_up=True,
            is_refusing_rows=False,
            nodes_away=0,
            postgres_connections=3,
            rejected_events=0,
            retention_next_drop_s=0.0,
            is_retention_waiting=False,
            partitions_ahead=7,
            keys=1,
            connections=2,
            requests=1,
        )


class Process:
    """What such a process is made of."""

    def __init__(self, member: Member) -> None:
        self.metrics = Metrics()
        make = partial(EventQueue, events_max=EVENTS_MAX, bytes_max=EVENTS_MAX * 10)
        self.queues = Queues(lambda: make(batch_events_max=50, batch_bytes_max=500))
        self.queues.meet(member.worker + 1)
        limits = Waiting(EVENTS_MAX, EVENTS_MAX * 10)
        sources = Sources(member.worker)
        self.publisher = Publisher(member, self.metrics, self.queues, None, sources, limits)
        self._exposer = Exposer(
            Collector(member.segment, Limits(9, 9, 9, 9), self.publisher.look, has_spool=False)
        )

    async def count(self, while_true: Callable[[], bool]) -> None:
        """Take events in, and have each end in one of all ways; publish at every step."""
        queue, metrics = self.queues.plain, self.metrics
        while while_true():
            for _ in range(random.randrange(1, 20)):
                queue.put(b"row", Nobody())
            self.publisher.publish()
            batch = await queue.take()
            self.publisher.publish()
            self._end(len(batch.release()))
            queue.done(batch)
            self.publisher.look()
            metrics.replayed_events += max(0, metrics.events_in_spool - KEPT_IN_SPOOL)
            metrics.answers["/events", 200] += 1
            self.publisher.tick(0.001)
            await asyncio.sleep(0.001)

    def _end(self, events: int) -> None:
        way = random.randrange(4)
        if way == 0:
            self.metrics.spooled_events += events
        elif way == 1:
            self.metrics.failed(Code.REJECTED_BY_DATABASE, events)
        else:
            self.metrics.committed(events, 0.001)

    def scrape(self) -> Scrape:
        """Return every sample by its name, with the values of its labels behind it."""
        text = self._exposer.expose("", "").body.decode()
        return {
            f"{sample.name}{{{labels}}}" if labels else sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            for labels in (",".join(sample.labels.values()),)
        }


def check(scrape: Scrape, before: Scrape) -> None:
    """Fail where a scrape does not balance, or a count went down, or is gone."""
    assert books_balance(scrape) == 0
    accepted = sum(n for name, n in scrape.items() if name.startswith("nonito_app_events_"))
    assert accepted == scrape["nonito_events_accepted_total"]
    for name, value in before.items():
        if "_total" in name or "_bucket" in name or name.endswith(("_count", "_sum")):
            assert scrape[name] >= value, f"{name} went from {value} down to {scrape[name]}"


def scrape_for_ever(process: Process) -> None:
    """Scrape again and again, and check each time; say so now and then."""
    last: Scrape = {}
    while True:
        for _ in range(10):
            scrape = process.scrape()
            check(scrape, last)
            last = scrape
            time.sleep(0.005)
        sys.stdout.write("scraped\n")
        sys.stdout.flush()


def fork_for_ever(descriptor: int) -> None:
    """For each slot that is named on standard input have a child count in it, until we end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    nursery = os.getpid()
    for line in sys.stdin:
        if not os.fork():
            process = Process(Member(Segment.attach(os.dup(descriptor)), int(line)))
            asyncio.run(process.count(while_true=lambda: os.getppid() == nursery))
            os._exit(0)


if __name__ == "__main__":
    descriptor = int(sys.argv[1])
    if len(sys.argv) > 2:
        scrape_for_ever(Process(Member(Segment.attach(descriptor), int(sys.argv[2]))))
    fork_for_ever(descriptor)
