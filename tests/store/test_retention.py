"""Retention in Postgres: what goes, what stays, and who is in the way."""

import asyncio
from datetime import timedelta

import pytest

from ingest.errors import StartupError
from ingest.store import (
    archive_mark,
    expired_partitions,
    horizons,
    retention,
)
from tests.store.events import copy, make_event, make_link
from tests.store.retained import (
    OF_HERE,
    ages,
    days_ago,
    id_of,
    make_partition,
    one_round,
    store,
    troubles,
)
from tests.store.strays import holding, partition_names
from tests.support.postgres import fetch, make_postgres


@pytest.fixture
def url(two_apps_url: str) -> str:
    """Where everything happens."""
    return two_apps_url


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test waits for no pause."""
    monkeypatch.setattr(retention, "_TRY_PAUSE_S", 0.01)
    monkeypatch.setattr(retention, "_REST_S", 0.0)


async def test_everything_stays_by_default(url: str) -> None:
    """0 days are for ever."""
    name = await make_partition(url, 500)
    await store(url, [500, 1])
    figures = await one_round(url, 0)
    assert (figures.partitions, figures.events, figures.next_drop_s) == (0, 0, 0)
    assert await ages(url) == [500, 1]
    assert name in await partition_names(url)


async def test_whole_partitions_go_and_the_rest_row_by_row(url: str) -> None:
    """Exactly what is older than the midnight of so many days ago, strays too."""
    gone, kept = await make_partition(url, 40), await make_partition(url, 9)
    await store(url, [40, 31, 30, 29, 9, 0])
    figures = await one_round(url, 30)
    assert figures.partitions == 1
    assert await ages(url) == [30, 29, 9, 0]
    assert await partition_names(url) == {kept}
    assert gone != kept
    assert await troubles(url) == {}


async def test_app_has_days_of_its_own(url: str) -> None:
    """Its rows go from a partition that holds others, which stays for these."""
    name = await make_partition(url, 40)
    await fetch(url, "UPDATE apps SET retain_days = 10 WHERE name = 'two'")
    for app_id in (1, 2):
        await store(url, [40, 11, 10], app_id=app_id)
    await one_round(url, 0)
    assert await ages(url, 1) == [40, 11, 10]
    assert await ages(url, 2) == [10]
    assert name in await partition_names(url)
    await fetch(url, "UPDATE apps SET retain_days = 0 WHERE name = 'two'")
    await store(url, [50], app_id=2)
    await one_round(url, 20)
    assert await ages(url, 1) == [11, 10]
    assert await ages(url, 2) == [50, 10]


async def test_events_of_an_app_that_is_in_no_table_go_with_the_others(url: str) -> None:
    """Whoever has deleted an app by hand has not its events for ever."""
    await make_partition(url, 40)
    await store(url, [50, 40], app_id=77)
    await one_round(url, 0)
    assert await ages(url, 77) == [50, 40]
    await one_round(url, 30)
    assert await ages(url, 77) == []


async def test_many_rows_go_in_chunks(url: str) -> None:
    """More than one transaction's; the same again finds nothing."""
    await store(url, [12], each=5_000)
    await store(url, [2], each=10)
    assert (await one_round(url, 10)).events == 5_000
    assert (await one_round(url, 10)).events == 0
    assert len(await ages(url)) == 10


async def test_partition_waits_while_somebody_reads_and_writers_do_not(url: str) -> None:
    """A long question is told of, nobody queues behind it, and then the partition goes."""
    name = await make_partition(url, 40)
    await store(url, [40])
    link = make_link(make_postgres(url))
    async with holding(url, "SELECT count(*) FROM events"):
        await asyncio.sleep(0.2)
        await one_round(url, 30)
        await copy(link, make_event())
        assert name in await partition_names(url)
        assert "has used the table" in (await troubles(url))[0]
    await one_round(url, 30)
    assert name not in await partition_names(url)
    assert await troubles(url) == {}
    await link.close()


async def test_no_row_of_a_partition_that_waits_is_deleted_by_itself(url: str) -> None:
    """A dump would turn one DROP into millions of deletes; rows elsewhere go meanwhile."""
    for age in (40, 41):
        await make_partition(url, age)
    await store(url, [50, 41, 40, 39, 1])
    async with holding(url, "SELECT count(*) FROM events"):
        await asyncio.sleep(0.2)
        await one_round(url, 30)
        assert await ages(url) == [41, 40, 1]
    await one_round(url, 30)
    assert await ages(url) == [1]


async def test_partition_goes_between_the_copies_of_writers(url: str) -> None:
    """Each of them is committed, while a partition after the other goes."""
    names = [await make_partition(url, age) for age in range(40, 45)]
    await store(url, list(range(40, 45)))
    links = [make_link(make_postgres(url)) for _ in range(4)]
    is_done = False

    async def write(number: int) -> int:
        count = 0
        while not is_done:
            await copy(links[number], make_event())
            count += 1
        return count

    writers = [asyncio.create_task(write(number)) for number in range(len(links))]
    await one_round(url, 30)
    is_done = True
    written = sum(await asyncio.gather(*writers))
    assert not set(names) & await partition_names(url)
    assert len(await ages(url)) == written
    for link in links:
        await link.close()


