"""The Citus that CITUS_URL leads to (`bench/citus.py`), as a place for databases of the tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from bench.citus import VARIABLE, Node, Nodes
from ingest.store.cluster import Cluster

WITHOUT: Final = f"needs {VARIABLE}: a coordinator of Citus with workers, see bench/citus.py"


class Citus(Cluster):
    """A coordinator with workers; of what a Cluster does, what tests without a machine need."""

    def __init__(self, url: str) -> None:
        self.nodes = Nodes(url)

    @property
    def coordinator(self) -> Node:
        """Where clients connect."""
        return self.nodes.coordinator

    @property
    def workers(self) -> list[Node]:
        """Where events are."""
        return self.nodes.workers

    def url(self, database: str) -> str:
        """Return where to connect."""
        return self.coordinator.url(database)

    def execute(self, sql: str) -> str:
        """Run SQL on the coordinator and return the values of its rows, a line each."""
        return "\n".join("|".join(map(str, row)) for row in self.coordinator.fetch(sql))

    def start(self, *settings: str) -> None:  # noqa: ARG002 - they are in its files
        """Start every node that does not run."""
        self.nodes.start()


@contextmanager
def running_citus() -> Iterator[Citus]:
    """Yield the Citus that there is, whole again afterwards; skip the test where there is none."""
    url = os.environ.get(VARIABLE)
    if not url:
        pytest.skip(WITHOUT)
    citus = Citus(url)
    try:
        yield citus
    finally:
        citus.start()
