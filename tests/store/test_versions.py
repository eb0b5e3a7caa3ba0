"""The store works on every PostgreSQL that is at hand, not only on the embedded one."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from ingest.delivery.events_table import EVENTS
from ingest.store import api_keys, checks
from ingest.store.cluster import Cluster
from ingest.store.embedded import find_programs
from ingest.store.partition_map import existing_ranges
from tests.conftest import prepare
from tests.store import retained
from tests.store.events import assert_works, copy, make_event, make_link, stored_ids
from tests.support.postgres import fetch, make_postgres, new_database, running_cluster

WHEEL = find_programs().parents[1]
DEBIAN = Path("/usr/lib/postgresql")


def find_all() -> dict[str, Path]:
    """Return the programs by a name for them: those of the wheel, and Debian's, if any."""
    found = {"wheel-16": WHEEL / "pginstall" / "bin", "wheel-18": find_programs()}
    for programs in sorted(DEBIAN.glob("*/bin")):
        if (programs / "initdb").exists() and (programs / "psql").exists():
            found[f"debian-{programs.parent.name}"] = programs
    return found


PROGRAMS = find_all()


@pytest.fixture(scope="module", params=PROGRAMS)
def version(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A Postgres of one version."""
    programs = PROGRAMS[request.param]
    with ExitStack() as stack:
        if programs == find_programs():  # all other tests run on it
            running = request.getfixturevalue("cluster")
        else:
            running = stack.enter_context(running_cluster(programs))
        expected = request.param.rsplit("-", 1)[1]
        assert running.execute("SHOW server_version").split(".")[0] == expected
        yield running


@pytest.fixture
def url(version: Cluster) -> Iterator[str]:
    """A prepared database in it."""
    with new_database(version, template="template0") as made:
        asyncio.run(prepare(make_postgres(made)))
        yield made


async def test_events_are_stored_in_their_partition_and_read_back(url: str) -> None:
    """Migrations, partitions, a binary COPY, and a refused row that is named."""
    link = make_link(make_postgres(url))
    events = [make_event(params=b'{"n":12345678901234567890.5}') for _ in range(100)]
    await copy(link, *events)
    assert await stored_ids(url) == {event.id for event in events}
    found = await fetch(
        url, "SELECT DISTINCT event_params::text AS p, tableoid::regclass::text AS home FROM events"
    )
    assert [row["p"] for row in found] == ['{"n": 12345678901234567890.5}']
    assert found[0]["home"] != "events_default"
    await assert_works(link, url)
    await link.close()


async def test_preparing_again_changes_nothing(url: str) -> None:
    """As at every start."""
    async with make_postgres(url).session() as connection:
        before = await existing_ranges(connection)
        await prepare(make_postgres(url))
        assert await existing_ranges(connection) == before
    assert len(before) == 4


async def test_keys_are_made_revoked_and_checked(url: str) -> None:
    """What `nonito keys` and `nonito check` do."""
    async with make_postgres(url).session() as connection:
        secret = await api_keys.create_first(connection, "default")
        assert secret is not None
        findings = await checks.examine(connection, EVENTS, 12)
        assert [finding.text for finding in findings if not finding.is_good] == []
        assert len(findings) >= 8
        await api_keys.revoke(connection, secret)
        bad = [
            finding.text
            for finding in await checks.examine(connection, EVENTS, 12)
            if not finding.is_good
        ]
        assert bad == ["no API key: nonito keys create --app NAME"]


async def test_old_events_go_with_their_partition_and_by_themselves(url: str) -> None:
    """What a DROP of a partition locks beside it, and what a default partition forbids."""
    name = await retained.make_partition(url, 100)
    await retained.store(url, [100, 50, 1])
    assert (await retained.one_round(url, 30)).partitions == 1
    assert await retained.ages(url) == [1]
    assert name not in {each["name"] for each in await fetch(url, _PARTITIONS)}
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        await fetch(url, f"ALTER TABLE events DETACH PARTITION {await _any(url)} CONCURRENTLY")


_PARTITIONS = (
    "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
    " WHERE inhparent = 'events'::regclass AND inhrelid <> 'events_default'::regclass"
)


async def _any(url: str) -> str:
    """Return a partition."""
    return str((await fetch(url, _PARTITIONS))[0]["name"])