async def test_partition_that_somebody_has_built_upon_stays_and_it_is_said(url: str) -> None:
    """Nothing of theirs is dropped with it, and no row goes by itself instead."""
    name = await make_partition(url, 40)
    await store(url, [40, 1])
    await fetch(url, f"CREATE VIEW of_somebody AS SELECT * FROM {name}")
    await one_round(url, 30)
    assert "2BP01" in (await troubles(url))[0]
    assert await ages(url) == [40, 1]
    await fetch(url, "DROP VIEW of_somebody")
    await one_round(url, 30)
    assert await ages(url) == [1]


async def test_two_servers_at_once_have_everything_go_once(url: str) -> None:
    """One of them does nothing where they meet."""
    for age in (40, 41, 42):
        await make_partition(url, age)
    await store(url, [42, 41, 40, 35, 1], each=3)
    await one_round(url, 30)
    await store(url, [36], each=5_000)
    await asyncio.gather(*(one_round(url, 30) for _ in range(4)))
    await one_round(url, 30)
    assert await ages(url) == [1] * 3
    assert await troubles(url) == {}


async def test_nothing_goes_by_the_clock_of_a_machine_that_is_wrong(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres's may be that one."""
    await store(url, [40])
    monkeypatch.setattr(horizons, "_CLOCK_ERROR_MAX", timedelta(microseconds=-1))
    with pytest.raises(StartupError, match="clocks"):
        await one_round(url, 30)
    assert await ages(url) == [40]


async def test_nothing_goes_without_an_archive_that_only_it_is_to_keep(url: str) -> None:
    """However long ago somebody has archived, or nobody ever has."""
    await make_partition(url, 40)
    await store(url, [40, 31])
    for state in ("mark = 0", f"changed_at = now() - interval '8 days', {OF_HERE}"):
        await fetch(url, f"UPDATE archive_state SET {state}")
        await one_round(url, 30, 0)
        told = await troubles(url)
        assert "retain_days = -1" in told[0]
        assert "retain_days = -1" in told[1]
        assert await ages(url) == [40, 31]


async def test_large_archived_partition_goes_that_was_never_analyzed(url: str) -> None:
    """What is not archived is looked for by transaction, and not in each row."""
    name = await make_partition(url, 40)
    first = id_of(days_ago(40))
    await fetch(
        url,
        "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
        " SELECT 1, (left($1, 24) || lpad(to_hex(n), 12, '0'))::uuid, 'test', '{}', now()"
        " FROM generate_series(1, 50000) AS n",
        str(first),
    )
    await fetch(
        url,
        f"UPDATE archive_state SET {OF_HERE}, mark = txid_current() + 1000, null_done = true,"
        " changed_at = now()",
    )
    postgres = make_postgres(url)
    async with postgres.session() as connection:
        mark = await archive_mark.read(connection)
        sql = expired_partitions._LACKING.format(name=name, lacks=mark.lacks)
        async with connection.transaction():
            await connection.execute(expired_partitions._LIMITS)
            plan = await connection.fetch(f"EXPLAIN {sql.replace('$1', 'ARRAY[1]')}")
    assert any("xact" in row[0] and "Index Scan" in row[0] for row in plan), plan
    await one_round(url, 30, 0, has_archive=True)
    assert name not in await partition_names(url)


async def test_dead_letters_go_when_they_and_their_rejection_are_old(url: str) -> None:
    """Somebody may be about to mend one of yesterday, whatever its time is."""
    old, fresh = id_of(days_ago(40)), id_of(days_ago(40), 2)
    sql = (
        "INSERT INTO rejected_events (app_id, id, event_name, event_params, created_at, sqlstate,"
        " message, rejected_at) VALUES (1, $1, 'x', '{}', now(), '22P05', '', $2)"
    )
    await fetch(url, sql, old, days_ago(40))
    await fetch(url, sql, fresh, days_ago(1))
    await one_round(url, 30)
    assert [row["id"] for row in await fetch(url, "SELECT id FROM rejected_events")] == [fresh]


async def test_role_that_owns_nothing_says_who_has_to_do_it(url: str) -> None:
    """Partitions and rows stay, and the dashboard is told why."""
    await make_partition(url, 40)
    await store(url, [40, 31])
    await fetch(url, "DROP ROLE IF EXISTS guest")
    await fetch(url, "CREATE ROLE guest LOGIN")
    try:
        for sql in (
            "GRANT SELECT, INSERT ON events TO guest",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON retention, rejected_events TO guest",
        ):
            await fetch(url, sql)
        await one_round(url.replace("//postgres@", "//guest@"), 30)
        told = await troubles(url)
        assert "nonito retention run" in told[0]
        assert "nonito retention run" in told[1]
        assert await ages(url) == [40, 31]
    finally:
        await fetch(url, "DROP OWNED BY guest")
        await fetch(url, "DROP ROLE guest")
