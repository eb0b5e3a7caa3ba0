"""Rejected events: kept whatever they hold, mended, stored once, and dropped only when told to."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from ingest.delivery.events_table import EVENTS
from ingest.store import idempotency, rejected
from ingest.store.failures import Unavailable
from ingest.store.postgres import Postgres
from ingest.store.rejected import MESSAGE_CHARS_MAX, Listed, Rejected, RetryResult
from tests.store.events import changed, make_link
from tests.store.events import make_rejected as make
from tests.store.merging import NOON, clear, run, stored
from tests.store.merging import make as sent
from tests.support.postgres import fetch, make_postgres

MOMENT = datetime(2026, 1, 10, 12, 0, 0, 123456, tzinfo=UTC)
BAD = r'{"text": "\u0000"}'
HOSTILE = "\x1b[2J\x9b\u202e\r\n\ufeff\U0001f600'; DROP TABLE events; --"


@pytest.fixture(autouse=True)
async def _nothing_rejected(database_url: str) -> None:
    """No rejected events and no keys are left by the test before."""
    await fetch(database_url, "DELETE FROM rejected_events")
    await clear(database_url)


async def add(postgres: Postgres, *events: Rejected) -> None:
    """Keep rejected events."""
    async with postgres.session() as connection:
        await rejected.add(connection, EVENTS, events)


async def listed(postgres: Postgres, limit: int = 10_000) -> list[Listed]:
    """Return what is kept."""
    async with postgres.session() as connection:
        return await rejected.list_all(connection, EVENTS, limit)


async def kept(postgres: Postgres) -> set[UUID]:
    """Return the ids of what is kept."""
    return {each.rejected.id for each in await listed(postgres)}


async def retry(postgres: Postgres, ids: Sequence[UUID] | None) -> dict[UUID, RetryResult]:
    """Retry, and return what became of each."""
    async with postgres.session() as connection:
        return {each.id: each.result async for each in rejected.retry(connection, EVENTS, ids)}


async def test_rejected_event_is_kept_as_it_was(postgres: Postgres) -> None:
    """Every field, and when; the app's name where there is such an app."""
    event = changed(
        make(BAD, name=HOSTILE, message="unsupported Unicode escape sequence"),
        app_id=7,
        timestamp="2026-01-10T11:59:59Z",
        idempotency_key=str(make().id),
    )
    before = datetime.now(UTC)
    await add(postgres, event)
    (found,) = await listed(postgres)
    assert found.rejected == event
    assert found.app == "-"
    assert timedelta(seconds=-60) < found.rejected_at - before < timedelta(seconds=60)


async def test_app_is_listed_by_its_name(postgres: Postgres, database_url: str) -> None:
    """As it was made by `nonito keys create`."""
    ((app_id,),) = await fetch(database_url, "INSERT INTO apps (name) VALUES ('shop') RETURNING id")
    await add(postgres, changed(make(), app_id=app_id))
    assert [each.app for each in await listed(postgres)] == ["shop"]


async def test_rejected_event_is_kept_once_as_it_was_first(postgres: Postgres) -> None:
    """A replay that is repeated after a crash adds nothing, and undoes nobody's mending."""
    event = make(BAD)
    await add(postgres, event)
    await add(postgres, changed(event, event_params="{}")._replace(message="later"), make())
    by_id = {each.rejected.id: each.rejected for each in await listed(postgres)}
    assert len(by_id) == 2
    assert by_id[event.id] == event


async def test_same_id_of_two_apps_is_two_events(postgres: Postgres) -> None:
    """The key is app and id, as in `events`."""
    event = make()
    await add(postgres, event, changed(event, app_id=2))
    assert len(await listed(postgres)) == 2


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a\0b", "a\\u0000b"),
        ("\ud83d and \udcff", "\\ud83d and \\udcff"),
        (HOSTILE, HOSTILE),
        ("\\u0000", "\\u0000"),
    ],
    ids=["NUL", "surrogates", "control characters", "an escape"],
)
async def test_text_that_postgres_can_not_hold_is_escaped(
    postgres: Postgres, text: str, stored: str
) -> None:
    """And everything else is kept as it is."""
    await add(postgres, make(text, name=text, message=text))
    ((found, _, _),) = await listed(postgres)
    kept = (found.event["event_name"], found.event["event_params"], found.message)
    assert kept == (stored, stored, stored)


