"""However many processes a server is: three connections each, and a handful for all of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg
import pytest

from ingest.store import connection_budget
from ingest.store.connection_budget import INSIGHTS_MAX, ConnectionBudget
from ingest.store.turns import CONNECTIONS_MAX
from tests.api.asked import Asked, asked_server
from tests.app.workers import Watch, running_workers
from tests.conftest import StartServer, make_key
from tests.delivery.rules import script
from tests.support.load import drive
from tests.support.postgres import fetch, make_postgres
from tests.support.server import Server, wait_for

pytestmark = pytest.mark.slow

WORKERS: Final = 4
OWN: Final = 3
"""Connections of each worker: two that commit, and the dedup queue's."""
OWN_OF_INSIGHTS: Final = 3
"""Of the insights process, beside DuckDB's: for keys and pages, for who watches, and one that
erases."""
SLACK_S: Final = 4.0
"""For a machine that has much else to do."""
PAUSE_S: Final = 0.05
"""Of each connection that sends: it is how many there are that counts."""
GOOD: Final = {"event_name": "good"}
SESSIONS: Final = (
    "SELECT application_name, count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() GROUP BY application_name"
)
RULE: Final = (
    "CREATE FUNCTION test_rule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF NEW.event_name = 'wrong' THEN RAISE 'no'; END IF;"
    " IF NEW.event_name = 'hung' THEN PERFORM pg_sleep(60); END IF;"
    " RETURN NEW; END $$; CREATE TRIGGER test_rule BEFORE INSERT ON events"
    " FOR EACH ROW EXECUTE FUNCTION test_rule()"
)


@pytest.fixture
def workers(database_url: str, tmp_path: Path) -> Iterator[list[Server]]:
    """The processes of one server."""
    with running_workers(WORKERS, database_url, make_key(database_url), tmp_path) as running:
        yield running


class Posted:
    """Batches of one app that are sent to one worker, and what was taken of them."""

    def __init__(self, worker: Server, key: str, *names: str) -> None:
        self._url = f"{worker.url}/events"
        self._headers = {"X-API-Key": key}
        self._names = names
        self.taken: set[str] = set()
        """The ids of acknowledged events."""
        self.codes: Counter[str] = Counter()
        """Of the others."""

    async def run(self, stop: asyncio.Event) -> None:
        """Send one after the other until told to stop."""
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session:
            while not stop.is_set():
                events = [{"event_name": name} for name in self._names]
                async with session.post(self._url, json=events) as response:
                    self._note(await response.json())
                await asyncio.sleep(PAUSE_S)

    def _note(self, answer: Any) -> None:  # noqa: ANN401 - JSON
        self.taken.update(row["id"] for row in answer.get("data", ()))
        self.codes.update(each["code"] for each in answer.get("errors", ()))


async def make_trouble(url: str) -> None:
    """Have everything spooled for a while, twice, while all else goes on."""
    await asyncio.sleep(3)
    for _ in range(2):
        await fetch(url, "ALTER TABLE events RENAME TO moved")
        await asyncio.sleep(1.5)
        await fetch(url, "ALTER TABLE moved RENAME TO events")
        await asyncio.sleep(4)


async def stored(url: str) -> set[str]:
    """Return the ids of all events, rejected or not."""
    rows = await fetch(url, "SELECT id FROM events UNION ALL SELECT id FROM rejected_events")
    found = [str(row["id"]) for row in rows]
    assert len(found) == len(set(found))
    return set(found)


async def knows(worker: Server, key: str) -> bool:
    """Return whether a worker takes events with a key."""
    return (await asyncio.to_thread(worker.post, GOOD, **{"X-API-Key": key})).status_code == 200


async def until_known(workers: list[Server], *keys: str, known: bool = True) -> None:
    """Wait until all workers know keys, or none does, as README promises of a second."""

    async def is_so() -> bool:
        return all([await knows(worker, key) is known for worker in workers for key in keys])

    await until(is_so, 1.0 + SLACK_S)


