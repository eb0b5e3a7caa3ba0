"""`uuid_at`: a range of time as a range of ids, so that only partitions that hold it are read."""

from datetime import UTC, datetime

import pytest

from ingest.store import migrations
from ingest.store.periods import MOMENT_MAX, first_id
from ingest.store.postgres import Postgres
from tests.store.events import copy, make_event, make_link
from tests.support.postgres import fetch, make_postgres

MONTHS = ["20240101_20240131", "20240201_20240229", "20240301_20240331"]


async def make_months(url: str) -> None:
    """Make three partitions of the past."""
    bounds = [first_id(datetime(2024, month, 1, tzinfo=UTC)) for month in (1, 2, 3, 4)]
    for name, low, high in zip(MONTHS, bounds[:-1], bounds[1:], strict=True):
        partition = f"CREATE TABLE events_{name} PARTITION OF events FOR VALUES"
        await fetch(url, f"{partition} FROM ('{low}') TO ('{high}')")


async def read_by(url: str, condition: str) -> set[str]:
    """Return which of the three months a query would read."""
    plan = await fetch(url, f"EXPLAIN SELECT count(*) FROM events WHERE {condition}")
    text = "\n".join(str(row[0]) for row in plan)
    return {month for month in MONTHS if month in text}


CONDITIONS = {
    "id >= uuid_at(now() - interval '1 hour')": [],
    "app_id = 1 AND id >= uuid_at(now() - interval '1 hour')": [],
    "id >= uuid_at('2024-02-10+00') AND id < uuid_at('2024-02-11+00')": [1],
    "id >= uuid_at('2024-02-29 23:59:59.999+00') AND id < uuid_at('2024-03-01 00:00+00')": [1],
    "id < uuid_at('2024-02-01+00')": [0],
    "id >= uuid_at((SELECT timestamptz '2024-03-31 23:00+00'))": [0, 1, 2],  # found out later
    "created_at >= now() - interval '1 hour'": [0, 1, 2],
}


@pytest.mark.parametrize(("condition", "read"), CONDITIONS.items())
async def test_only_partitions_of_the_time_are_read(
    own_url: str, condition: str, read: list[int]
) -> None:
    """By a moment that is written, and by one that only the query itself knows."""
    await make_months(own_url)
    assert await read_by(own_url, condition) == {MONTHS[at] for at in read}


async def test_it_is_the_first_id_of_its_millisecond(postgres: Postgres, database_url: str) -> None:
    """An event is found from its own moment on, and not by the next millisecond."""
    link = make_link(postgres)
    event = make_event()
    await copy(link, event)
    await link.close()
    moment = (
        "SELECT ('x' || left(translate(id::text, '-', ''), 12))::bit(48)::bigint AS ms, id"
        " FROM events"
    )
    found = (
        f"SELECT id >= uuid_at(to_timestamp(ms / 1000.0)) AS is_from,"
        f" id < uuid_at(to_timestamp((ms + 1) / 1000.0)) AS is_before FROM ({moment}) AS stored"
    )
    (row,) = await fetch(database_url, found)
    assert (row["is_from"], row["is_before"]) == (True, True)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 10, 12, 0, 0, 123_999, tzinfo=UTC),
        datetime(2026, 1, 10, 12, 0, 0, 124_000, tzinfo=UTC),
        datetime(2262, 4, 12, tzinfo=UTC),
        MOMENT_MAX,
    ],
    ids=str,
)
async def test_it_is_the_bound_that_partitions_have(database_url: str, moment: datetime) -> None:
    """To the millisecond, rounded down."""
    (row,) = await fetch(database_url, "SELECT uuid_at($1) AS id", moment)
    assert str(row["id"]) == str(first_id(moment))


async def test_times_that_no_id_has_are_the_first_and_the_last(database_url: str) -> None:
    """Never an error, and never something in between."""
    (row,) = await fetch(
        database_url,
        "SELECT uuid_at('-infinity') AS first, uuid_at('1969-12-31 23:59:59+00') AS before,"
        " uuid_at('infinity') AS last, uuid_at('20000-01-01+00') AS behind, uuid_at(NULL) AS none",
    )
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert {str(row["first"]), str(row["before"])} == {str(first_id(epoch))}
    assert {str(row["last"]), str(row["behind"])} == {str(first_id(MOMENT_MAX))}
    assert row["none"] is None


async def test_every_role_may_call_it(empty_url: str) -> None:
    """Also where functions are nobody's unless they are granted."""
    revoke = "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"
    await fetch(empty_url, revoke)
    await migrations.migrate(make_postgres(empty_url))
    await fetch(empty_url, "DROP ROLE IF EXISTS test_reader")
    await fetch(empty_url, "CREATE ROLE test_reader LOGIN")
    reader = empty_url.replace("//postgres@", "//test_reader@")
    (row,) = await fetch(reader, "SELECT uuid_at(now()) > uuid_at('2024-01-01') AS is_later")
    assert row["is_later"]
    await fetch(empty_url, "DROP ROLE test_reader")