async def test_message_is_bounded(postgres: Postgres) -> None:
    """Also one that grows by being escaped."""
    await add(postgres, make(message="m" * 5000), make(message="\0" * 999))
    sizes = [len(each.rejected.message) for each in await listed(postgres)]
    assert sizes == [MESSAGE_CHARS_MAX, MESSAGE_CHARS_MAX]


async def test_list_is_bounded_and_starts_with_the_newest(postgres: Postgres) -> None:
    """And the count is of all."""
    older, newer = make(), make()
    await add(postgres, older)
    await add(postgres, newer)
    assert [each.rejected.id for each in await listed(postgres, 1)] == [newer.id]
    assert [each.rejected.id for each in await listed(postgres)] == [newer.id, older.id]
    async with postgres.session() as connection:
        assert await rejected.count(connection) == 2


async def test_many_added_at_once_from_two_sides_are_kept_once(postgres: Postgres) -> None:
    """In opposite orders, which must not deadlock."""
    events = [make() for _ in range(2000)]
    await asyncio.gather(*(add(postgres, *order) for order in (events, events[::-1]) * 3))
    assert await kept(postgres) == {event.id for event in events}


async def test_mended_event_is_stored_with_its_id_and_time(
    postgres: Postgres, database_url: str
) -> None:
    """After an UPDATE by hand; numbers keep every digit, and it is rejected no more."""
    event = make(BAD, name="sale")
    await add(postgres, event)
    mended = '{"n": 123456789012345678901234567890.123456789}'
    await fetch(database_url, "UPDATE rejected_events SET event_params = $1", mended)
    assert await retry(postgres, [event.id]) == {event.id: RetryResult.STORED}
    (row,) = await fetch(database_url, "SELECT app_id, id, event_params::text, * FROM events")
    assert (row["app_id"], row["id"], row["event_name"]) == (1, event.id, "sale")
    assert (row[2], row["created_at"]) == (mended, MOMENT)
    assert await kept(postgres) == set()


async def test_still_bad_event_stays_with_the_new_reason_and_blocks_none(
    postgres: Postgres, database_url: str
) -> None:
    """Good ones before and behind it are stored."""
    events = sorted([make(), make(), make(), make()], key=lambda event: event.id)
    events[1] = changed(events[1], event_params="{")._replace(sqlstate="54000", message="of old")
    events[2] = changed(events[2], event_params='{"n": 1e999999}')
    await add(postgres, *events)
    async with postgres.session() as connection:
        retried = [each async for each in rejected.retry(connection, EVENTS, None)]
    results = [each.result for each in retried]
    assert results == [
        RetryResult.STORED,
        RetryResult.REFUSED,
        RetryResult.REFUSED,
        RetryResult.STORED,
    ]
    assert "22P02 invalid input syntax for type json" in retried[1].reason
    reasons = {each.rejected.id: each.rejected for each in await listed(postgres)}
    assert reasons.keys() == {events[1].id, events[2].id}
    assert reasons[events[1].id].sqlstate == "22P02"
    assert "invalid input syntax" in reasons[events[1].id].message
    assert reasons[events[2].id].sqlstate == "22003"
    assert reasons[events[1].id].event["event_params"] == "{"
    ((count,),) = await fetch(database_url, "SELECT count(*) FROM events")
    assert count == 2


@pytest.mark.parametrize("params", ["[]", '"text"', "null", "1"])
async def test_event_is_not_mended_into_something_else_than_an_object(
    postgres: Postgres, database_url: str, params: str
) -> None:
    """What the door refuses does not come in by the window."""
    event = make(params)
    await add(postgres, event)
    assert await retry(postgres, None) == {event.id: RetryResult.REFUSED}
    ((found, _, _),) = await listed(postgres)
    assert "must be a JSON object" in found.message
    assert await fetch(database_url, "SELECT FROM events") == []


