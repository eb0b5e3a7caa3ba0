"""An app whose rows Postgres refuses costs its neighbours nothing, and gets all that they get."""

import asyncio
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
import requests

from ingest.delivery.intake import Intake
from ingest.delivery.outcome import Ack
from ingest.delivery.quarantine import HUNG_LASTS_S, LASTS_S, REFUSALS, Quarantine
from ingest.delivery.queue import EventQueue
from ingest.delivery.queues import Queues
from ingest.errors import Code, Refusal
from ingest.events.client_fields import Span
from ingest.events.drafts import Drafts
from ingest.http.waiters import BatchAnswer
from ingest.spool import Spool
from ingest.store.apps import App
from ingest.store.failures import RowRefused
from tests.conftest import StartServer, make_key
from tests.delivery.rules import RULES, script, trigger
from tests.delivery.surroundings import HungSurroundings, outcome_of
from tests.support.postgres import fetch, make_postgres
from tests.support.server import books_balance, wait_for, wait_until_drained

APP, OTHER = 7, 8
DAY_MS: Final = 86_400_000
OWN_ID: Final = {"id": "018cc251-f400-7000-8000-000000000007"}
THEN: Final = {"timestamp": "2020-01-01T00:00:00Z"}
JUDGED: Final = RowRefused(None, "23514", "", is_told=False)
WAITED: Final = RowRefused(None, "57014", "", is_told=False)
WRONG: Final = {"event_name": "wrong"}
GOOD: Final = {"event_name": "good"}


def make_queues(events_max: int = 10) -> Queues:
    """Return some that nobody reads."""
    return Queues(
        lambda: EventQueue(
            events_max=events_max, bytes_max=9999, batch_events_max=10, batch_bytes_max=9999
        )
    )


def is_apart(queues: Queues, app_id: int) -> bool:
    """Return whether all of an app's events have a queue of their own."""
    ways = queues.of(app_id)
    assert (ways.plain is queues.apart) is (ways.dedup is queues.apart)
    return ways.plain is queues.apart


def test_app_of_many_refused_rows_is_kept_apart_until_they_end() -> None:
    """A few of them do nothing, in whichever second; nor is anybody else kept apart."""
    now_s = [100.0]
    queues = make_queues()
    quarantine, changes = Quarantine(queues, lambda: now_s[0]), []
    queues.on_change(lambda: changes.append(is_apart(queues, APP)))
    for _ in range(3):
        quarantine.note([(APP, JUDGED)] * (REFUSALS - 1))
        quarantine.begin_second()
        assert not is_apart(queues, APP)
    quarantine.note([(OTHER, JUDGED), *[(APP, JUDGED)] * REFUSALS])
    assert is_apart(queues, APP)
    assert not is_apart(queues, OTHER)
    now_s[0] += LASTS_S - 1
    quarantine.note([(APP, JUDGED)])
    now_s[0] += LASTS_S - 1
    quarantine.begin_second()
    assert is_apart(queues, APP)
    now_s[0] += 2
    quarantine.begin_second()
    assert not is_apart(queues, APP)
    assert changes == [True, False]


def test_app_of_one_row_that_took_a_time_out_shares_no_queue_with_refused_ones() -> None:
    """For longer than others: the next one would hold up a whole batch as long again."""
    now_s = [100.0]
    queues = make_queues()
    quarantine = Quarantine(queues, lambda: now_s[0])
    quarantine.note([(APP, JUDGED), *[(OTHER, JUDGED)] * REFUSALS])
    quarantine.note([(OTHER, WAITED), (APP, WAITED)])
    now_s[0] += HUNG_LASTS_S - 1
    quarantine.note([(APP, JUDGED)] * REFUSALS)
    quarantine.begin_second()
    assert queues.of(APP) == queues.of(OTHER) == (queues.hung, queues.hung)
    quarantine.note_hung(OTHER)
    now_s[0] += LASTS_S + 1
    quarantine.begin_second()
    assert queues.of(APP) == (queues.plain, queues.dedup)
    assert queues.of(OTHER) == (queues.hung, queues.hung)
    quarantine.note([(APP, JUDGED)] * REFUSALS)
    assert is_apart(queues, APP)


