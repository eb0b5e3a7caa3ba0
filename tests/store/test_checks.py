"""What `nonito check` advises, and what it finds right or wrong that no other test asks for."""

import asyncio

from ingest.delivery.events_table import EVENTS
from ingest.store import checks
from ingest.store.cluster import Cluster
from ingest.store.finding import Finding
from tests.conftest import OWN_DATABASE
from tests.support.postgres import fetch, make_postgres


async def examine(url: str, about: str = "min_wal_size") -> list[Finding]:
    """Return what is said of something."""
    async with make_postgres(url).session() as connection:
        findings = await checks.examine(connection, EVENTS, 12)
    return [each for each in findings if about in each.text]


def test_postgres_that_keeps_few_wal_files_is_advised_to_keep_more(own_cluster: Cluster) -> None:
    """Until it does; and it is no fault."""
    url = own_cluster.url(OWN_DATABASE)
    (advice,) = asyncio.run(examine(url))
    assert advice.is_good
    assert "ALTER SYSTEM SET min_wal_size = '512MB'" in advice.text
    own_cluster.stop()
    own_cluster.start("min_wal_size=512MB")
    assert asyncio.run(examine(url)) == []


async def test_events_that_would_not_tell_their_transaction_are_wrong(own_url: str) -> None:
    """Somebody took the default away, and no archive would ever find what came since."""
    assert [each.is_good for each in await examine(own_url, "transaction")] == [True]
    await fetch(own_url, "ALTER TABLE events ALTER COLUMN xact DROP DEFAULT")
    (told,) = await examine(own_url, "transaction")
    assert not told.is_good
    mend = told.text.partition(": ")[2]
    assert mend.startswith("ALTER TABLE events")
    await fetch(own_url, mend)
    assert [each.is_good for each in await examine(own_url, "transaction")] == [True]


async def test_missing_index_by_transaction_is_no_fault(own_url: str) -> None:
    """A server makes it; until then reading is slower, which is said."""
    await fetch(own_url, "DROP INDEX events_xact_idx")
    (told,) = await examine(own_url, "index by transaction")
    assert told.is_good
    assert "5 partitions have no index" in told.text
    assert "`nonito serve` makes it" in told.text
