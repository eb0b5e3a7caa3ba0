"""The metrics of a whole server: from any process, balanced, and never going down."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from ingest.share.labels import LABELS_MAX
from ingest.share.member import Member
from ingest.share.segment import Segment
from tests.observe.member import Nobody, Process, check
from tests.support.server import ROOT, books_balance, wait_for

WORKERS = 3
KILLS = 100
KILLS_MAX = 20 * KILLS
"""A queue is empty most of the time: until one was found that was not."""


def start(segment: Segment, *slot: int) -> subprocess.Popen[bytes]:
    """Start a process that scrapes, or, without a slot, one that has children that count."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.observe.member", str(segment.descriptor), *map(str, slot)],
        pass_fds=[segment.descriptor],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@contextmanager
def scraping(segment: Segment, worker: int) -> Iterator[None]:
    """Have a process scrape all the while, and see that it finds nothing wrong."""
    with start(segment, segment.take_slot(worker)) as scraper:
        assert scraper.stdout is not None
        assert scraper.stderr is not None
        scraper.stdout.readline()
        try:
            yield
            scraper.stdout.readline()
        finally:
            scraper.kill()
        assert scraper.stderr.read().decode() == ""


@contextmanager
def counting(segment: Segment) -> Iterator[Callable[[int], None]]:
    """Return what has a process count in a slot."""
    with start(segment) as nursery:
        stdin = nursery.stdin
        assert stdin is not None

        def count(slot: int) -> None:
            stdin.write(b"%d\n" % slot)
            stdin.flush()

        try:
            yield count
        finally:
            nursery.kill()


def kill(segment: Segment, slot: int) -> None:
    """Kill a slot's process once it has counted a while, wherever it is; wait for its end."""
    wait_for(lambda: segment.heartbeat(slot) > 5, 60.0)
    pid = segment.slots[slot].pid
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not psutil.pid_exists(pid))


def test_every_scrape_of_any_process_balances_while_workers_are_killed_and_replaced() -> None:
    """Each in the middle of whatever it does; nothing that was told is ever taken back."""
    segment = Segment.create(workers=WORKERS + 1)
    with scraping(segment, WORKERS), counting(segment) as count:
        slots = [segment.take_slot(worker) for worker in range(WORKERS)]
        for slot in slots:
            count(slot)
        for number in range(KILLS_MAX):
            if number >= KILLS and has_left_all_kinds(segment):
                break
            worker = number % WORKERS
            kill(segment, slots[worker])
            segment.retire(slots[worker], is_planned=number % 2 == 0)
            slots[worker] = segment.take_slot(worker)
            count(slots[worker])
    assert sum(segment.read().restarts) == number // 2
    assert has_left_all_kinds(segment)


def has_left_all_kinds(segment: Segment) -> bool:
    """Return whether workers were killed while something was in a queue, and in a spool."""
    return min(segment.read().ended.left) > 0


def test_scrape_of_one_process_has_what_all_have_counted() -> None:
    """Sums, the least or the most of each; what ended ones have left; each worker by itself."""
    segment = Segment.create(workers=2)
    processes = [Process(Member(segment, segment.take_slot(worker))) for worker in range(2)]
    for process in processes:
        answers = process.metrics.answers
        asyncio.run(process.count(lambda: answers["/events", 200] < 50))  # noqa: B023 - run now
        process.publisher.publish()
    one, other = processes[0].scrape(), processes[1].scrape()
    names = [name for name in one if not name.startswith("process_")]
    assert [one[name] for name in names] == [other[name] for name in names]
    assert one["nonito_connections_open"] == 2 + 2
    assert one["nonito_postgres_connections"] == 3 + 3
    assert one["nonito_partitions_ahead"] == 7
    assert one["nonito_postgres_up"] == 1
    assert one["nonito_queue_events_limit"] == 2 * 1_000
    assert [one[f"nonito_worker_up{{{worker}}}"] for worker in (0, 1)] == [1, 1]
    assert one["nonito_requests_total{/events,200}"] == 100
    assert one["nonito_app_events_accepted_total{app 1}"] > 0
    assert one["nonito_app_events_accepted_total{app 2}"] > 0
    in_spools = sum(process.metrics.events_in_spool for process in processes)
    assert [process.publisher.events_in_spool() for process in processes] == [in_spools] * 2
    segment.retire(1)
    after = processes[0].scrape()
    check(after, one)
    assert after["nonito_events_left_total{spool}"] == processes[1].metrics.events_in_spool
    assert after["nonito_spool_events"] == processes[0].metrics.events_in_spool
    assert [after[f"nonito_worker_up{{{worker}}}"] for worker in (0, 1)] == [1, 0]
    assert after["nonito_worker_restarts_total{1}"] == 1
    assert after["nonito_worker_connections_open{1}"] == 0


def test_what_waits_in_a_queue_when_its_process_ends_is_told_as_left() -> None:
    """Its sender does not know what became of it, and neither do we."""
    segment = Segment.create(workers=2)
    gone, stays = (Process(Member(segment, segment.take_slot(worker))) for worker in range(2))
    for _ in range(5):
        gone.queues.plain.put(b"row", Nobody())
    gone.publisher.publish()
    before = stays.scrape()
    segment.retire(0, is_planned=True)
    after = stays.scrape()
    assert (before["nonito_queue_events"], after["nonito_queue_events"]) == (5, 0)
    assert after["nonito_events_left_total{queue}"] == 5
    assert after["nonito_events_accepted_total"] == 5
    assert books_balance(before) == books_balance(after) == 0
    assert after["nonito_worker_restarts_total{0}"] == 0


def test_apps_beyond_the_labels_are_one_and_their_events_counted_once() -> None:
    """However often they are looked at before a writer takes them."""
    segment = Segment.create(workers=1)
    process = Process(Member(segment, segment.take_slot(0)))
    assert segment.labels.learn({app: f"app {app}" for app in range(2, LABELS_MAX + 5)})
    process.publisher.forget_apps()
    for _ in range(3):
        process.queues.plain.put(b"row", Nobody())
        scrape = process.scrape()
    assert scrape["nonito_app_events_accepted_total{other}"] == 3
    batch = asyncio.run(process.queues.plain.take())
    assert process.scrape()["nonito_events_accepted_total"] == len(batch.rows) == 3
