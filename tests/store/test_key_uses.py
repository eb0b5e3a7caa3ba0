"""An Idempotency-Key over time: which event it stands for, whenever and wherever it comes from."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from ingest.events import copy_format
from ingest.store import idempotency
from ingest.store.link import CopyLink
from ingest.store.postgres import Postgres
from ingest.store.sift import Sifted
from tests.store.events import make_link
from tests.store.merging import NOON, Sent, clear, make, run, stored
from tests.support.postgres import fetch, make_postgres

BY_THE_VERSION_BEFORE = """
    INSERT INTO idempotency_keys AS kept (app_id, key, event_id, created_at)
    VALUES (1, $1, $2, $3) ON CONFLICT (app_id, key)
    DO UPDATE SET event_id = excluded.event_id, created_at = excluded.created_at
    WHERE kept.created_at <= excluded.created_at - interval '86400 seconds'
"""


def hours_later(hours: float) -> datetime:
    """Return a time so many hours from noon."""
    return NOON + timedelta(hours=hours)


async def told(link: CopyLink, key: UUID, hours: float) -> str:
    """Send an event `new` of a key; return the name of the event that it turns out to be."""
    found = await run(link, make("new", key=key, created_at=hours_later(hours)))
    return next((str(each.stored["event_name"]) for each in found.values()), "new")


@pytest.mark.parametrize("ahead_hours", [25, 30, 24 * 40])
async def test_key_of_a_clock_that_was_far_ahead_is_stored_once_more_at_most(
    postgres: Postgres, database_url: str, ahead_hours: int
) -> None:
    """Once the clock is right again; and what was received by the wrong one is known as well."""
    await clear(database_url)
    link, key = make_link(postgres), uuid4()
    await run(link, make("ahead", key=key, created_at=hours_later(ahead_hours)))
    await run(link, make("right", key=key))
    for minutes in range(3):
        assert await told(link, key, minutes / 60) == "right"
        assert await told(link, key, ahead_hours + minutes / 60) == "ahead"
    await link.close()
    assert sorted((await stored(database_url)).values()) == ["ahead", "right"]


async def test_each_event_of_a_key_counts_for_its_own_24_hours(
    postgres: Postgres, database_url: str
) -> None:
    """Where two do, the newer one; also after the key stood for others."""
    await clear(database_url)
    link, key = make_link(postgres), uuid4()
    for hours in (0, 25, 72):
        await run(link, make(f"of {hours}", key=key, created_at=hours_later(hours)))
    later = {-1: 0, 0.5: 0, 20: 25, 24.5: 25, 48: 25, 49.5: 72, 95: 72}
    for hours_of_retry, event in later.items():
        assert await told(link, key, hours_of_retry) == f"of {event}"
    assert await told(link, key, 96) == "new"
    await link.close()
    assert sorted((await stored(database_url)).values()) == ["new", "of 0", "of 25", "of 72"]


async def test_event_that_comes_in_behind_the_next_day_s_is_known_to_its_retries(
    postgres: Postgres, database_url: str
) -> None:
    """One spool is replayed when the key is in use again, then another that has the retries."""
    await clear(database_url)
    link, key = make_link(postgres), uuid4()
    await run(link, make("day 1", key=key, created_at=hours_later(30)))
    await run(link, make("day 0", key=key))
    assert [await told(link, key, hours) for hours in (0.1, 5, 30.1)] == ["day 0"] * 2 + ["day 1"]
    await link.close()
    (kept,) = await fetch(database_url, "SELECT created_at FROM idempotency_keys")
    assert kept["created_at"] == hours_later(30)  # all that the version before looks at
    assert sorted((await stored(database_url)).values()) == ["day 0", "day 1"]


async def test_days_of_one_key_in_one_batch_are_an_event_each(
    postgres: Postgres, database_url: str
) -> None:
    """Whatever the order, and each is known to its retries later on, too."""
    await clear(database_url)
    link, key, other = make_link(postgres), uuid4(), uuid4()
    sent = [
        make(f"day {day}" if tries == 0 else "retry", key=key, created_at=hours_later(hours))
        for day in range(4)
        for tries, hours in enumerate((25 * day, 25 * day + 0.5, 25 * day + 0.7))
    ]
    assert await run(link, *sent[::-1], make("other", key=other)) == {}
    for day in range(4):
        assert await told(link, key, 25 * day + 0.2) == f"day {day}"
    await link.close()
    names = ["day 0", "day 1", "day 2", "day 3", "other"]
    assert sorted((await stored(database_url)).values()) == names


async def test_first_one_s_content_is_stored_under_its_id(
    postgres: Postgres, database_url: str
) -> None:
    """Also of tries that were received in the same millisecond."""
    await clear(database_url)
    link, key = make_link(postgres), uuid4()
    sent = [make(f"try {number}", key=key) for number in range(20)]
    await run(link, *sent[::-1])
    await link.close()
    ((event_id, name),) = (await stored(database_url)).items()
    assert [each.id for each in sent if each.id == event_id] == [sent[int(name[4:])].id]


async def test_key_remembers_a_bounded_number_of_events(
    postgres: Postgres, database_url: str
) -> None:
    """The last ones, a month of days."""
    await clear(database_url)
    link, key = make_link(postgres), uuid4()
    days = idempotency.USES_MAX + 5
    for day in range(days):
        await run(link, make(f"day {day}", key=key, created_at=hours_later(24 * day)))
    first = days - idempotency.USES_MAX
    for day in (first, first + 1, days - 1):
        assert await told(link, key, 24 * day) == f"day {day}"
    await link.close()
    query = "SELECT cardinality(earlier) AS uses FROM idempotency_keys"
    assert [row["uses"] for row in await fetch(database_url, query)] == [idempotency.USES_MAX - 1]


JUDGE = """
    CREATE FUNCTION test_judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.event_name = 'dropped' THEN RETURN NULL; END IF;
        IF NEW.event_name = 'raised' THEN RAISE 'not today'; END IF;
        RETURN NEW; END $$;
    CREATE TRIGGER test_judge BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION test_judge();
