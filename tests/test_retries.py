"""Retries that are safe: an id or Idempotency-Key again is stored once, and answered alike."""

import asyncio
import signal
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer, make_key
from tests.http.batches import post as post_batch
from tests.support.postgres import fetch, kill
from tests.support.server import Server, books_balance, wait_for, wait_until_drained

DUPLICATE = "Nonito-Duplicate"
KEY = "Idempotency-Key"


def make_id(unix_ms: int | None = None) -> str:
    """Return a UUIDv7 as a client makes it, of now if no time is given."""
    moment = unix_ms if unix_ms is not None else time.time_ns() // 1_000_000
    number = moment << 80 | 0x7 << 76 | 0b10 << 62 | uuid.uuid4().int & (1 << 62) - 1
    return str(uuid.UUID(int=number))


def post(server: Server, event: Mapping[str, Any], **headers: str) -> requests.Response:
    """Post an event."""
    return server.post(event, **{name.replace("_", "-"): value for name, value in headers.items()})


def of_last_year(name: str) -> dict[str, Any]:
    """Return an event of a time that has no partition."""
    moment = datetime.now(UTC) - timedelta(days=365)
    return {"event_name": name, "timestamp": moment.isoformat()}


def row_of(answer: requests.Response) -> dict[str, Any]:
    """Return the row that an answer tells."""
    (row,) = answer.json()["data"]
    assert isinstance(row, dict)
    return row


def stored(url: str) -> int:
    """Return how many events are stored."""
    return int(asyncio.run(fetch(url, "SELECT count(*) AS n FROM events"))[0]["n"])


Identify = Any
"""Makes an event and headers that identify it, from a name."""


