"""A node that dies or hangs: the events of its apps wait, and those of all others go on."""

import asyncio
import signal
from collections.abc import Callable

import pytest
import requests

from bench.citus import Node
from ingest.store.nodes import Nodes
from tests.citus.conftest import App
from tests.conftest import StartServer, new_migrated
from tests.support.citus import Citus
from tests.support.postgres import fetch, make_postgres
from tests.support.server import Server, books_balance, wait_for, wait_until_drained

pytestmark = pytest.mark.timeout(180)
COMMIT_TIMEOUT_S = 2
Break = Callable[[Node], None]


def post(server: Server, app: App, name: str) -> int:
    """Post an event of an app; return the answer's status."""
    headers = {"X-API-Key": app.key}
    body = {"event_name": name}
    return requests.post(f"{server.url}/event", json=body, headers=headers, timeout=30).status_code


def kill(node: Node) -> None:
    """Have it dead: nobody answers at its port."""
    node.kill()


def hang(node: Node) -> None:
    """Have it hang: its port takes connections, and nothing comes back."""
    node.send(signal.SIGSTOP)


def count(url: str, name: str) -> int:
    """Return how many events of a name are stored; on all nodes, so all have to be there."""
    ((found,),) = asyncio.run(fetch(url, "SELECT count(*) FROM events WHERE event_name = $1", name))
    return int(found)


@pytest.mark.parametrize("harm", [kill, hang])
def test_events_of_a_dead_node_s_apps_wait_and_those_of_all_others_go_on(
    nodes: Citus,
    citus_url: str,
    apps: dict[Node, list[App]],
    start_server: StartServer,
    harm: Break,
) -> None:
    """202 and 200; each is stored once when it is back, and the books balance."""
    dead, alive = nodes.workers[0], nodes.workers[1]
    name = f"during {harm.__name__}"
    server = start_server(
        citus_url, key=apps[alive][0].key, writer__commit_timeout_s=COMMIT_TIMEOUT_S
    )
    assert post(server, apps[dead][0], "before") == 200
    harm(dead)
    first = post(server, apps[dead][0], name)
    wait_for(lambda: post(server, apps[alive][0], "probe") == 200, 20)
    theirs = [post(server, app, name) for app in apps[dead] * 3]
    others = [post(server, app, name) for app in apps[alive] * 3]
    away = server.metrics()["nonito_postgres_nodes_away"]
    nodes.start()
    wait_until_drained(server, 60)
    wait_for(lambda: post(server, apps[dead][0], "after") == 200, 20)
    assert first == 202
    assert set(theirs) == {202}
    assert set(others) == {200}
    assert away == 1
    wait_for(lambda: server.metrics()["nonito_postgres_nodes_away"] == 0, 20)
    assert count(citus_url, name) == 1 + len(theirs) + len(others)
    assert books_balance(server.metrics()) == 0


def test_batch_of_all_apps_stores_those_of_living_nodes_at_once(
    nodes: Citus, citus_url: str, apps: dict[Node, list[App]], start_server: StartServer
) -> None:
    """The replay passes by what waits for a dead node, and brings everything else."""
    dead, alive = nodes.workers[0], nodes.workers[1]
    server = start_server(
        citus_url, key=apps[alive][0].key, writer__commit_timeout_s=COMMIT_TIMEOUT_S
    )
    nodes.coordinator.kill()
    spooled = [post(server, app, "outage") for app in apps[dead][:3] + apps[alive][:3]]
    dead.kill()
    nodes.coordinator.start()
    of_alive = "SELECT count(*) FROM events WHERE event_name = 'outage' AND app_id = $1"
    app_id = apps[alive][0].id
    wait_for(lambda: asyncio.run(fetch(citus_url, of_alive, app_id))[0][0] == 1, 60)
    waiting = server.metrics()["nonito_spool_events"]
    nodes.start()
    wait_until_drained(server, 60)
    assert set(spooled) == {202}
    assert waiting >= 3
    assert count(citus_url, "outage") == 6


def test_dead_coordinator_is_an_outage_like_any_other(
    nodes: Citus, citus_url: str, apps: dict[Node, list[App]], start_server: StartServer
) -> None:
    """202 for everybody, and everything is stored once behind it."""
    some = [app for held in apps.values() for app in held[:2]]
    server = start_server(citus_url, key=some[0].key)
    nodes.coordinator.kill()
    statuses = {post(server, app, "headless") for app in some}
    nodes.start()
    wait_until_drained(server, 60)
    assert statuses == {202}
    assert count(citus_url, "headless") == len(some)


def test_node_that_dies_is_told_of_though_nobody_writes(
    nodes: Citus,
    citus_url: str,
    apps: dict[Node, list[App]],
    start_server: StartServer,
) -> None:
    """An operator has to hear of it before an event meets it."""
    server = start_server(citus_url, key=apps[nodes.workers[1]][0].key)
    nodes.workers[0].kill()
    wait_for(lambda: server.metrics()["nonito_postgres_nodes_away"] == 1, 60)
    nodes.start()
    wait_for(lambda: server.metrics()["nonito_postgres_nodes_away"] == 0, 60)


def test_node_that_holds_no_events_is_missed_by_nobody(nodes: Citus) -> None:
    """It is new, or about to go."""
    spare = nodes.workers[0]
    drain = "SELECT citus_drain_node('127.0.0.1', $1, 'block_writes')"
    with new_migrated(nodes) as url:
        asyncio.run(fetch(url, drain, spare.port))
        spare.kill()
        try:
            assert asyncio.run(look(url)) == (0, frozenset())
        finally:
            nodes.start()


async def look(url: str) -> tuple[int, frozenset[int]]:
    """Return how many nodes are away, and of which apps."""
    postgres = make_postgres(url)
    async with postgres.session():
        pass  # it knows by now that it is Citus
    some = Nodes(postgres)
    await some.look()
    return some.away, some.apps_away
