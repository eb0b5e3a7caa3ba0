"""What `nonito check` advises beyond what it finds right or wrong."""

from ingest.store import checks
from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE
from tests.support.postgres import make_postgres


async def advice(url: str) -> list[str]:
    """Return what is said of WAL files."""
    async with make_postgres(url).session() as connection:
        findings = await checks.examine(connection)
    assert all(each.is_good for each in findings if "min_wal_size" in each.text)
    return [each.text for each in findings if "min_wal_size" in each.text]


async def test_postgres_that_keeps_few_wal_files_is_advised_to_keep_more(
    own_cluster: Cluster,
) -> None:
    """Until it does; and it is no fault."""
    url = own_cluster.url(OWN_DATABASE)
    (text,) = await advice(url)
    assert "ALTER SYSTEM SET min_wal_size = '512MB'" in text
    own_cluster.execute("ALTER SYSTEM SET min_wal_size = '512MB'")
    own_cluster.execute("SELECT pg_reload_conf()")
    own_cluster.execute("SELECT pg_sleep(1)")
    assert await advice(url) == []