def by_id(name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Identify an event by an id of the client's."""
    return {"event_name": name, "event_params": {"n": 1.50}, "id": make_id()}, {}


def by_key(name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Identify an event by a header."""
    return {"event_name": name, "event_params": {"n": 1.50}}, {KEY: f"order {uuid.uuid4()}"}


both_ways = pytest.mark.parametrize("identify", [by_id, by_key])


@both_ways
def test_retry_is_stored_once_and_answered_with_the_first_row(
    database_url: str, server: Server, identify: Identify
) -> None:
    """Also when its body is another one by now, and also the third time."""
    event, headers = identify("first")
    answers = [post(server, event, **headers)]
    answers += [post(server, event | {"event_name": "other"}, **headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    known = [answer.headers.get(DUPLICATE) for answer in answers]
    assert known == [None, "different", "different"]
    rows = [row_of(answer) for answer in answers]
    assert rows[1] == rows[0] == rows[2]
    assert rows[0]["event_name"] == "first"
    assert list(rows[1]) == list(rows[0])
    assert stored(database_url) == 1
    metrics = server.metrics()
    assert metrics["nonito_events_duplicate_total"] == 2
    assert metrics["nonito_requests_total{/event,200}"] >= 3
    assert books_balance(metrics) == 0


@both_ways
def test_retries_at_the_same_time_and_at_several_servers_are_stored_once(
    database_url: str, start_server: StartServer, identify: Identify
) -> None:
    """Whoever is first: all get one row, and all but one are told that theirs is a duplicate."""
    key = make_key(database_url)
    servers = [start_server(database_url, key=key) for _ in range(2)]
    for _ in range(10):
        event, headers = identify("once")
        with ThreadPoolExecutor(16) as pool:
            tries = [
                pool.submit(post, servers[number % 2], event, **headers) for number in range(16)
            ]
            answers = [each.result() for each in tries]
        assert {answer.status_code for answer in answers} == {200}
        assert len({str(row_of(answer)) for answer in answers}) == 1
        assert [answer.headers.get(DUPLICATE) for answer in answers].count(None) == 1
    assert stored(database_url) == 10
    for server in servers:
        assert books_balance(server.metrics()) == 0


@both_ways
def test_identity_belongs_to_the_app(
    database_url: str, start_server: StartServer, identify: Identify
) -> None:
    """Nobody swallows another app's event by guessing its id or key."""
    ours = start_server(database_url)
    theirs = make_key(database_url, "another app")
    event, headers = identify("mine")
    wait_for(lambda: post(ours, {}, **{"X-API-Key": theirs}).status_code == 400)
    first = post(ours, event, **headers)
    second = post(ours, event | {"event_name": "theirs"}, **headers, **{"X-API-Key": theirs})
    assert (first.status_code, second.status_code) == (200, 200)
    assert DUPLICATE not in second.headers
    assert row_of(second)["event_name"] == "theirs"
    assert stored(database_url) == 2


@both_ways
def test_retry_after_a_restart_is_a_duplicate(
    database_url: str, start_server: StartServer, identify: Identify
) -> None:
    """What tells is in Postgres."""
    key = make_key(database_url)
    event, headers = identify("before")
    server = start_server(database_url, key=key)
    first = post(server, event, **headers)
    server.stop()
    again = post(start_server(database_url, key=key), event, **headers)
    assert (again.headers.get(DUPLICATE), row_of(again)) == ("true", row_of(first))


def test_key_counts_for_24_hours(database_url: str, server: Server) -> None:
    """After that it stands for a new event."""
    event, headers = by_key("daily")
    first = row_of(post(server, event, **headers))
    for hours, is_new in ((23, False), (2, True)):
        ((used_at,),) = asyncio.run(fetch(database_url, "SELECT created_at FROM idempotency_keys"))
        query = "UPDATE idempotency_keys SET created_at = $1"
        asyncio.run(fetch(database_url, query, used_at - timedelta(hours=hours)))
        answer = post(server, event, **headers)
        assert (DUPLICATE not in answer.headers) is is_new
        assert (row_of(answer)["id"] != first["id"]) is is_new
    assert stored(database_url) == 2


def test_event_with_an_id_needs_no_key(database_url: str, server: Server) -> None:
    """The header is left out of account then: the id is as good, and for ever."""
    event, _ = by_id("twice identified")
    assert post(server, event, **{KEY: "one"}).status_code == 200
    again = post(server, event, **{KEY: "another"})
    assert again.headers.get(DUPLICATE) == "true"
    assert DUPLICATE not in post(server, by_id("new")[0], **{KEY: "one"}).headers
    assert stored(database_url) == 2


@both_ways
def test_retry_of_an_event_in_the_spool_gets_its_row(
    own_cluster: Cluster, start_server: StartServer, tmp_path: Path, identify: Identify
) -> None:
    """During an outage, behind a restart in it, and when Postgres has it at last."""
    url = own_cluster.url(OWN_DATABASE)
    key = make_key(url)
    server = start_server(url, key=key, spool__path=tmp_path)
    assert post(server, {"event_name": "before"}).status_code == 200
    kill(own_cluster)
    event, headers = identify("during")
    first = post(server, event, **headers)
    again = post(server, event | {"event_name": "other"}, **headers)
    server.stop()
    server = start_server(url, key=key, spool__path=tmp_path)
    restarted = post(server, event, **headers)
    own_cluster.start()
    wait_until_drained(server)
    wait_for(lambda: post(server, {"event_name": "after"}).status_code == 200)
    replayed = post(server, event, **headers)
    answers = (first, again, restarted, replayed)
    assert [answer.status_code for answer in answers] == [202, 202, 202, 200]
    known = [answer.headers.get(DUPLICATE) for answer in answers]
    assert known == ["unknown", "different", "unknown", "true"]
    assert all(row_of(answer) == row_of(first) for answer in answers)
    names = asyncio.run(fetch(url, "SELECT event_name FROM events"))
    assert [row["event_name"] for row in names].count("during") == 1
    assert books_balance(server.metrics()) == 0


@both_ways
def test_answer_of_an_outage_says_that_the_event_may_have_been_stored_before(
    own_cluster: Cluster, start_server: StartServer, identify: Identify
) -> None:
    """Postgres knows of it and can't be asked: the row that is told then will never exist.

    Of an event that nobody named there is no doubt, whatever its time; of a batch each row tells.
    """
    url = own_cluster.url(OWN_DATABASE)
    server = start_server(url)
    event, headers = identify("before")
    first = post(server, event, **headers)
    kill(own_cluster)
    other = event | {"event_name": "other"}
    unsure = post(server, other, **headers)
    sure = [post(server, each) for each in ({"event_name": "a"}, of_last_year("b"))]
    batch = post_batch(server, [{"event_name": "c"}, of_last_year("d"), by_id("e")[0]])
    early = post(server, by_id("f")[0], Prefer="respond-async")
    own_cluster.start()
    wait_until_drained(server)
    wait_for(lambda: post(server, {"event_name": "after"}).status_code == 200)
    known = post(server, other, **headers)
    assert [answer.status_code for answer in (first, unsure, *sure, batch, known)] == [
        *(200, 202, 202, 202),
        *(202, 200),
    ]
    assert [answer.headers.get(DUPLICATE) for answer in (first, unsure, *sure, early, known)] == [
        *(None, "unknown", None, None),
        *(None, "different"),
    ]
    assert row_of(known) == row_of(first)
    assert (row_of(unsure) == row_of(first)) is False
    assert [row.get("duplicate", "") for row in batch.json()["data"]] == ["", "", None]
    names = asyncio.run(fetch(url, "SELECT event_name FROM events ORDER BY event_name"))
    assert [row["event_name"] for row in names][2:] == ["b", "before", "c", "d", "e", "f"]
    assert books_balance(server.metrics()) == 0


@both_ways
def test_one_that_was_stored_elsewhere_meanwhile_is_not_stored_again_by_the_replay(
    own_cluster: Cluster, start_server: StartServer, identify: Identify
) -> None:
    """The first try waits in one server's spool, the retry reaches Postgres through another."""
    url = own_cluster.url(OWN_DATABASE)
    key = make_key(url)
    cut_off = start_server(url, key=key, writer__commit_timeout_s=1)
    assert post(cut_off, {"event_name": "before"}).status_code == 200
    kill(own_cluster)
    event, headers = identify("twice")
    assert post(cut_off, event, **headers).status_code == 202
    cut_off.signal_all(signal.SIGSTOP)  # it sees nothing of what happens next
    own_cluster.start()
    other = start_server(url, key=key)
    assert post(other, event, **headers).status_code == 200
    cut_off.signal_all(signal.SIGCONT)
    wait_until_drained(cut_off)
    rows = asyncio.run(fetch(url, "SELECT event_name FROM events"))
    assert [row["event_name"] for row in rows].count("twice") == 1


def test_bad_row_among_events_with_ids_costs_only_its_sender(
    own_url: str, start_server: StartServer
) -> None:
    """Also where retries make the batch be merged."""
    index = (
        "CREATE INDEX ON events (((event_params->>'poison')::int)) WHERE event_params ? 'poison'"
    )
    asyncio.run(fetch(own_url, index))
    server = start_server(own_url)
    known = [by_id("known")[0] for _ in range(20)]
    for event in known:
        assert post(server, event).status_code == 200
    bad = {"event_name": "bad", "event_params": {"poison": "yes"}, "id": make_id()}
    mixed = [*known, *(by_id("new")[0] for _ in range(20)), bad]
    with ThreadPoolExecutor(len(mixed)) as pool:
        answers = list(pool.map(lambda event: post(server, event), mixed))
    assert [answer.status_code for answer in answers] == [200] * 40 + [400]
    assert answers[-1].json()["error"]["code"] == "rejected_by_database"
    assert [DUPLICATE in answer.headers for answer in answers] == [True] * 20 + [False] * 21
    assert stored(own_url) == 40


@pytest.mark.parametrize(
    "event_id",
    [
        "",
        "01a20775-3827-7f9a-a84b-77c69c54c24",
        "01a20775-3827-4f9a-a84b-77c69c54c242",
        "01a20775-3827-7f9a-c84b-77c69c54c242",
        "01a2077538277f9aa84b77c69c54c242",
        "{01a20775-3827-7f9a-a84b-77c69c54c242}",
        "00000000-0000-7000-8000-000000000000",
        "80000000-0000-7000-8000-000000000000",
        7,
        {"id": 1},
    ],
)
def test_bad_id_is_refused(shared_server: Server, event_id: object) -> None:
    """No UUIDv7 in its usual form, or one of a time that can't be."""
    answer = post(shared_server, {"event_name": "a", "id": event_id})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_id")


def test_id_in_capitals_is_the_same_id(shared_server: Server) -> None:
    """And it is told in small letters."""
    event_id = make_id()
    first = post(shared_server, {"event_name": "a", "id": event_id.upper()})
    again = post(shared_server, {"event_name": "a", "id": event_id})
    assert row_of(first)["id"] == event_id
    assert again.headers.get(DUPLICATE) == "true"


@pytest.mark.parametrize("key", ["x" * 256, "é", "a\tb"])
def test_bad_key_is_refused(shared_server: Server, key: str) -> None:
    """1 to 255 printable ASCII characters."""
    answer = requests.post(
        f"{shared_server.url}/event",
        data=b'{"event_name":"a"}',
        headers={
            "X-API-Key": shared_server.key,
            "Content-Type": "application/json",
            KEY: key.encode(),
        },
        timeout=30,
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_idempotency_key")


@both_ways
@pytest.mark.parametrize("count", [10_000, 226_000])
def test_retry_of_a_long_row_is_answered_without_parameters(
    database_url: str, server: Server, identify: Identify, count: int
) -> None:
    """They are not read back, and those of the retry are not what is stored.

    10,000 numbers are short as jsonb, and printed are 3 MB; 226,000 are 680 KB as they are sent.
    """
    event, headers = identify("long")
    number = 1e299 if count < 100_000 else 1
    first = post(server, event | {"event_params": {"a": [number] * count}}, **headers)
    again = post(server, event | {"event_params": {"other": True}}, **headers)
    assert (again.status_code, again.headers.get(DUPLICATE)) == (200, "true")
    stored_row = row_of(first)
    del stored_row["event_params"]
    assert row_of(again) == stored_row
    assert stored(database_url) == 1
    assert books_balance(server.metrics()) == 0


def test_retry_of_a_long_row_in_the_spool_is_answered_with_its_parameters(
    own_cluster: Cluster, start_server: StartServer
) -> None:
    """There they are as they were sent."""
    server = start_server(own_cluster.url(OWN_DATABASE))
    assert post(server, {"event_name": "before"}).status_code == 200
    kill(own_cluster)
    event, headers = by_key("long")
    first = post(server, event | {"event_params": {"a": [1] * 226_000}}, **headers)
    again = post(server, event | {"event_params": {"other": True}}, **headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert row_of(again) == row_of(first)


def test_retry_finds_its_first_try_with_any_worker_that_spooled_it(
    own_cluster: Cluster, start_server: StartServer
) -> None:
    """While Postgres is away: wherever its connection ends, and behind the kill of a worker."""
    url = own_cluster.url(OWN_DATABASE)
    server = start_server(url, server__workers=3)
    assert server.post({"event_name": "before"}).status_code == 200
    kill(own_cluster)
    events = [by_key(f"event {n}") for n in range(6)]
    firsts = [row_of(post(server, event, **headers)) for event, headers in events]

    def retry_all() -> list[dict[str, Any]]:
        return [row_of(post(server, event, **headers)) for event, headers in events]

    assert [retry_all() for _ in range(5)] == [firsts] * 5
    killed = server.workers()[0]
    killed.kill()
    killed.wait(10)
    assert server.post({"event_name": "another"}).status_code == 202
    assert [retry_all() for _ in range(5)] == [firsts] * 5
    own_cluster.start()
    wait_until_drained(server)
    assert stored(url) == 2 + len(events)
    assert books_balance(server.metrics()) == 0
