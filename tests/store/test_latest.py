"""The latest events of an app: found by id at the end of the index, a few at a time."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from ingest.store import latest
from ingest.store.latest import Span
from ingest.store.postgres import Connection
from tests.support.postgres import make_postgres

NOW = datetime.now(UTC)
SPAN = Span(NOW - timedelta(seconds=10), NOW + timedelta(seconds=5))


def event_id(at: datetime, number: int) -> UUID:
    """Return an id of a time."""
    return UUID(int=int(at.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | number)


async def store(connection: Connection, ids: list[UUID], name: str, params: str = "{}") -> None:
    """Store events of app 1."""
    await connection.execute(
        "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
        " SELECT 1, id, $2, $3::jsonb, now() FROM unnest($1::uuid[]) AS id",
        ids,
        name,
        params,
    )


async def test_scan_finds_the_latest_of_a_name_among_so_many(database_url: str) -> None:
    """And says how many it looked at, and between which."""
    views = [event_id(NOW, number) for number in range(100)]
    buys = [event_id(NOW + timedelta(milliseconds=1), number) for number in range(3)]
    old = event_id(NOW - timedelta(minutes=1), 1)
    async with make_postgres(database_url).session() as connection:
        await store(connection, [*views, old], "view")
        await store(connection, buys, "buy")
        any_name = await latest.scan(connection, 1, None, SPAN, scanned_max=1000, ids_max=1000)
        assert list(any_name.ids) == [*reversed(buys), *reversed(views)]
        assert any_name[:3] == (103, buys[-1], views[0])
        bought = await latest.scan(connection, 1, "buy", SPAN, scanned_max=50, ids_max=2)
        assert (bought.looked_at, list(bought.ids)) == (50, [buys[2], buys[1]])
        other_app = await latest.scan(connection, 2, None, SPAN, scanned_max=50, ids_max=2)
        assert other_app == (0, None, None, ())


async def test_rate_is_exact_up_to_a_bound_and_about_right_beyond(database_url: str) -> None:
    """Beyond it a part of the second stands for all of it."""
    async with make_postgres(database_url).session() as connection:
        start = NOW - timedelta(seconds=1)
        ids = [event_id(start + timedelta(milliseconds=each % 1000), each) for each in range(2000)]
        await store(connection, ids[::2], "view")
        await store(connection, ids[1::2], "buy")
        exact = await latest.rate(connection, 1, "buy", NOW, 5_000)
        assert (exact.events, exact.named, exact.is_about) == (2_000, 1_000, False)
        about = await latest.rate(connection, 1, "buy", NOW, 500)
        assert about.is_about
        assert abs(about.events - 2_000) < 40
        assert abs(about.named - 1_000) < 20


async def test_long_parameters_are_not_read(database_url: str) -> None:
    """Nor are those that Postgres has packed into few bytes; a person is told of all others."""
    ids = [event_id(NOW, number) for number in range(3)]
    async with make_postgres(database_url).session() as connection:
        await store(connection, ids[:1], "short", '{"user_id": "ada", "n": 1.50}')
        await store(connection, ids[1:2], "packed", '{"a": "' + "x" * 500_000 + '"}')
        await store(connection, ids[2:], "long", '{"a": "' + "".join(map(str, range(9999))) + '"}')
        rows = {row.name: row for row in await latest.read(connection, 1, "user_id", ids)}
    assert (rows["short"].params, rows["short"].person) == ('{"n": 1.50, "user_id": "ada"}', "ada")
    assert rows["packed"].params is None
    assert rows["long"].params is None


async def test_event_of_another_time_is_found_by_who_wrote_it(database_url: str) -> None:
    """From the mark on that was taken before, whatever its time."""
    async with make_postgres(database_url).session() as connection:
        await store(connection, [event_id(NOW - timedelta(days=3), 1)], "before")
        mark = await latest.mark(connection)
        past, here = event_id(NOW - timedelta(days=2), 2), event_id(NOW, 3)
        await store(connection, [past, here], "behind")
        found = await latest.elsewhere(connection, [1, 2], mark, SPAN, 10)
        assert found == [(1, past)]
        assert latest.time_of(here) == NOW.replace(microsecond=NOW.microsecond // 1000 * 1000)
