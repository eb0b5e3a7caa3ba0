"""What happens when Postgres is away, hangs, or refuses: nothing is lost, and nobody waits long."""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer
from tests.http.checks import locked_events
from tests.support.postgres import fetch, kill, pause, resume
from tests.support.server import Server, books_balance, wait_for, wait_until_drained

pytestmark = pytest.mark.slow


def post(server: Server, name: str = "event", **params: object) -> int:
    """Post an event and return the answer's status."""
    return server.post({"event_name": name, "event_params": params}).status_code


def rows_of(url: str, sql: str = "SELECT event_name FROM events ORDER BY id") -> list[Any]:
    """Return what a query finds."""
    return asyncio.run(fetch(url, sql))


def names(url: str) -> list[str]:
    """Return the names of all stored events, oldest first."""
    return [row["event_name"] for row in rows_of(url)]


def test_events_go_to_the_spool_while_postgres_is_down_and_to_postgres_afterwards(
    own_cluster: Cluster, start_server: StartServer
) -> None:
    """202 at once, the same body as a 200, and in the end the very row that was answered."""
    url = own_cluster.url(OWN_DATABASE)
    server = start_server(url)
    assert post(server, "before") == 200
    kill(own_cluster)
    first = server.post({"event_name": "during", "event_params": {"n": 1}})
    rest = [server.post({"event_name": "during", "event_params": {"n": 2}}) for _ in range(20)]
    ready = server.get("/readyz")
    own_cluster.start()
    wait_until_drained(server)
    wait_for(lambda: post(server, "after") == 200)
    assert {answer.status_code for answer in (first, *rest)} == {202}
    assert first.elapsed.total_seconds() < 1
    assert (ready.status_code, ready.json()["postgres"]) == (200, "away")
    stored = {
        str(row["id"]): (row["event_name"], json.loads(row["event_params"]))
        for row in rows_of(url, "SELECT id, event_name, event_params::text FROM events")
    }
    for answer in (first, *rest):
        (row,) = answer.json()["data"]
        assert stored[row["id"]] == (row["event_name"], row["event_params"])
    assert names(url).count("during") == 21
    assert books_balance(server.metrics()) == 0


def test_hung_postgres_costs_one_time_out_then_answers_come_at_once(
    own_cluster: Cluster, start_server: StartServer
) -> None:
    """The first 202 comes with the commit time-out, and its event is stored once, not twice."""
    url = own_cluster.url(OWN_DATABASE)
    server = start_server(url, writer__commit_timeout_s=1)
    pause(own_cluster)
    first = server.post({"event_name": "first"})
    rest = [server.post({"event_name": "rest"}) for _ in range(20)]
    resume(own_cluster)
    wait_until_drained(server)
    assert {answer.status_code for answer in (first, *rest)} == {202}
    assert first.elapsed.total_seconds() < 1.5
    assert sorted(answer.elapsed for answer in rest)[10].total_seconds() < 0.1
    assert sorted(names(url)) == ["first", *["rest"] * 20]


def test_server_starts_and_spools_while_postgres_is_down(
    own_cluster: Cluster, start_server: StartServer, tmp_path: Path
) -> None:
    """With the keys known last; a client without one is still turned away."""
    url = own_cluster.url(OWN_DATABASE)
    spool = tmp_path / "spool"
    before = start_server(url, spool__path=spool)
    assert post(before, "before") == 200
    own_cluster.stop()
    assert post(before, "spooled") == 202
    assert before.stop() == 0
    again = start_server(url, key=before.key, spool__path=spool)
    assert post(again, "restarted") == 202
    again.key = "nk_nobody"
    assert post(again) == 401
    again.key = before.key
    own_cluster.start()
    wait_until_drained(again)
    wait_for(lambda: post(again, "after") == 200)
    assert names(url)[:3] == ["before", "spooled", "restarted"]
    assert again.metrics()["nonito_events_recovered_total"] == 1


def test_sigterm_during_an_outage_leaves_the_events_to_the_next_start(
    own_cluster: Cluster, start_server: StartServer, tmp_path: Path
) -> None:
    """Also kill -9: what was answered is on the disk."""
    url = own_cluster.url(OWN_DATABASE)
    server = start_server(url, spool__path=tmp_path)
    own_cluster.stop()
    assert [post(server, "one"), post(server, "two")] == [202, 202]
    server.kill()
    server.process.wait(10)
    own_cluster.start()
    wait_until_drained(start_server(url, spool__path=tmp_path))
    assert names(url) == ["one", "two"]


