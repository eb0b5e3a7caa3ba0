"""Limits of real servers: of all their workers together, whoever dies, is replaced or away."""

import signal
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer, make_key
from tests.http.cases import KEY, post
from tests.http.checks import query
from tests.support.limited import limit_app, limit_key
from tests.support.postgres import kill
from tests.support.raw import connected
from tests.support.server import Server, wait_for
from tests.test_workers import has_replaced, pids

pytestmark = pytest.mark.slow

WORKERS = 2
A_DAY = 5_000
LEASES = WORKERS * A_DAY // (1000 * WORKERS)
"""So much the workers may have taken ahead of what they let in."""
PIECE = 50
"""So many are sent in one piece."""


def make_limited(url: str, app: str = "limited", a_day: int = A_DAY) -> str:
    """Return a key of an app that may send so much a day."""
    key = make_key(url, app)
    limit_app(url, app, events_per_day=a_day)
    return key


def send(server: Server, key: str, events: int, connections: int) -> Counter[int]:
    """Send events over connections in turn, pipelined; return how they were answered."""
    request, answers = post().replace(KEY, key.encode()), Counter[int]()
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server.port)) for _ in range(connections)]
        for number in range(events // PIECE):
            client = clients[number % connections]
            client.send(request * PIECE)
            answers.update(client.read().status for _ in range(PIECE))
    return answers


@pytest.mark.parametrize("connections", [1, 16])
def test_workers_share_a_limit_however_connections_are_spread(
    database_url: str, start_server: StartServer, connections: int
) -> None:
    """All on one worker, or on all of them: as much is let in, and the rest told so."""
    key = make_limited(database_url)
    server = start_server(database_url, key=key, server__workers=WORKERS)
    answers = send(server, key, A_DAY + 1_000, connections)
    assert A_DAY - LEASES <= answers[200] <= A_DAY
    assert answers.keys() == {200, 429}
    assert send(server, key, 200, 8)[200] <= LEASES
    (row,) = query(database_url, "SELECT count(*) FROM events")
    assert A_DAY - LEASES <= row["count"] <= A_DAY


def kill_one(server: Server) -> None:
    """Have a worker killed, and wait for its successor."""
    pid = pids(server)[0]
    server.workers()[0].kill()
    wait_for(lambda: has_replaced(server, pid, WORKERS))


def replace_all(server: Server) -> None:
    """Have all workers replaced, one after the other."""
    before = set(pids(server))
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: before.isdisjoint(pids(server)) and len(pids(server)) == WORKERS, 40)


@pytest.mark.parametrize("harm", [kill_one, replace_all])
def test_successors_go_on_with_what_was_let_in(
    database_url: str, start_server: StartServer, harm: Callable[[Server], None]
) -> None:
    """Of a worker that was killed, and of those that are replaced as the configuration is read."""
    key = make_limited(database_url)
    server = start_server(database_url, key=key, server__workers=WORKERS)
    assert send(server, key, 3_000, 8) == {200: 3_000}
    harm(server)
    more = send(server, key, 3_000, 8)[200]
    # What the ones before had taken ahead is lost with them.
    assert A_DAY - 2 * LEASES <= 3_000 + more <= A_DAY


def is_settled(url: str, events: int) -> bool:
    """Whether Postgres has that so many were let in."""
    rows = query(url, "SELECT events FROM limit_uses")
    return bool(rows) and rows[0]["events"] >= events


def test_day_goes_on_after_a_restart_and_on_another_server(
    database_url: str, start_server: StartServer, tmp_path: Path
) -> None:
    """By what Postgres has of it."""
    key = make_limited(database_url)
    first = start_server(database_url, key=key, spool__path=tmp_path / "first")
    assert send(first, key, A_DAY - 1_000, 2) == {200: A_DAY - 1_000}
    wait_for(lambda: is_settled(database_url, A_DAY - 1_000))
    first.stop()
    again = start_server(database_url, key=key, spool__path=tmp_path / "first")
    other = start_server(database_url, key=key, spool__path=tmp_path / "other")
    # Each reads it behind its start; and what one lets in, the other knows two seconds later.
    let_in = send(again, key, 1_200, 2)[200]
    wait_for(lambda: send(other, key, PIECE, 1)[429] > 0, 20)
    wait_for(lambda: send(again, key, PIECE, 1)[429] == PIECE, 20)
    (row,) = query(database_url, "SELECT count(*) FROM events")
    assert let_in <= 1_200
    assert row["count"] >= A_DAY - 100


def test_limits_hold_after_a_start_without_postgres(
    own_cluster: Cluster, start_server: StartServer, tmp_path: Path
) -> None:
    """By the keys that were kept on disk; of an app, and of a key."""
    url = own_cluster.url(OWN_DATABASE)
    of_app, of_key = make_limited(url, a_day=3), make_key(url, "another")
    limit_key(url, of_key, events_per_second=1, events_burst=2)
    first = start_server(url, key=of_key, spool__path=tmp_path)
    assert first.post({"event_name": "a"}).status_code == 200
    first.stop()
    kill(own_cluster)
    second = start_server(url, key=of_key, spool__path=tmp_path)
    assert send(second, of_app, 2 * PIECE, 1) == {202: 3, 429: 2 * PIECE - 3}
    answers = send(second, of_key, 10 * PIECE, 1)
    assert answers[202] + answers[429] == 10 * PIECE
    assert 2 <= answers[202] < 5 * PIECE