async def test_app_in_quarantine_stays_while_its_rows_take_time_outs(
    own_url: str, spool: Spool
) -> None:
    """Also before the replay comes to them; and Postgres is not held to be away for that."""
    await script(own_url, trigger("PERFORM pg_sleep(30);"))
    hung = HungSurroundings(make_postgres(own_url, 0.5), spool)
    async with hung.running():
        assert await outcome_of(hung.put(name=b"good")) is Ack.COMMITTED
        assert hung.noting.noted == []
        assert await outcome_of(hung.put(name=b"wrong")) is Ack.SPOOLED
        assert hung.noting.noted == [1]
    assert hung.health.is_up


def draft(intake: Intake) -> Drafts:
    """Return four events of APP's, two for each queue."""
    drafts = Drafts()
    app = App(APP, "app")
    for claim in ({}, OWN_ID, THEN, {}):
        drafts.add(intake.draft(app, json.dumps(GOOD | claim).encode()))
    return drafts


@pytest.mark.parametrize("room", [3, 4])
async def test_batch_of_an_app_that_is_kept_apart_is_queued_whole_or_not(room: int) -> None:
    """Though its events would go into two queues else."""
    queues = make_queues(room)
    intake = Intake(
        queues,
        event_name_chars_max=99,
        span=Span(36500 * DAY_MS, DAY_MS),
        has_partition=lambda unix_ms: unix_ms > time.time() * 1000 - DAY_MS,
    )
    drafts = draft(intake)
    assert len(drafts.dedup) == 2
    queues.keep_apart(APP)
    answer = BatchAnswer(drafts.rows, drafts.events)
    if room < len(drafts.rows):
        with pytest.raises(Refusal) as caught:
            intake.accept_all(App(APP, "app"), drafts, answer)
        assert caught.value.code is Code.PAYLOAD_TOO_LARGE
        assert queues.waiting_events == 0
    else:
        intake.accept_all(App(APP, "app"), drafts, answer)
        assert queues.apart.waiting_events == queues.waiting_events == room


async def test_routes_follow_the_quarantine() -> None:
    """Also those that an intake remembers."""
    queues = make_queues()
    intake = Intake(
        queues,
        event_name_chars_max=99,
        span=Span(36500 * DAY_MS, DAY_MS),
        has_partition=lambda _: True,
    )
    app, body, waiter = App(APP, "app"), json.dumps(GOOD).encode(), BatchAnswer([], 9)
    for change, queue in (
        (lambda _: None, queues.plain),
        (queues.keep_apart, queues.apart),
        (queues.let_out, queues.plain),
    ):
        change(APP)
        before = queue.waiting_events
        intake.accept(app, body, waiter)
        assert queue.waiting_events == before + 1


class Two:
    """A server with an app whose rows are refused, and a neighbour."""

    def __init__(self, start: StartServer, url: str, commit_timeout_s: float = 5.0) -> None:
        bad = make_key(url, "bad")  # before the server reads them
        self.server = start(url, writer__commit_timeout_s=commit_timeout_s)
        self._keys = {"bad": bad, "good": self.server.key}

    def post(self, app: str, body: Any, **headers: str) -> requests.Response:  # noqa: ANN401 - JSON
        """Send an event, or several."""
        path = "/events" if isinstance(body, list) else "/event"
        headers["X-API-Key"] = self._keys[app]
        return requests.post(f"{self.server.url}{path}", json=body, headers=headers, timeout=30)

    def statuses(self, app: str, body: Any, times: int) -> Counter[int]:  # noqa: ANN401 - JSON
        """Send it so often at once, and count the answers."""
        with ThreadPoolExecutor(16) as pool:
            found = pool.map(lambda _: self.post(app, body).status_code, range(times))
            return Counter(found)

    @property
    def is_apart(self) -> bool:
        """Whether the bad app has a queue alone, by the log."""
        return "it has a queue alone" in self.server.logs()


