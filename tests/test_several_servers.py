"""Several servers on one Postgres: what one has acknowledged, and what another makes of it."""

import asyncio
from pathlib import Path

import pytest

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer
from tests.support.postgres import fetch
from tests.support.server import wait_for, wait_until_drained

pytestmark = pytest.mark.slow

STORED = "SELECT id::text, event_name, event_params->>'at' AS at FROM events ORDER BY event_name"


def test_spool_of_a_server_that_is_gone_is_stored_once_by_another_started_with_it(
    own_cluster: Cluster, start_server: StartServer, tmp_path: Path
) -> None:
    """Also where a retry has been stored by a third one meanwhile: that row stays."""
    url, spool = own_cluster.url(OWN_DATABASE), tmp_path / "spool"
    gone, other = start_server(url, spool__path=spool), start_server(url)
    own_cluster.stop()
    order = {"event_name": "order", "event_params": {"at": "gone"}}
    headers = {"Idempotency-Key": "order-1001"}
    assert gone.post(order, **headers).status_code == 202
    assert gone.post({"event_name": "visit", "event_params": {"at": "gone"}}).status_code == 202
    gone.kill()
    own_cluster.start()
    again = {**order, "event_params": {"at": "other"}}
    wait_for(lambda: other.post(again, **headers).status_code == 200)
    heir = start_server(url, key=gone.key, spool__path=spool)
    wait_until_drained(heir)
    stored = [tuple(row)[1:] for row in asyncio.run(fetch(url, STORED))]
    assert stored == [("order", "other"), ("visit", "gone")]
    told = heir.post(order, **headers)
    assert told.json()["data"][0]["event_params"] == {"at": "other"}
    assert told.headers["Nonito-Duplicate"] == "different"


def test_key_that_two_servers_are_sent_at_once_is_one_row_and_both_tell_it(
    database_url: str, start_server: StartServer
) -> None:
    """Time and again: whichever is first."""
    servers = [start_server(database_url) for _ in range(2)]

    async def post_at_both(number: int) -> set[str]:
        event = {"event_name": "order", "event_params": {"n": number}}
        posts = (
            asyncio.to_thread(each.post, event, **{"Idempotency-Key": f"order-{number}"})
            for each in servers
        )
        answers = await asyncio.gather(*posts)
        assert [each.status_code for each in answers] == [200, 200]
        return {each.json()["data"][0]["id"] for each in answers}

    told = [asyncio.run(post_at_both(number)) for number in range(50)]
    stored = {row["id"] for row in asyncio.run(fetch(database_url, STORED))}
    assert all(len(ids) == 1 for ids in told)
    assert stored == set.union(*told)
    assert len(stored) == 50
