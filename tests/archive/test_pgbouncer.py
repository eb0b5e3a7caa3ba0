"""Archiving and asking through a PgBouncer in transaction mode, where no session keeps anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.archive import passes
from ingest.archive.failures import Occupied
from ingest.store.cluster import Cluster
from tests.archive.archiving import archive, assert_exact, store, tail_rows, workspace_of
from tests.support.pgbouncer import PROGRAM, PgBouncer, running_pgbouncer

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")


@pytest.fixture(scope="module")
def bouncer(cluster: Cluster) -> Iterator[PgBouncer]:
    """A PgBouncer with Debian's settings, but for a small pool."""
    with running_pgbouncer(cluster, default_pool_size=3) as running:
        yield running


def test_lock_and_snapshot_hold_through_a_pooler(url: str, path: Path, bouncer: PgBouncer) -> None:
    """Both are a transaction's, and so are the time-outs."""
    pooled = bouncer.through(url)
    store(url, [{"n": n} for n in range(5)])
    archive(pooled, path)
    store(url, [{"n": 5}])
    assert tail_rows(pooled, path) == 1
    first, second = workspace_of(pooled, path), workspace_of(pooled, path)
    with first.transaction(30, commits=False):
        passes.lock(first)
        with pytest.raises(Occupied), second.transaction(30, commits=False):
            passes.lock(second)
    first.close()
    second.close()
    archive(pooled, path)
    assert_exact(pooled, path)
