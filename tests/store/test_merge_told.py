"""What a merge tells of rows that were there before: whole, or without what is too long."""

import random
from datetime import timedelta

from ingest.store import merge
from ingest.store.link import CopyLink
from ingest.store.postgres import Postgres
from tests.store.events import make_link
from tests.store.merging import NOON, Sent, make, run, stored
from tests.support.postgres import fetch


async def test_times_are_told_as_an_answer_has_them(postgres: Postgres) -> None:
    """In UTC, to the millisecond, or to the microsecond where that is needed."""
    link = make_link(postgres)
    sent = [
        make(created_at=NOON + timedelta(milliseconds=7), timestamp=NOON),
        make(timestamp=NOON + timedelta(milliseconds=120)),
        make(timestamp=NOON + timedelta(microseconds=100_001)),
    ]
    await run(link, *sent)
    found = await run(link, *sent)
    await link.close()
    assert found[sent[0].key].stored["created_at"] == "2026-01-10T12:00:00.007Z"
    assert [found[each.key].stored["timestamp"] for each in sent] == [
        "2026-01-10T12:00:00.000Z",
        "2026-01-10T12:00:00.120Z",
        "2026-01-10T12:00:00.100001Z",
    ]


async def test_long_parameters_are_told_up_to_a_size_in_all(postgres: Postgres) -> None:
    """The rows past it are told without them; one that is longer alone is, too."""
    link = make_link(postgres)
    each_bytes = merge.EARLIER_PARAMS_BYTES_MAX // 4 - 20  # jsonb's own are a few more
    texts = [random.Random(number).randbytes(each_bytes // 2).hex() for number in range(6)]
    short = [make(params=b'{"a":"%b"}' % text.encode()) for text in texts]
    long = make(params=b'{"a":[%b]}' % b",".join([b"1e299"] * 4000))
    await run(link, *short, long)
    found = await run(link, *short)
    told = [found[each.key].stored["event_params"] for each in short]
    assert [params is not None for params in told] == [True] * 4 + [False] * 2
    assert told[:4] == [f'{{"a": "{text}"}}' for text in texts[:4]]
    assert (await run(link, long))[long.key].stored["event_params"] is None
    await assert_told(link, make(params=b'{"a": 1}'))
    await link.close()


async def test_retries_of_rows_that_would_print_gigabytes_are_told_in_time(
    postgres: Postgres, database_url: str
) -> None:
    """Or whoever has stored some could, with a small batch, make Postgres look away."""
    link = make_link(postgres)
    first = make("heavy", params=b'{"a":[%b]}' % b",".join([b"1e299"] * 170_000))
    await run(link, first)
    await fetch(
        database_url,
        "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
        " SELECT app_id, overlay(id::text PLACING to_char(n, 'FM0000') FROM 33)::uuid, event_name,"
        " event_params, created_at FROM events, generate_series(1, 200) AS n WHERE id = $1",
        first.id,
    )
    found = await run(link, *(make(event_id=each) for each in await stored(database_url)))
    assert len(found) == 201
    assert {earlier.stored["event_name"] for earlier in found.values()} == {"heavy"}
    assert not any(earlier.stored["event_params"] for earlier in found.values())
    await assert_told(link, make(params=b'{"a": 1}'))
    await link.close()


async def assert_told(link: CopyLink, event: Sent) -> None:
    """Assert that a link still stores an event, and tells of it."""
    assert await run(link, event) == {}
    (earlier,) = (await run(link, event)).values()
    assert earlier.stored["event_params"] == '{"a": 1}'