"""


async def sift(link: CopyLink, *sent: Sent) -> Sifted:
    """Sift events."""
    document = copy_format.document([each.row for each in sent])
    return await link.sift(document, len(sent), has_keys=True)


@pytest.mark.parametrize("refused", ["dropped", "raised"])
async def test_event_that_is_sifted_out_does_not_take_its_key(own_url: str, refused: str) -> None:
    """What its client sends again is an event under its own id; the neighbours' keys count."""
    connection = await asyncpg.connect(own_url, timeout=10)
    await connection.execute(JUDGE)
    await connection.close()
    link, keys = make_link(make_postgres(own_url)), [uuid4() for _ in range(3)]
    bad = make(refused, key=keys[0])
    sifted = await sift(link, make("one", key=keys[1]), bad, make("two", key=keys[2]))
    assert sifted.refused.keys() == {1}
    again = make("again", key=keys[0])
    assert await run(link, again) == {}
    assert [await told(link, key, 1) for key in keys] == ["again", "one", "two"]
    await link.close()
    names = await stored(own_url)
    assert (names[again.id], sorted(names.values())) == ("again", ["again", "one", "two"])


async def test_keys_count_among_sifted_events(postgres: Postgres, database_url: str) -> None:
    """As in a merge: the first try of each day is stored, whatever was stored before is told."""
    await clear(database_url)
    link, key, other = make_link(postgres), uuid4(), uuid4()
    await run(link, make("before", key=other))
    sent = [
        make("retry", key=other, created_at=hours_later(1)),
        make("retry", key=key, created_at=hours_later(30.5)),
        make("day 1", key=key, created_at=hours_later(30)),
        make("retry", key=key, created_at=hours_later(1)),
        make("day 0", key=key),
        make("unnamed"),
    ]
    sifted = await sift(link, *sent)
    assert (sifted.refused, sifted.existing) == ({}, {0, 1, 3})
    assert [await told(link, key, hours) for hours in (2, 31)] == ["day 0", "day 1"]
    await link.close()
    names = sorted((await stored(database_url)).values())
    assert names == ["before", "day 0", "day 1", "unnamed"]


@pytest.mark.parametrize("hours", [25, -25])
async def test_key_that_is_used_again_at_several_servers_at_once_is_one_event(
    postgres: Postgres, database_url: str, hours: int
) -> None:
    """As when it is used for the first time; also by a replay behind the next day's."""
    await clear(database_url)
    links = [make_link(postgres) for _ in range(3)]
    keys = [uuid4() for _ in range(100)]
    await run(links[0], *(make("first", key=key) for key in keys))

    def tries(order: Sequence[UUID]) -> list[Sent]:
        return [make("again", key=key, created_at=hours_later(hours)) for key in order]

    found = await asyncio.gather(
        *(
            run(link, *tries(order))
            for link, order in zip(links, (keys, keys[::-1], keys), strict=True)
        )
    )
    for link in links:
        await link.close()
    assert sorted(map(len, found)) == [0, 100, 100]
    assert sorted((await stored(database_url)).values()) == ["again"] * 100 + ["first"] * 100


async def test_server_of_the_version_before_goes_on_beside_this_one(
    postgres: Postgres, database_url: str
) -> None:
    """While the servers are replaced one by one: either finds the keys of the other."""
    await clear(database_url)
    link, theirs, ours = make_link(postgres), uuid4(), uuid4()
    first = make("theirs")
    await run(link, first)
    await fetch(database_url, BY_THE_VERSION_BEFORE, theirs, first.id, NOON)
    assert await told(link, theirs, 1) == "theirs"
    event = make("ours", key=ours)
    await run(link, event)
    await fetch(database_url, BY_THE_VERSION_BEFORE, ours, uuid4(), NOON)
    query = "SELECT event_id FROM idempotency_keys WHERE key = $1"
    assert [row["event_id"] for row in await fetch(database_url, query, ours)] == [event.id]
    await link.close()