@pytest.mark.parametrize("rule", ["CHECK", "dropped", "missing table, told behind the rows"])
def test_app_in_quarantine_gets_all_that_others_get(
    database_url: str, start_server: StartServer, rule: str
) -> None:
    """Its good events a 200, its retries the first one's row, its bad ones a 202; all balance."""
    two = Two(start_server, database_url)
    asyncio.run(script(database_url, RULES[rule][0]))
    assert two.statuses("bad", WRONG, 5 * REFUSALS) == {202: 5 * REFUSALS}
    assert two.is_apart
    _assert_served(two)
    wait_until_drained(two.server)
    assert books_balance(two.server.metrics()) == 0
    rows = asyncio.run(fetch(database_url, "SELECT event_name, count(*) FROM events GROUP BY 1"))
    assert dict(rows) == {"good": 44, "keyed": 1, "one": 1}
    dead = asyncio.run(fetch(database_url, "SELECT count(*) FROM rejected_events"))
    assert dead[0][0] == 5 * REFUSALS + 1


def _assert_served(two: Two) -> None:
    assert two.statuses("bad", GOOD, 20) == {200: 20}
    assert two.statuses("good", GOOD, 20) == {200: 20}
    first = two.post("bad", {"event_name": "keyed"}, **{"Idempotency-Key": "k"})
    again = two.post("bad", {"event_name": "keyed"}, **{"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers["Nonito-Duplicate"] == "true"
    assert first.json() == again.json()
    own_id = first.json()["data"][0]["id"][:-4] + "abcd"
    mixed = two.post("bad", [GOOD, {"event_name": "one", "id": own_id}, WRONG, *[GOOD] * 3])
    assert mixed.status_code == 202
    assert len(mixed.json()["data"]) == 6
    retried = two.post("bad", {"event_name": "one", "id": own_id})
    assert retried.status_code == 200
    assert retried.headers["Nonito-Duplicate"] == "true"


@pytest.mark.parametrize("rule", ["pg_sleep(30)", "pg_terminate_backend(pg_backend_pid())"])
def test_rows_that_take_a_time_out_hold_up_no_neighbour(
    database_url: str, start_server: StartServer, rule: str
) -> None:
    """Once the replay has found whose they are; nor do those that end the session."""
    two = Two(start_server, database_url, commit_timeout_s=1.0)
    asyncio.run(script(database_url, trigger(f"PERFORM {rule};")))
    assert two.post("bad", WRONG).status_code == 202
    wait_for(lambda: two.is_apart, 60.0)
    wait_for(lambda: two.server.get("/readyz").status_code == 200)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(two.statuses, "bad", WRONG, 4)
        neighbours: Counter[int] = Counter()
        while not slow.done():
            neighbours[two.post("good", GOOD).status_code] += 1
    assert slow.result() == {202: 4}
    assert set(neighbours) == {200}


def test_rows_that_take_a_time_out_hold_up_no_other_app_in_quarantine(
    database_url: str, start_server: StartServer
) -> None:
    """Its good events get their 200 meanwhile, though Postgres refuses its bad ones."""
    two = Two(start_server, database_url, commit_timeout_s=1.0)
    hangs = trigger("IF NEW.app_id = 1 THEN PERFORM pg_sleep(30); ELSE RAISE 'no'; END IF;")
    asyncio.run(script(database_url, hangs))
    assert two.post("bad", WRONG).status_code == 202
    wait_for(lambda: two.is_apart, 60.0)
    assert two.statuses("good", WRONG, 5 * REFUSALS) == {202: 5 * REFUSALS}
    wait_for(lambda: two.server.logs().count("it has a queue alone") == 2)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(two.statuses, "bad", WRONG, 4)
        others: Counter[int] = Counter()
        while not slow.done():
            others[two.post("good", GOOD).status_code] += 1
    assert slow.result() == {202: 4}
    assert set(others) == {200}