@pytest.mark.parametrize(
    ("harm", "mend"),
    [
        ("ALTER TABLE events RENAME TO moved", "ALTER TABLE moved RENAME TO events"),
        ("REVOKE INSERT ON events FROM postgres", "GRANT INSERT ON events TO postgres"),
    ],
    ids=["table missing", "permission denied"],
)
def test_operator_s_error_is_spooled_and_heals_without_a_restart(
    own_url: str, start_server: StartServer, harm: str, mend: str
) -> None:
    """Visible in readyz and in the metrics, and in the log once."""
    role = rows_of(own_url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    if "REVOKE" in harm and role[0]["rolsuper"]:
        pytest.skip("a superuser can't be denied anything")
    server = start_server(own_url)
    rows_of(own_url, harm)
    assert [post(server, "spooled") for _ in range(10)] == [202] * 10
    wait_for(lambda: server.get("/readyz").json()["postgres"] == "failing")
    assert re.search(r"42.*events", server.get("/readyz").json()["reason"])
    assert server.metrics()["nonito_postgres_up"] == 0
    rows_of(own_url, mend)
    wait_until_drained(server)
    assert names(own_url) == ["spooled"] * 10
    assert server.logs().count("Postgres takes no events") == 1
    assert "Postgres is away" not in server.logs()


def test_rows_that_the_operator_s_check_refuses_become_dead_letters_and_block_nothing(
    own_url: str, start_server: StartServer
) -> None:
    """A CHECK is not on the closed list: its events are acknowledged, then kept for a person."""
    server = start_server(own_url)
    rows_of(own_url, "ALTER TABLE events ADD CHECK (event_name <> 'bad')")
    statuses = [post(server, "bad" if number % 5 == 0 else "good") for number in range(20)]
    wait_until_drained(server)
    kept = rows_of(own_url, "SELECT event_name, sqlstate FROM rejected_events")
    assert set(statuses) <= {200, 202}
    assert [tuple(row) for row in kept] == [("bad", "23514")] * 4
    assert names(own_url) == ["good"] * 16
    metrics = server.metrics()
    assert metrics["nonito_events_dead_lettered_total"] == 4
    assert books_balance(metrics) == 0


def test_full_spool_is_a_503_that_says_when_to_come_back(
    own_cluster: Cluster, start_server: StartServer
) -> None:
    """Nothing of it is stored; readyz says so too, and it goes on once Postgres is back."""
    url = own_cluster.url(OWN_DATABASE)
    server = start_server(url, spool__bytes_max=2_000_000)
    own_cluster.stop()
    statuses = [post(server, "x", filler="y" * 20_000) for _ in range(150)]
    last = server.post({"event_name": "x", "event_params": {"filler": "y" * 20_000}})
    ready = server.get("/readyz")
    own_cluster.start()
    wait_until_drained(server)
    wait_for(lambda: post(server, "after") == 200)
    assert set(statuses) == {202, 503}
    assert (last.status_code, last.json()["error"]["code"]) == (503, "overloaded")
    assert int(last.headers["Retry-After"]) >= 1
    assert ready.status_code == 503
    assert names(url).count("x") == statuses.count(202)


def test_without_a_spool_an_outage_is_a_500(
    own_cluster: Cluster, start_server: StartServer
) -> None:
    """Which says that the event was not stored."""
    server = start_server(own_cluster.url(OWN_DATABASE), spool__enabled="false")
    own_cluster.stop()
    wait_for(lambda: server.get("/readyz").status_code == 503)
    answer = server.post({"event_name": "lost"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "database_error")
    assert "was not stored" in answer.json()["error"]["message"]


def test_queue_that_is_nearly_full_overflows_into_the_spool(
    own_url: str, start_server: StartServer
) -> None:
    """Postgres is there, but slow: the oldest events get a 202 instead of new ones a 503."""
    server = start_server(own_url, queue__events_max=60, writer__batch_events_max=5)
    sent = [f"{number:02}" for number in range(60)]
    with ThreadPoolExecutor(len(sent)) as pool:
        with locked_events(own_url):
            answers = [pool.submit(post, server, name) for name in sent]
            early, _ = wait(answers, timeout=2)
            spooled = [answer for answer in early if answer.result() == 202]
        statuses = {answer.result() for answer in answers}
    wait_until_drained(server)
    assert spooled
    assert statuses == {200, 202}
    assert sorted(names(own_url)) == sent
