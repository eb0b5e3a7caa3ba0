"""Live while Postgres is away, and when the server stops."""

import signal
from pathlib import Path

from ingest.store.cluster import Cluster
from ingest.store.sign_in_links import Link
from tests.api.asked import asked_server
from tests.conftest import OWN_DATABASE
from tests.dashboard.streams import watching
from tests.dashboard.visitor import Visitor
from tests.support.server import wait_until_drained


def test_stream_goes_on_by_itself_after_an_outage_and_ends_with_the_server(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    """It says so meanwhile; events that were spooled are told when they have come to Postgres."""
    url = own_cluster.url(OWN_DATABASE)
    with asked_server(url, tmp_path) as asked:
        visitor = Visitor(asked.url).join(url, Link(), "ada@example.com")
        with watching(visitor, "/apps/1/live") as stream:
            own_cluster.stop("immediate")
            assert "can't be reached" in stream.until("trouble")["text"]
            answer = asked.server.post({"event_name": "spooled"})
            assert answer.status_code == 202
            own_cluster.start()
            stream.until("fine")
            wait_until_drained(asked.server)
            assert stream.event("spooled")["id"] == answer.json()["data"][0]["id"]
            asked.server.process.send_signal(signal.SIGTERM)
            assert all(kind == "news" for kind, _ in stream.messages())
        assert asked.server.process.wait(30) == 0
