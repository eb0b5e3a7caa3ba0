"""`Prefer: respond-async`: answered once queued, stored afterwards, and counted for what it is."""

import itertools
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer
from tests.http.cases import KEY, post
from tests.http.checks import (
    assert_open_to_browsers,
    assert_refusal,
    assert_success,
    locked_events,
    query,
)
from tests.http.test_refusals import REFUSE_MARKED
from tests.support.postgres import pause, resume
from tests.support.raw import Answer, connected
from tests.support.server import (
    LANES,
    ONE_EVENT,
    Server,
    books_balance,
    wait_for,
    wait_until_drained,
)

PREFER = b"Prefer: respond-async"
MANY = 60
WORKERS = 12
LOAD = 240
SCRAPES_MAX = 5_000
LINE = "events were refused after their early 202"


def asking(server: Server, *headers: bytes, name: str = "a") -> bytes:
    """Return an event's request with the server's key."""
    body = json.dumps({"event_name": name, "event_params": {"n": 1}}).encode()
    return post(*headers, body=body).replace(KEY, server.key.encode())


def assert_early(answer: Answer) -> dict[str, Any]:
    """Check that an answer is an early one; return the row."""
    row = assert_success(answer, 202)
    assert answer.headers["preference-applied"] == "respond-async"
    assert_open_to_browsers(answer)
    return row


def stored(url: str) -> dict[str, str]:
    """Return the names of all stored events by their ids."""
    rows = query(url, "SELECT id::text, event_name FROM events")
    return {row["id"]: row["event_name"] for row in rows}


def statuses(server: Server) -> dict[str, float]:
    """Return the counted answers to single events, by status."""
    prefix = "nonito_requests_total{/event,"
    found = server.metrics().items()
    return {name[len(prefix) : -1]: value for name, value in found if name.startswith(prefix)}


@pytest.mark.parametrize("lane", LANES)
def test_event_is_stored_after_its_early_answer(
    database_url: str, start_server: StartServer, lane: str
) -> None:
    """The row in Postgres is the one that was answered; plain requests go on beside it."""
    server = start_server(database_url, server__fast_lane=lane)
    with connected(server.port) as client:
        early = [assert_early(client.ask(asking(server, PREFER, name="e"))) for _ in range(MANY)]
        late = assert_success(client.ask(asking(server, name="late")))
    wait_for(lambda: len(stored(database_url)) == MANY + 1)
    assert stored(database_url) == {row["id"]: "e" for row in early} | {late["id"]: "late"}
    metrics = server.metrics()
    assert metrics["nonito_async_acks_total"] == MANY
    assert metrics["nonito_async_events_refused_total"] == 0
    assert metrics["nonito_events_committed_total"] == MANY + 1
    assert books_balance(metrics) == 0


def test_early_answer_comes_while_nothing_can_be_committed(
    server: Server, database_url: str
) -> None:
    """A plain event waits all that time; both are stored in the end."""
    with connected(server.port) as patient, connected(server.port) as hasty:
        with locked_events(database_url):
            patient.send(asking(server, name="patient"))
            row = assert_early(hasty.ask(asking(server, PREFER, name="hasty")))
            assert server.metrics()["nonito_queue_events"] == 2
            assert patient.is_silent(0.3)
        assert_success(patient.read())
    wait_for(lambda: len(stored(database_url)) == 2)
    assert stored(database_url)[row["id"]] == "hasty"


def test_early_answer_comes_while_postgres_hangs_and_the_event_takes_the_spool(
    own_cluster: Cluster, start_server: StartServer
) -> None:
    """Answered once, counted as one 202, replayed and stored once."""
    url = own_cluster.url(OWN_DATABASE)
    server = start_server(url, writer__commit_timeout_s=1)
    with connected(server.port) as client:
        pause(own_cluster)
        early = [assert_early(client.ask(asking(server, PREFER))) for _ in range(5)]
        wait_for(lambda: server.metrics()["nonito_spool_events"] == 5)
        counted = statuses(server)["202"]
        resume(own_cluster)
        wait_until_drained(server)
        assert client.is_silent(0.1)
    assert counted == 5
    assert stored(url) == {row["id"]: "a" for row in early}
    assert books_balance(server.metrics()) == 0


@pytest.mark.parametrize("lane", LANES)
def test_answers_are_counted_once_and_counters_never_go_back(
    database_url: str, start_server: StartServer, lane: str
) -> None:
    """Early and late answers at once, scraped all the while: 200s and 202s as they were given."""
    server = start_server(database_url, server__fast_lane=lane)
    seen = [statuses(server)]
    with ThreadPoolExecutor(WORKERS) as pool:
        work = [pool.submit(_mixed, server, number) for number in range(WORKERS)]
        while not all(each.done() for each in work):
            seen.append(statuses(server))
    told = sum((each.result() for each in work), Counter[int]())
    seen.append(statuses(server))  # the one before may have missed the last answers
    while seen[-1]["200"] != told[200]:
        seen.append(statuses(server))
        assert len(seen) < SCRAPES_MAX, seen[-1]
    assert told == {200: LOAD / 2, 202: LOAD / 2}
    assert seen[-1]["202"] == told[202]
    for before, after in itertools.pairwise(seen):
        assert all(after[status] >= count for status, count in before.items()), (before, after)


