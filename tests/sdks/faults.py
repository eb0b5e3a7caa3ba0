"""A Postgres and a server in front of it, and what happens to them while an SDK sends."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, make_key
from tests.sdks.conftest import rows_of
from tests.support.limited import limit_app
from tests.support.postgres import kill, pause, resume
from tests.support.server import Server, running_server, wait_for, wait_until_drained

NAME: Final = "many"
"""Of the events that are sent; pages send others besides."""
AWAY_S: Final = 0.5
LATE_S: Final = 2.0
"""Less than `writer.commit_timeout_s`: the answer is late, and a 200."""
_START_TIMEOUT_S: Final = 30.0


class Site:
    """A server that keeps its port and its spool, whatever happens to it, and its Postgres."""

    def __init__(self, cluster: Cluster, stack: ExitStack, settings: dict[str, object]) -> None:
        self._cluster = cluster
        self._stack = stack
        self._settings = settings
        self.url: Final = cluster.url(OWN_DATABASE)
        self.key: Final = make_key(self.url)
        self.server = self._started(port=0)

    def _started(self, port: int) -> Server:
        running = running_server(("--database-url", self.url), self.key, self._settings, port=port)
        return self._stack.enter_context(running)

    def answer_late(self) -> None:
        """Have Postgres hang for a while."""
        pause(self._cluster)
        time.sleep(LATE_S)
        resume(self._cluster)

    def lose_postgres(self) -> None:
        """Have Postgres killed, and back later."""
        kill(self._cluster)
        time.sleep(AWAY_S)
        self._cluster.start("max_connections=300")

    def lose_server(self) -> None:
        """Have the server killed, and back later."""
        self.server.kill()
        time.sleep(AWAY_S)
        self.server = self._started(self.server.port)

    def lose_both(self) -> None:
        """Have the server killed while Postgres is away, and events wait in the spool."""
        kill(self._cluster)
        wait_for(lambda: self.server.metrics()["nonito_spool_events"], _START_TIMEOUT_S)
        self.lose_server()
        self._cluster.start("max_connections=300")

    def limit(self) -> None:
        """Have its app send less than the SDK does."""
        limit_app(self.url, "test", events_per_second=30, events_burst=5)

    def stored(self) -> Counter[int]:
        """Return how often each event is in Postgres, by its number."""
        rows = rows_of(self.url, "events")
        return Counter(row["params"]["n"] for row in rows if row["event_name"] == NAME)

    def stored_in_the_end(self) -> Counter[int]:
        """Return the same once nothing waits in the spool."""
        wait_until_drained(self.server)
        return self.stored()


@contextmanager
def running_site(cluster: Cluster, **settings: object) -> Iterator[Site]:
    """Run one, with settings such as `spool__enabled`."""
    dotted = {name.replace("__", "."): value for name, value in settings.items()}
    with TemporaryDirectory() as name, ExitStack() as stack:
        yield Site(cluster, stack, {"spool.path": Path(name) / "spool", **dotted})
