"""What `nonito check` advises beyond what it finds right or wrong."""

import asyncio

from ingest.delivery.events_table import EVENTS
from ingest.store import checks
from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE
from tests.support.postgres import make_postgres


async def examine(url: str) -> list[checks.Finding]:
    """Return what is said of WAL files."""
    async with make_postgres(url).session() as connection:
        findings = await checks.examine(connection, EVENTS, 12)
    return [each for each in findings if "min_wal_size" in each.text]


def test_postgres_that_keeps_few_wal_files_is_advised_to_keep_more(own_cluster: Cluster) -> None:
    """Until it does; and it is no fault."""
    url = own_cluster.url(OWN_DATABASE)
    (advice,) = asyncio.run(examine(url))
    assert advice.is_good
    assert "ALTER SYSTEM SET min_wal_size = '512MB'" in advice.text
    own_cluster.stop()
    own_cluster.start("min_wal_size=512MB")
    assert asyncio.run(examine(url)) == []