async def test_event_that_is_stored_already_is_left_as_it_is(
    postgres: Postgres, database_url: str
) -> None:
    """It is rejected no more, and stored once with what was stored first."""
    event = make('{"of": "the second"}')
    await fetch(
        database_url,
        "INSERT INTO events VALUES (1, $1, 'first', '{}', $2)",
        event.id,
        MOMENT,
    )
    await add(postgres, event)
    assert await retry(postgres, [event.id]) == {event.id: RetryResult.ALREADY_STORED}
    assert [row["event_name"] for row in await fetch(database_url, "TABLE events")] == ["first"]
    assert await kept(postgres) == set()


def with_key(key: UUID, *, name: str = "rejected", hours: int = 0) -> Rejected:
    """Return a rejected event of a key, received so many hours after noon."""
    received = (NOON + timedelta(hours=hours)).isoformat()
    return changed(make(name=name, created_at=received), idempotency_key=str(key))


async def names_of_stored(url: str) -> list[str]:
    """Return the names of all events, in order."""
    return sorted((await stored(url)).values())


@pytest.mark.parametrize("hours", [-23, 0, 23])
async def test_event_whose_key_was_sent_again_meanwhile_is_stored_already(
    postgres: Postgres, database_url: str, hours: int
) -> None:
    """Its client was faster; the day counts from when each was received, not from the retry."""
    link, key = make_link(postgres), uuid4()
    await run(link, sent("client's", key=key, created_at=NOON + timedelta(hours=hours)))
    await link.close()
    event = with_key(key)
    await add(postgres, event)
    await idempotency.forget_old(postgres)
    assert await retry(postgres, None) == {event.id: RetryResult.ALREADY_STORED}
    assert await names_of_stored(database_url) == ["client's"]
    assert await kept(postgres) == set()


async def test_client_that_sends_again_what_was_rejected_and_stored_is_told_that(
    postgres: Postgres, database_url: str
) -> None:
    """The key is the event's from then on."""
    link, key = make_link(postgres), uuid4()
    event = with_key(key)
    await add(postgres, event)
    assert await retry(postgres, None) == {event.id: RetryResult.STORED}
    found = await run(link, sent("client's", key=key))
    await link.close()
    assert [each.stored["id"] for each in found.values()] == [str(event.id)]
    assert await names_of_stored(database_url) == ["rejected"]


async def test_two_rejected_events_of_one_key_are_one(
    postgres: Postgres, database_url: str
) -> None:
    """Unless they are days apart, or another app's."""
    key = uuid4()
    events = [with_key(key, hours=hours) for hours in (0, 1, 30)]
    await add(postgres, *events, changed(with_key(key, name="theirs"), app_id=2))
    results = [result.value for result in (await retry(postgres, None)).values()]
    assert sorted(results) == ["already stored", "stored", "stored", "stored"]
    assert await names_of_stored(database_url) == ["rejected", "rejected", "theirs"]


async def test_rejected_event_and_its_client_s_retry_at_once_are_one(
    postgres: Postgres, database_url: str
) -> None:
    """Whoever is first: the other one waits for the key, and then knows."""
    link, keys = make_link(postgres), sorted(uuid4() for _ in range(30))
    events = [with_key(key) for key in keys]
    await add(postgres, *events)

    async def send_again() -> list[bool]:
        return [bool(await run(link, sent("client's", key=key))) for key in keys[::-1]]

    results, were_known = await asyncio.gather(retry(postgres, None), send_again())
    await link.close()
    assert len(await names_of_stored(database_url)) == len(keys)
    were_first = [results[event.id] is RetryResult.STORED for event in events[::-1]]
    assert were_first == were_known


async def test_refused_event_does_not_take_its_key(postgres: Postgres, database_url: str) -> None:
    """It is nobody's event yet: what its client sends again is stored, and then counts."""
    link, key = make_link(postgres), uuid4()
    event = changed(with_key(key), event_params="{")
    await add(postgres, event)
    assert await retry(postgres, None) == {event.id: RetryResult.REFUSED}
    assert await run(link, sent("client's", key=key)) == {}
    await link.close()
    await fetch(database_url, "UPDATE rejected_events SET event_params = '{}'")
    assert await retry(postgres, None) == {event.id: RetryResult.ALREADY_STORED}
    assert await names_of_stored(database_url) == ["client's"]


