"""An id or Idempotency-Key that another event has: told, and refused if the client asks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer, make_key
from tests.http.batches import post as post_batch
from tests.http.checks import query
from tests.support.postgres import kill, new_database
from tests.support.server import LANES, Server, books_balance, running_server
from tests.test_retries import DUPLICATE, Identify, both_ways, by_id, by_key, post, row_of

STRICT = "handling=strict"
VARIANTS = [
    {"event_name": "other"},
    {"event_params": {"n": 2}},
    {"event_params": {"n": "1.5"}},
    {"event_params": {}},
    {"timestamp": "2026-01-10T12:00:00Z"},
]


@pytest.fixture(scope="module", params=LANES)
def server(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Server]:
    """A server with the fast lane, and then one without."""
    with new_database(cluster) as url:
        settings = {"server.fast_lane": request.param, "events.timestamp_past_days_max": 36_525}
        with running_server(("--database-url", url), make_key(url), settings) as running:
            running.database_url = url  # type: ignore[attr-defined]
            yield running


def stored(server: Server) -> int:
    """Return how many events the server's database has."""
    (row,) = query(server.database_url, "SELECT count(*) AS n FROM events")  # type: ignore[attr-defined]
    return int(row["n"])


def assert_conflict(answer: requests.Response) -> None:
    """Check that an answer is the 409, in the one shape."""
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert list(answer.json()) == ["status", "error"]
    assert DUPLICATE not in answer.headers


@both_ways
@pytest.mark.parametrize("variant", VARIANTS)
def test_other_event_is_told_the_first_row_and_that_it_is_another(
    server: Server, identify: Identify, variant: dict[str, Any]
) -> None:
    """By header; who asks for it is refused; nothing of the second one is stored."""
    event, headers = identify("first")
    first = post(server, event, **headers)
    before = stored(server)
    other = post(server, event | variant, **headers)
    refused = post(server, event | variant, **headers, Prefer=STRICT)
    assert (other.status_code, other.headers[DUPLICATE]) == (200, "different")
    assert row_of(other) == row_of(first)
    assert_conflict(refused)
    assert stored(server) == before
    assert books_balance(server.metrics()) == 0


@both_ways
def test_true_retry_is_no_other_event_however_it_is_written(
    server: Server, identify: Identify
) -> None:
    """In another order, with other spaces, the number with another digit; strictly, too."""
    event, headers = identify("same")
    event |= {"event_params": {"n": 1.5, "yes": True, "é": [1, 2]}}
    first = post(server, event, **headers)
    text = '{"event_params": {"\\u00e9": [1.0, 2], "yes": true , "n": 15e-1}, "event_name": "same"'
    text += f', "id": "{event["id"]}"}}' if "id" in event else "}"
    for more in ({}, {"Prefer": STRICT}):
        sent = {"X-API-Key": server.key, "Content-Type": "application/json", **headers, **more}
        again = requests.post(f"{server.url}/event", data=text, headers=sent, timeout=30)
        assert (again.status_code, again.headers[DUPLICATE]) == (200, "true")
        assert row_of(again)["id"] == row_of(first)["id"]
        assert again.headers.get("Preference-Applied") == more.get("Prefer")


def test_batch_tells_of_each_event_whether_another_one_is_stored(server: Server) -> None:
    """Among those of the batch itself, too; strictly they are errors of their own."""
    known, _ = by_id("known")
    assert post(server, known).status_code == 200
    fresh, _ = by_id("fresh")
    sent = [
        known,
        known | {"event_name": "other"},
        fresh,
        fresh | {"event_params": {"n": 2}},
        fresh,
        {"event_name": "plain"},
    ]
    strict = post_batch(server, sent, Prefer=STRICT)
    lax = post_batch(server, sent)
    assert (lax.status_code, strict.status_code) == (200, 207)
    assert [row.get("duplicate", "") for row in lax.json()["data"]] == [
        *(True, "different", True, "different", True),
        "",
    ]
    assert strict.headers["Preference-Applied"] == STRICT
    assert [row["event_name"] for row in strict.json()["data"]] == [
        *("known", "fresh", "fresh", "plain"),
    ]
    errors = [(each["index"], each["code"]) for each in strict.json()["errors"]]
    assert errors == [(1, "conflict"), (3, "conflict")]
    alone = post_batch(server, [known | {"event_name": "other"}], Prefer=STRICT)
    assert (alone.status_code, alone.json()["errors"][0]["code"]) == (400, "conflict")
    assert books_balance(server.metrics()) == 0


def test_each_of_many_retries_is_compared(server: Server) -> None:
    """However many there are in a batch: only single events may be too long."""
    known = [by_id(f"many {n}")[0] | {"event_params": {"n": n, "a": "b" * 50}} for n in range(2000)]
    assert post_batch(server, known).status_code == 200
    sent = [
        event | ({"event_params": {"n": n, "a": "c" * 50}} if n % 3 else {})
        for n, event in enumerate(known)
    ]
    told = [row["duplicate"] for row in post_batch(server, sent).json()["data"]]
    assert told == ["different" if n % 3 else True for n in range(2000)]


def test_conflict_is_counted_as_refused_and_as_a_duplicate(server: Server) -> None:
    """It was accepted, and its sender was told that it is not stored."""
    event, headers = by_key("counted")
    post(server, event, **headers)
    names = ("nonito_events_duplicate_total", "nonito_events_refused_total{test,conflict}")
    before = server.metrics()
    assert_conflict(post(server, event | {"event_name": "b"}, **headers, Prefer=STRICT))
    after = server.metrics()
    code = [name for name in after if "conflict" in name]
    assert code, [name for name in after if "refused" in name]
    assert after[names[0]] - before[names[0]] == 1
    assert after[code[0]] - before.get(code[0], 0) == 1


@both_ways
@pytest.mark.parametrize("lane", LANES)
def test_other_event_is_told_of_one_that_waits_in_the_spool(
    own_cluster: Cluster,
    start_server: StartServer,
    tmp_path: Path,
    identify: Identify,
    lane: str,
) -> None:
    """While Postgres is away: with a 202, or the 409."""
    url = own_cluster.url(OWN_DATABASE)
    server = start_server(url, spool__path=tmp_path, server__fast_lane=lane)
    assert post(server, {"event_name": "before"}).status_code == 200
    kill(own_cluster)
    event, headers = identify("during")
    first = post(server, event, **headers)
    other = post(server, event | {"event_name": "other"}, **headers)
    refused = post(server, event | {"event_name": "other"}, **headers, Prefer=STRICT)
    again = post(server, event, **headers, Prefer=STRICT)
    assert [answer.status_code for answer in (first, other, again)] == [202, 202, 202]
    told = [answer.headers[DUPLICATE] for answer in (first, other, again)]
    assert told == ["unknown", "different", "unknown"]
    assert row_of(other) == row_of(first) == row_of(again)
    assert_conflict(refused)
    assert books_balance(server.metrics()) == 0
