"""Rows of apps whose node is away: passed by, and known to be pending; all others are stored."""

from collections.abc import AsyncIterator, Collection

import pytest

from ingest.delivery.commit import Commit
from ingest.delivery.committer import Committer
from ingest.delivery.events_table import EVENTS
from ingest.store.failures import RowRefused, Unavailable
from ingest.store.link import CopyLink
from ingest.store.nodes import Nodes
from ingest.store.postgres import Postgres
from tests.delivery.surroundings import CHECK, make_row
from tests.support.postgres import fetch, make_postgres

AWAY = 2


class KnownNodes(Nodes):
    """Says which apps' node is away once it is asked, as Citus's coordinator does."""

    def __init__(self, postgres: Postgres, found: Collection[int] = ()) -> None:
        super().__init__(postgres)
        self._found = frozenset(found)
        self.looks = 0

    def may_have_failed(self, failure: RowRefused | Unavailable) -> bool:
        """Whatever it is."""
        return bool(failure)

    async def look(self) -> None:
        """Count, and find out."""
        self.looks += 1
        self.apps_away = self._found


@pytest.fixture
async def committer(own_url: str) -> AsyncIterator[Committer]:
    """A committer on a database whose schema the test may change."""
    link = CopyLink(make_postgres(own_url), EVENTS)
    yield Committer(link)
    await link.close()


def rows_of(*app_ids: int, name: bytes = b"good") -> list[bytes]:
    """Return a row of each app."""
    return [make_row(name=name, app_id=app_id) for app_id in app_ids]


async def apps(url: str) -> list[int]:
    """Return whose events are stored."""
    return [row[0] for row in await fetch(url, "SELECT app_id FROM events ORDER BY app_id, id")]


async def test_rows_whose_node_is_away_are_pending_and_the_others_stored(
    own_url: str, committer: Committer
) -> None:
    """Nobody tries them, so nobody waits for what hangs."""
    committer.nodes = nodes = KnownNodes(make_postgres(own_url), [AWAY])
    nodes.apps_away = frozenset([AWAY])
    commit = Commit(rows_of(1, AWAY, 3, AWAY))
    await committer.run(commit)
    assert await apps(own_url) == [1, 3]
    assert (commit.pending, commit.unstored, commit.refused) == ({1, 3}, {1, 3}, {})
    assert not commit.is_clean
    assert nodes.looks == 0


async def test_failure_has_the_nodes_asked_and_the_rest_sent_again(
    own_url: str, committer: Committer
) -> None:
    """Only rows of apps that are away are left; what fails nonetheless is a row's own fault."""
    await fetch(own_url, CHECK)
    committer.nodes = nodes = KnownNodes(make_postgres(own_url), [AWAY])
    commit = Commit([*rows_of(1, AWAY), *rows_of(3, AWAY, name=b"wrong")])
    await committer.run(commit)
    assert await apps(own_url) == [1]
    assert commit.pending == {1, 3}
    assert commit.refused.keys() == {2}
    assert nodes.looks > 0


async def test_nodes_that_are_all_there_leave_rows_to_be_judged(
    own_url: str, committer: Committer
) -> None:
    """As they are without any."""
    await fetch(own_url, CHECK)
    committer.nodes = KnownNodes(make_postgres(own_url))
    commit = Commit([*rows_of(1, AWAY), *rows_of(3, name=b"wrong")])
    await committer.run(commit)
    assert await apps(own_url) == [1, AWAY]
    assert commit.pending == set()
    assert commit.refused.keys() == {2}
