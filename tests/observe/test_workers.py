"""The metrics of real workers, which are killed under load and in an outage, from any of them."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import requests

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer
from tests.observe.member import Scrape, check
from tests.support.load import drive
from tests.support.server import Server, wait_for, wait_until_drained

WORKERS = 3
KILLS = 4
PAUSE_S = 0.05
"""Of each client, which leaves the workers something to start with."""


class Scraper:
    """Scrapes whichever worker answers, again and again; each time nothing may have gone down."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._last: Scrape = {}
        self.count = 0

    def scrape(self) -> Scrape:
        """Scrape until somebody answers, and check it."""
        while True:
            try:
                scrape = self._server.metrics()
            except requests.RequestException:  # its worker was killed
                continue
            check(scrape, self._last)
            self._last = scrape
            self.count += 1
            return scrape


@contextmanager
def scraping(server: Server) -> Iterator[Scraper]:
    """Have a thread scrape all the while."""
    scraper, stop, found = Scraper(server), threading.Event(), list[AssertionError]()

    def scrape() -> None:
        try:
            while not stop.is_set():
                scraper.scrape()
        except AssertionError as error:
            found.append(error)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield scraper
    finally:
        stop.set()
        thread.join()
    assert found == []


def kill_one_after_the_other(server: Server) -> None:
    """Kill workers, each once the last one's successor serves and has done so for a moment."""
    scraper = Scraper(server)
    for number in range(KILLS):
        before = restarts(scraper.scrape())
        os.kill(server.workers()[number % WORKERS].pid, signal.SIGKILL)
        wait_for(lambda: restarts(scraper.scrape()) > before, 30)  # noqa: B023 - called at once
        wait_for(lambda: are_all_up(scraper.scrape()), 30)


def restarts(scrape: Scrape) -> float:
    """Return how often a worker was replaced."""
    return sum(scrape[f"nonito_worker_restarts_total{{{each}}}"] for each in range(WORKERS))


def are_all_up(scrape: Scrape) -> bool:
    """Whether every worker serves."""
    return all(scrape[f"nonito_worker_up{{{each}}}"] for each in range(WORKERS))


async def test_scrapes_of_any_worker_balance_and_never_go_down(
    own_cluster: Cluster, start_server: StartServer
) -> None:
    """Under load, in an outage and behind it, while workers are killed."""
    url = own_cluster.url(OWN_DATABASE)
    server = await asyncio.to_thread(start_server, url, server__workers=WORKERS)
    stop = asyncio.Event()
    with scraping(server) as scraper:
        driving = asyncio.create_task(drive(server, 16, stop, PAUSE_S))
        await asyncio.to_thread(kill_one_after_the_other, server)
        await asyncio.to_thread(own_cluster.stop)
        await asyncio.to_thread(kill_one_after_the_other, server)
        await asyncio.to_thread(own_cluster.start)
        stop.set()
        history = await driving
        await asyncio.to_thread(wait_until_drained, server)
    end = await asyncio.to_thread(scraper.scrape)
    assert scraper.count > 2 * KILLS
    assert set(history.statuses) <= {200, 202}
    assert end["nonito_queue_events"] == 0
    assert 0 < end["nonito_events_left_total{spool}"] <= end["nonito_events_recovered_total"]
    assert restarts(end) == 2 * KILLS
    assert are_all_up(end)
    rss = server.memory_bytes() + psutil.Process(server.process.pid).memory_info().rss
    assert abs(end["process_resident_memory_bytes"] - rss) < 0.3 * rss
    by_worker = [end[f"nonito_worker_connections_open{{{each}}}"] for each in range(WORKERS)]
    assert sum(by_worker) == end["nonito_connections_open"]