async def test_only_those_that_are_named_are_retried(postgres: Postgres) -> None:
    """An id that is not there is told of."""
    named, other, unknown = make(), make(), make()
    await add(postgres, named, other)
    results = await retry(postgres, [named.id, unknown.id])
    assert results == {named.id: RetryResult.STORED, unknown.id: RetryResult.NOT_FOUND}
    assert await kept(postgres) == {other.id}
    assert await retry(postgres, []) == {}


async def test_two_that_retry_at_once_store_each_event_once(
    postgres: Postgres, database_url: str
) -> None:
    """Each event is stored by one of them; the other says that it is not there."""
    events = [make() for _ in range(50)]
    await add(postgres, *events)
    one, two = await asyncio.gather(retry(postgres, None), retry(postgres, None))
    for event in events:
        by = [results[event.id] for results in (one, two) if event.id in results]
        assert by.count(RetryResult.STORED) == 1
        assert set(by) <= {RetryResult.STORED, RetryResult.NOT_FOUND}
    ((count,),) = await fetch(database_url, "SELECT count(*) FROM events")
    assert count == len(events)


TRIGGER = """
    CREATE FUNCTION test_judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.event_name = 'dropped' THEN RETURN NULL; END IF;
        IF NEW.event_name = 'raised' THEN RAISE 'not today'; END IF;
        RETURN NEW; END $$;
    CREATE TRIGGER test_judge BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION test_judge();
    ALTER TABLE events ADD CONSTRAINT test_named CHECK (event_name <> 'checked');
"""


@pytest.mark.not_on_citus("Citus has no triggers on distributed tables")
async def test_event_that_the_operator_s_own_rules_refuse_is_kept(own_url: str) -> None:
    """A trigger that drops rows must not make us drop them."""
    async with make_postgres(own_url).session() as connection:
        await connection.execute(TRIGGER)
        names = ("dropped", "raised", "checked", "good")
        await rejected.add(connection, EVENTS, [make(name=name) for name in names])
        retried = [each.result async for each in rejected.retry(connection, EVENTS, None)]
        assert sorted(result.value for result in retried) == ["refused again"] * 3 + ["stored"]
        kept = [each.rejected for each in await rejected.list_all(connection, EVENTS, 9)]
        found = {each.event["event_name"]: each for each in kept}
    assert {name: event.sqlstate for name, event in found.items()} == {
        "dropped": "02000",
        "raised": "P0001",
        "checked": "23514",
    }
    assert found["raised"].message == "not today"


async def test_check_and_a_missing_partition_block_no_other_event(own_url: str) -> None:
    """Their SQLSTATE is one; the name of a CHECK, by which they differ, Citus does not pass on."""
    await fetch(own_url, "DROP TABLE events_default")
    await fetch(own_url, "ALTER TABLE events ADD CHECK (event_name <> 'wrong') NOT VALID")
    old, wrong, good = changed(make(), id=str(UUID(int=5))), make(name="wrong"), make()
    postgres = make_postgres(own_url)
    await add(postgres, old, wrong, good)
    assert await retry(postgres, None) == {
        old.id: RetryResult.REFUSED,
        wrong.id: RetryResult.REFUSED,
        good.id: RetryResult.STORED,
    }
    assert {each.rejected.sqlstate for each in await listed(postgres)} == {"23514"}


async def test_what_is_nobody_s_fault_is_raised_and_keeps_the_event(own_url: str) -> None:
    """For example a table that is missing."""
    postgres = make_postgres(own_url)
    event = make()
    await add(postgres, event)
    await fetch(own_url, "ALTER TABLE events RENAME TO elsewhere")
    with pytest.raises(Unavailable):
        await retry(postgres, None)
    ((found, _, _),) = await listed(postgres)
    assert found == event


async def test_only_those_that_are_named_are_dropped(postgres: Postgres) -> None:
    """What was not there is not said to be dropped; None means all."""
    events = [make() for _ in range(4)]
    await add(postgres, *events[:3])
    async with postgres.session() as connection:
        assert await rejected.drop(connection, []) == []
        assert await rejected.drop(connection, [events[0].id, events[3].id]) == [events[0].id]
        assert await kept(postgres) == {events[1].id, events[2].id}
        assert len(await rejected.drop(connection, None)) == 2
    assert await kept(postgres) == set()
