"""A table with 500 partitions: merges plan for and lock only the few that they need.

By default all sessions together have about 7,000 locks, and a partition takes two at least: if
each merge took all of them, a handful would end with "out of shared memory", for everybody.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from ingest.delivery.commit import Commit
from ingest.delivery.committer import Committer
from ingest.delivery.events_table import EVENTS
from ingest.events import copy_format
from ingest.store.cluster import Cluster
from ingest.store.copier import Copier, query
from ingest.store.link import CopyLink
from ingest.store.merge import Merge, Scattered
from ingest.store.partition_map import HOMES_MAX
from ingest.store.partitions import Partitions
from ingest.store.periods import first_id
from ingest.store.postgres import Postgres
from tests.conftest import prepare
from tests.store.events import empty
from tests.store.merging import Sent, clear, make, run, stored
from tests.store.strays import day, make_days
from tests.support.postgres import fetch, make_postgres, new_database

DAYS = 500
"""1,826 pass as well, and take a minute to make."""
FIRST = day("2021-01-01")
LOCKS = query("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()")
LOCKS_MAX = HOMES_MAX * 4 + 40
"""A partition and its index, or also those of its TOAST table; and what is always there."""
NOTE_LOCKS = """
    DO $do$ BEGIN
        CREATE TABLE IF NOT EXISTS noted (locks int);
        TRUNCATE noted;
        CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO noted SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid();
            RETURN NULL;
        END $$;
        CREATE OR REPLACE TRIGGER note AFTER INSERT ON events
            FOR EACH STATEMENT EXECUTE FUNCTION note();
    END $do$
"""


@pytest.fixture(scope="module")
def large_url(cluster: Cluster) -> Iterator[str]:
    """A database with a partition of each day, which the module's tests share."""
    with new_database(cluster) as url:
        asyncio.run(prepare(make_postgres(url)))
        asyncio.run(make_days(url, "2021-01-01", DAYS))
        yield url


@pytest.fixture
def database_url(large_url: str) -> str:
    """The same without any rows."""

    async def clean() -> None:
        # Not one DELETE, which would lock all partitions.
        for row in await fetch(large_url, "SELECT DISTINCT tableoid::regclass AS home FROM events"):
            await fetch(large_url, f"DELETE FROM {row['home']}")
        await empty(large_url)
        await clear(large_url)

    asyncio.run(clean())
    return large_url


@pytest.fixture
async def partitions(postgres: Postgres) -> Partitions:
    """What a server knows."""
    made = Partitions(postgres, "day", 1)
    await made.ensure()
    return made


@pytest.fixture
async def link(postgres: Postgres, partitions: Partitions) -> AsyncIterator[CopyLink]:
    """Its connection."""
    made = CopyLink(postgres, EVENTS, partitions.map)
    yield made
    await made.close()


@pytest.fixture
async def copier(postgres: Postgres) -> AsyncIterator[Copier]:
    """A bare connection."""
    connection = await postgres.connect()
    lent = connection.lend()
    yield lent
    lent.give_back()
    await connection.close()


def of_days(*days: int, key: bool = False) -> list[Sent]:
    """Return an event of each day, counted from the first one."""
    moments = [FIRST + timedelta(days=number, seconds=at) for at, number in enumerate(days)]
    ids = [UUID(int=first_id(moment).int | uuid4().int >> 64) for moment in moments]
    return [make(event_id=event_id, key=uuid4() if key else None) for event_id in ids]


@pytest.mark.parametrize("days", [(70,), range(70, 90), (-5, 0, 9, DAYS - 1, DAYS + 20)])
async def test_retries_are_found_and_no_other_partition_is_locked(
    postgres: Postgres,
    partitions: Partitions,
    link: CopyLink,
    copier: Copier,
    days: tuple[int, ...],
) -> None:
    """Neighbours, far apart, and strays before, between and behind all partitions."""
    sent = of_days(*days)
    assert await run(link, *sent) == {}
    assert (await run(link, *sent)).keys() == {each.key for each in sent}
    merge = Merge(postgres.begin, EVENTS, partitions.map)
    document = copy_format.document([each.row for each in sent])
    assert await merge.run(copier, document, has_keys=False) == 0
    ranges = await merge.look(copier)
    assert await merge.count_missing(copier, ranges) == 0
    assert len(await merge.ask(copier, ranges)) == len(sent)
    ((locks,),) = await copier.fetch(LOCKS)
    await copier.execute(query("ROLLBACK"))
    assert int(locks or b"") <= 4 * len(sent) + 40


@pytest.mark.parametrize("way", ["new", "retried", "keyed"])
async def test_rows_of_all_partitions_are_stored_with_few_locks_at_once(
    database_url: str, partitions: Partitions, link: CopyLink, way: str
) -> None:
    """By COPY, by merge, and by key; in any order of theirs, and each told by its own key."""
    await fetch(database_url, NOTE_LOCKS)
    days = [number * 997 % DAYS for number in range(0, DAYS, 3)]
    sent = of_days(*days, key=way == "keyed")
    rows = [each.row for each in sent]
    committer = Committer(link, partitions=partitions, merges=16, wants_earlier=True)
    for tries in range(1 if way == "new" else 2):
        commit = Commit(rows)
        await committer.run(commit)
        assert commit.is_clean
        assert {each.key for each in commit.earlier} == {each.key for each in sent if tries}
    assert (await stored(database_url)).keys() == {each.id for each in sent}
    noted = [row["locks"] for row in await fetch(database_url, "SELECT locks FROM noted")]
    assert len(noted) >= len(rows) // HOMES_MAX
    assert max(noted) <= LOCKS_MAX


async def test_keys_of_events_of_too_many_days_are_found_in_parts(
    database_url: str, partitions: Partitions, link: CopyLink
) -> None:
    """The retries are of today, so only their keys tell: nothing is stored, then all is found."""
    first = of_days(*range(HOMES_MAX * 3), key=True)
    committer = Committer(link, partitions=partitions, merges=16, wants_earlier=True)
    await committer.run(Commit([each.row for each in first]))
    again = [make(key=UUID(bytes=each.key[-16:])) for each in first]
    fresh = make()
    with pytest.raises(Scattered):
        await run(link, fresh, *again)
    assert (await stored(database_url)).keys() == {each.id for each in first}
    commit = Commit([each.row for each in (fresh, *again)])
    await committer.run(commit)
    assert commit.is_clean
    assert {each.key for each in commit.earlier} == {each.key for each in first}
    assert (await stored(database_url)).keys() == {each.id for each in (*first, fresh)}