def _mixed(server: Server, number: int) -> Counter[int]:
    """Post events on one connection, every other one with an early answer; count the statuses."""
    requests = (asking(server, PREFER), asking(server))
    with connected(server.port) as client:
        return Counter(
            client.ask(requests[(turn + number) % 2]).status for turn in range(LOAD // WORKERS)
        )


def test_event_that_is_refused_after_its_early_answer_is_counted_and_logged(
    server: Server, database_url: str
) -> None:
    """Its neighbours are stored; the log names the code and holds nothing of the event."""
    for statement in REFUSE_MARKED:
        query(database_url, statement)
    with connected(server.port) as client:
        for name in ("good", "marked", "good", "marked"):
            assert_early(client.ask(asking(server, PREFER, name=name)))
        message = client.ask(asking(server, name="marked"))
    assert_refusal(message, 400, "rejected_by_database")
    wait_for(lambda: server.metrics()["nonito_async_events_refused_total"] == 2)
    metrics = server.metrics()
    assert metrics["nonito_events_failed_total"] == 3
    assert metrics["nonito_events_refused_total{rejected_by_database}"] == 3
    assert books_balance(metrics) == 0
    server.stop()
    assert sorted(stored(database_url).values()) == ["good", "good"]
    assert _logged(server) == {"rejected_by_database": 2}
    assert "marked" not in server.logs()


def test_many_refused_events_make_few_lines_and_all_are_in_them(
    server: Server, database_url: str
) -> None:
    """A client can't fill a disk with them; what is kept back is logged at the end."""
    for statement in REFUSE_MARKED:
        query(database_url, statement)
    with connected(server.port) as client:
        for number in range(MANY):
            assert_early(client.ask(asking(server, PREFER, name="marked")))
            wait_for(lambda: _refused(server) == number + 1)  # noqa: B023 - called at once
    lines = server.logs().count(LINE)
    server.stop()
    assert 1 <= lines < MANY / 10
    assert _logged(server) == {"rejected_by_database": MANY}


def _refused(server: Server) -> float:
    return server.metrics()["nonito_async_events_refused_total"]


def _logged(server: Server) -> Counter[str]:
    """Return the events that the log says were refused, by code."""
    lines = [json.loads(line) for line in server.logs().splitlines()]
    return sum((Counter(line["events"]) for line in lines if line["message"] == LINE), Counter())


@pytest.mark.parametrize("lane", LANES)
def test_preference_changes_no_refusal(
    database_url: str, start_server: StartServer, lane: str
) -> None:
    """What is known to be bad is refused at once, and no preference is said to be applied."""
    server = start_server(database_url, server__fast_lane=lane)
    for request, status, code in [
        (post(PREFER, body=b"{}"), 400, "missing_event_name"),
        (post(PREFER).replace(KEY, b"x"), 401, "invalid_api_key"),
        (post(PREFER).replace(b"application/json", b"a/b"), 415, "unsupported_media_type"),
    ]:
        with connected(server.port) as client:
            answer = client.ask(request.replace(KEY, server.key.encode()))
        assert_refusal(answer, status, code)
        assert "preference-applied" not in answer.headers
    assert server.metrics()["nonito_async_acks_total"] == 0


def test_full_queue_refuses_early_answers_too(database_url: str, start_server: StartServer) -> None:
    """Nothing is answered with 202 that is not in the queue."""
    server = start_server(
        database_url,
        **ONE_EVENT,
    )
    with connected(server.port) as client, locked_events(database_url):
        for number in (1, 2):
            assert_early(client.ask(asking(server, PREFER)))
            wait_for(lambda: server.metrics()["nonito_queue_events"] == number)  # noqa: B023
        refused = client.ask(asking(server, PREFER))
    assert_refusal(refused, 503, "overloaded")
    wait_for(lambda: len(stored(database_url)) == 2)


def test_events_with_early_answers_are_stored_before_the_server_stops(
    server: Server, database_url: str
) -> None:
    """SIGTERM commits what is queued, whoever waits for it."""
    with connected(server.port) as client:
        client.send(asking(server, PREFER) * MANY)
        rows = [assert_early(client.read()) for _ in range(MANY)]
    assert server.stop() == 0
    assert set(stored(database_url)) == {row["id"] for row in rows}