async def until_stored(url: str, taken: set[str]) -> None:
    """Wait until all that was taken is in Postgres."""

    async def is_so() -> bool:
        return taken <= await stored(url)

    await until(is_so, 60)


async def until(is_so: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(timeout_s):
        while not await is_so():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


async def on_duty(workers: list[Server]) -> list[Server]:
    """Return which workers have said that they do what is done once, and live."""
    found = [each for each in workers if "done once for all" in await asyncio.to_thread(each.logs)]
    return [each for each in found if each.process.poll() is None]


async def _is_one_on_duty(workers: list[Server]) -> bool:
    return len(await on_duty(workers)) == 1


async def test_connections_are_bounded_whatever_all_workers_do_at_once(
    workers: list[Server], database_url: str
) -> None:
    """Under load, with what is spooled, refused and hangs; and nothing that was taken is lost."""
    keys = [await asyncio.to_thread(make_key, database_url, app) for app in ("bad", "hung")]
    await until_known(workers, *keys)
    await script(database_url, RULE)
    stop, watch = asyncio.Event(), Watch(database_url)
    watching = asyncio.create_task(watch.run(stop))
    bad = [Posted(each, keys[0], *["wrong"] * 15, "good") for each in workers]
    hung = [Posted(each, keys[1], "hung", "good") for each in workers]
    good = [asyncio.create_task(drive(each, 8, stop, PAUSE_S)) for each in workers]
    others = [asyncio.create_task(each.run(stop)) for each in (*bad, *hung)]
    await make_trouble(database_url)
    stop.set()
    await asyncio.gather(*others, watching)
    await fetch(database_url, "DROP TRIGGER test_rule ON events")
    taken = {each for history in good for each in (await history).sent}
    taken |= {each for posted in (*bad, *hung) for each in posted.taken}
    assert all(each.taken for each in (*bad, *hung))
    await until_stored(database_url, taken)
    assert watch.most > WORKERS * OWN, "there was nothing to bound"
    assert watch.most <= WORKERS * OWN + CONNECTIONS_MAX


async def test_apps_kept_apart_are_served_by_all_workers_in_turn(
    workers: list[Server], database_url: str
) -> None:
    """Though there is one connection for them, and one worker's hung rows have their own."""
    key = await asyncio.to_thread(make_key, database_url, "bad")
    await until_known(workers, key)
    await script(database_url, RULE)
    stop = asyncio.Event()
    bad = [Posted(each, key, *["wrong"] * 15, "good") for each in workers]
    tasks = [asyncio.create_task(each.run(stop)) for each in bad]

    async def is_so() -> bool:
        return all(len(each.taken) >= 20 * 16 for each in bad)

    await until(is_so, 30)
    stop.set()
    await asyncio.gather(*tasks)


async def test_every_worker_replays_its_own_in_turn(
    workers: list[Server], database_url: str
) -> None:
    """What all of them have spooled is stored by one after the other, with one connection."""
    await fetch(database_url, "ALTER TABLE events RENAME TO moved")
    stop = asyncio.Event()
    posting = [asyncio.create_task(drive(each, 4, stop, PAUSE_S)) for each in workers]
    await asyncio.sleep(2)
    stop.set()
    histories = [await each for each in posting]
    assert all(each.statuses[202] for each in histories)
    watch, stop = Watch(database_url), asyncio.Event()
    watching = asyncio.create_task(watch.run(stop))
    await fetch(database_url, "ALTER TABLE moved RENAME TO events")
    taken = {each for history in histories for each in history.sent}
    await until_stored(database_url, taken)
    stop.set()
    await watching
    assert watch.most <= WORKERS * OWN + CONNECTIONS_MAX


async def test_keys_are_followed_by_all_workers_though_one_listens(
    workers: list[Server], database_url: str
) -> None:
    """Made and revoked, each within a second; and by the next one when the first is killed."""
    for _ in range(2):
        await until(partial(_is_one_on_duty, workers), 2.0 + SLACK_S)
        (first,) = await on_duty(workers)
        made = await asyncio.to_thread(make_key, database_url, "shop")
        await until_known(workers, made)
        await fetch(database_url, f"DELETE FROM api_keys WHERE prefix = '{made[:11]}'")
        await until_known(workers, made, known=False)
        first.process.kill()
        workers.remove(first)
        late = await asyncio.to_thread(make_key, database_url, "late")  # while nobody listens
        await until_known(workers, late)


async def test_gauges_that_one_worker_knows_are_the_server_s(
    workers: list[Server], database_url: str
) -> None:
    """Whichever is asked: of events that were rejected, and of partitions; and of connections."""
    await fetch(
        database_url,
        "INSERT INTO rejected_events (app_id, id, event_name, event_params, created_at, sqlstate,"
        " message) SELECT 1, gen_random_uuid(), 'a', '{}', now(), '23514', 'no'"
        " FROM generate_series(1, 7)",
    )
    ended = await until_duty_changes(workers)
    for worker in ended:

        async def is_so(worker: Server = worker) -> bool:
            found = await asyncio.to_thread(worker.metrics)
            known = (found["nonito_partitions_ahead"], found["nonito_rejected_events"])
            connections = found["nonito_postgres_connections"]
            return known == (3.0, 7.0) and connections <= WORKERS * OWN + CONNECTIONS_MAX

        await until(is_so, 10)


async def until_duty_changes(workers: list[Server]) -> list[Server]:
    """Kill who does what is done once; return the others once one of them does it."""
    await until(partial(_is_one_on_duty, workers), 2.0 + SLACK_S)
    (first,) = await on_duty(workers)
    first.process.kill()
    await asyncio.to_thread(first.process.wait)
    others = [each for each in workers if each is not first]
    await until(partial(_is_one_on_duty, others), 2.0 + SLACK_S)
    return others


def test_idle_server_has_three_for_each_worker_and_one_that_listens(
    database_url: str, start_server: StartServer
) -> None:
    """And says at its start how many it may have at most."""
    server = start_server(database_url, server__workers=WORKERS)

    def count() -> int:
        sql = (
            "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'nonito'"
        )
        return int(asyncio.run(fetch(database_url, sql))[0]["n"])

    wait_for(lambda: count() == WORKERS * OWN + 1, 20)
    assert f"{WORKERS * OWN + CONNECTIONS_MAX} connections at most" in server.logs()
    wait_for(lambda: server.metrics()["nonito_postgres_connections"] == WORKERS * OWN + 1)


@pytest.fixture
def asked(database_url: str, tmp_path: Path) -> Iterator[Asked]:
    """A server with an insights process."""
    with asked_server(database_url, tmp_path) as running:
        yield running


async def test_insights_process_has_as_many_as_are_counted_for_it(asked: Asked) -> None:
    """While it archives and answers two questions; and none of them is taken for another's."""
    url = asked.database_url
    needed = connection_budget.needed(workers=1, writers=OWN - 1, has_insights=True)
    others = (await budget(url, needed)).others
    found = Counter[str]()

    async def is_all_there() -> bool:
        nonlocal found
        found = Counter(dict(await fetch(url, SESSIONS)))
        return found["nonito-archive"] == INSIGHTS_MAX - OWN_OF_INSIGHTS

    async with all_kept_waiting(url):
        asking = [asyncio.to_thread(asked.get, "/v1/events", app) for app in ("one", "two")]
        answers = asyncio.gather(*asking)
        await until(is_all_there, 30)
        assert (await budget(url, needed)).others == others + found["test"]
    assert {each.status_code for each in await answers} == {200}
    assert found["test"] == 1
    assert found.total() - 1 <= needed
    assert f"{needed} connections at most" in asked.server.logs()


@asynccontextmanager
async def all_kept_waiting(url: str) -> AsyncIterator[None]:
    """Let nobody read or write events meanwhile."""
    connection = await asyncpg.connect(
        url, timeout=10, server_settings={"application_name": "test"}
    )
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE events")
            yield
    finally:
        await connection.close()


async def budget(url: str, needed: int) -> ConnectionBudget:
    """Return what a check says."""
    async with make_postgres(url).session() as connection:
        return await connection_budget.read(connection, needed)
