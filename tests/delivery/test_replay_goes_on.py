"""The replay goes on, whatever real rows meet in Postgres that an empty COPY does not meet."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from unittest.mock import patch

import asyncpg
import pytest

from ingest.spool import Spool
from ingest.store import rejected as rejected_events
from ingest.store.failures import Outage, Unavailable
from ingest.store.postgres import Postgres
from ingest.store.rejected import Rejected
from ingest.store.table import Table
from tests.delivery.going import WAIT_S, Going
from tests.delivery.rules import RULES, script, trigger
from tests.delivery.surroundings import (
    CHECK,
    CountingLink,
    count,
    make_row,
    make_rows,
)
from tests.support.postgres import fetch

pytestmark = pytest.mark.usefixtures("hurry")


async def lift(url: str) -> None:
    """Drop the trigger; a COPY may have locked a partition of what this locks first."""
    while True:
        try:
            await fetch(url, "DROP TRIGGER test_rule ON events")
        except asyncpg.DeadlockDetectedError:
            continue
        return


@asynccontextmanager
async def held(url: str, statement: str) -> AsyncIterator[None]:
    """Do something in a transaction that lasts."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute(statement)
            yield
    finally:
        await connection.close()


async def rejected(url: str) -> list[tuple[str, str, str]]:
    """Return SQLSTATE, message and constraint of every rejected event."""
    found = await fetch(url, "SELECT sqlstate, message, broken_constraint FROM rejected_events")
    return [tuple(row.values()) for row in found]


@pytest.mark.parametrize("rule", RULES)
async def test_rows_that_a_rule_refuses_are_dead_letters_and_everything_behind_goes_on(
    going: Going, own_url: str, rule: str
) -> None:
    """One is alone in its batch, two are among others, and 600 fill one."""
    statements, sqlstate = RULES[rule]
    await script(own_url, statements)
    await going.append([make_row(name=b"wrong")])
    mixed = [*make_rows(10), make_row(name=b"wrong"), *make_rows(10), make_row(name=b"wrong")]
    await going.append(mixed)
    await going.append(make_rows(600, name=b"wrong"))
    await going.append(make_rows(50))
    async with going.running():
        await going.until_empty()
    assert await count(own_url) == 70
    found = await rejected(own_url)
    assert len(found) == 603
    assert {each[0] for each in found} == {sqlstate}
    assert all(each[1] for each in found)
    assert (going.metrics.replayed_events, going.metrics.dead_lettered_events) == (70, 603)
    assert going.health.is_up
    assert sqlstate in going.health.row_alarm.reason or rule == "data of the rule's"


async def test_rows_without_a_partition_are_dead_letters(going: Going, own_url: str) -> None:
    """Not even the default one is there."""
    await fetch(own_url, "DROP TABLE events_default")
    old = [make_row(event_id=bytes(15) + bytes([number])) for number in range(4)]
    await going.append([*make_rows(5), *old])
    await going.append(make_rows(5))
    async with going.running():
        await going.until_empty()
    assert await count(own_url) == 10
    assert [each[0] for each in await rejected(own_url)] == ["23514"] * 4


async def test_rows_that_are_stored_are_stored_whatever_postgres_calls_that(
    going: Going, own_url: str
) -> None:
    """A distributed Postgres says XX000 of a key that is there."""
    known = make_rows(30)
    await going.append(known)
    async with going.running():
        await going.until_empty()
        body = (
            "IF EXISTS (SELECT FROM events WHERE id = NEW.id) AND"
            " current_query() NOT LIKE '%CONFLICT%' THEN"
            " RAISE 'there' USING ERRCODE = 'XX000'; END IF;"
        )
        await script(
            own_url,
            "CREATE FUNCTION test_rule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" {body} RETURN NEW; END $$; CREATE TRIGGER test_rule BEFORE INSERT ON events"
            " FOR EACH ROW EXECUTE FUNCTION test_rule()",
        )
        await going.append(known)
        await going.append(make_rows(10))
        await going.until_empty()
    assert await count(own_url) == 40
    assert await rejected(own_url) == []


async def test_rows_that_wait_for_too_long_are_passed_by_and_come_again(
    own_url: str, spool: Spool
) -> None:
    """They hold up neither their batch's other rows nor those behind, and are never given up."""
    going = Going(own_url, spool, commit_timeout_s=0.4)
    await script(own_url, trigger("PERFORM pg_sleep(5);"))
    await going.append([*make_rows(20), make_row(name=b"wrong"), *make_rows(20)])
    await going.append(make_rows(30))
    async with going.running():
        await going.until_stored(70)
        await going.until(lambda: spool.events == 41)
        assert "57014" in going.health.row_alarm.reason
        await lift(own_url)
        await going.until_empty()
    assert await count(own_url) == 71
    assert await rejected(own_url) == []


@pytest.mark.parametrize("sqlstate", ["53100", "08001", "57P01", "58030"])
async def test_rows_for_which_there_is_no_room_are_kept_and_come_again(
    going: Going, own_url: str, sqlstate: str
) -> None:
    """A tablespace that is full is emptied one day: none is a dead letter.

    Nor is a row whose trigger reaches out to another server that is away.
    """
    await script(own_url, trigger(f"RAISE 'no room' USING ERRCODE = '{sqlstate}';"))
    await going.append([*make_rows(20), make_row(name=b"wrong")])
    await going.append(make_rows(30))
    async with going.running():
        await going.until_stored(50)
        await going.until(lambda: going.spool.events == 21)
        await lift(own_url)
        await going.until_empty()
    assert await count(own_url) == 51
    assert await rejected(own_url) == []


async def test_dead_letters_that_can_not_be_kept_stay_in_the_spool(
    going: Going, own_url: str
) -> None:
    """Until they can be; what is behind them goes on."""
    await fetch(own_url, CHECK)
    await fetch(own_url, "ALTER TABLE rejected_events RENAME TO elsewhere")
    await going.append([*make_rows(20), make_row(name=b"wrong")])
    await going.append(make_rows(30))
    async with going.running():
        await going.until_stored(50)
        await going.until(lambda: going.spool.events == 21)
        assert await count(own_url) == 50
        await fetch(own_url, "ALTER TABLE elsewhere RENAME TO rejected_events")
        await going.until_empty()
    assert [each[0] for each in await rejected(own_url)] == ["23514"]
    assert going.metrics.dead_lettered_events == 1


async def test_batch_that_ends_the_connection_each_time_is_passed_by(
    going: Going, own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a row on which Postgres crashes: what came with it and what is behind it goes on."""
    original = CountingLink.copy

    async def copy(self: CountingLink, document: bytes, rows: int) -> None:
        if b"wrong" in document:
            raise Unavailable("ended", stored=None, outage=Outage.CONNECTION_LOST)
        await original(self, document, rows)

    monkeypatch.setattr(CountingLink, "copy", copy)
    await going.append(make_rows(20))
    await going.append([make_row(name=b"wrong")])
    await going.append(make_rows(30))
    async with going.running():
        await going.until_stored(50)
        await going.until(lambda: going.spool.events == 1)
        await going.append(make_rows(5))
        await going.until_stored(55)
        monkeypatch.setattr(CountingLink, "copy", original)
        await going.until_empty()
    assert await count(own_url) == 56


@pytest.mark.parametrize("bad", [{1}, {0}, {1, 2, 3}, {1, 4, 7, 10}, {0, 19}])
async def test_batches_that_fail_without_a_word_are_passed_by_however_they_lie(
    going: Going, own_url: str, monkeypatch: pytest.MonkeyPatch, bad: set[int]
) -> None:
    """Postgres itself goes with each, as the probe says: none of the others waits for them."""
    fallen = asyncio.Event()
    original, probe = CountingLink.copy, CountingLink.probe

    async def copy(self: CountingLink, document: bytes, rows: int) -> None:
        if b"wrong" in document:
            fallen.set()
            raise Unavailable("ended", stored=None, outage=Outage.CONNECTION_LOST)
        await original(self, document, rows)

    async def probe_once_in_vain(self: CountingLink) -> None:
        if fallen.is_set():
            fallen.clear()
            raise Unavailable("away", stored=False, outage=Outage.AWAY)
        await probe(self)

    monkeypatch.setattr(CountingLink, "copy", copy)
    monkeypatch.setattr(CountingLink, "probe", probe_once_in_vain)
    for number in range(20):
        await going.append([make_row(name=b"wrong" if number in bad else b"name")])
    async with going.running():
        await going.until_stored(20 - len(bad))
        await going.until(lambda: going.spool.events == len(bad))
        monkeypatch.setattr(CountingLink, "copy", original)
        await going.until_empty()
    assert await count(own_url) == 20


async def test_rows_of_an_app_that_wait_hold_up_no_other_app_s(own_url: str, spool: Spool) -> None:
    """Of the same batch, whichever comes first: theirs are tried last of all."""
    going = Going(own_url, spool, commit_timeout_s=0.4)
    await script(own_url, trigger("PERFORM pg_sleep(5);"))
    slow = [make_row(name=b"wrong", app_id=2) for _ in range(50)]
    good = [make_row(app_id=app) for app in (1, 3) for _ in range(50)]
    await going.append([*good[:50], *slow, *good[50:]])
    async with going.running():
        await going.until_stored(100)
        assert spool.events == 150
        await lift(own_url)
        await going.until_empty()
    assert await count(own_url) == 150


async def test_row_whose_error_is_too_long_to_be_read_holds_up_no_other(
    going: Going, own_url: str
) -> None:
    """It ends the connection each time, and nothing names it."""
    body = "RAISE EXCEPTION 'bad event %', repeat('x', 3000000);"
    await script(own_url, trigger(body))
    await going.append([*make_rows(50), make_row(name=b"wrong"), *make_rows(50)])
    async with going.running():
        await going.until_stored(100)
        assert going.spool.events == 101
        await lift(own_url)
        await going.until_empty()
    assert await count(own_url) == 101


async def test_lock_on_the_dead_letters_is_waited_for_once(own_url: str, spool: Spool) -> None:
    """And not by each batch that has one, while what is behind them waits."""
    going = Going(own_url, spool, commit_timeout_s=1.0)
    await fetch(own_url, CHECK)
    for _ in range(30):
        await going.append([make_row(name=b"wrong")])
    await going.append(make_rows(10))
    tried = 0
    original = rejected_events.keep

    async def keep(postgres: Postgres, table: Table, events: Sequence[Rejected]) -> None:
        nonlocal tried
        tried += 1
        await original(postgres, table, events)

    with patch.object(rejected_events, "keep", keep):
        async with going.running(), held(own_url, "LOCK TABLE rejected_events"):
            await going.until_stored(10)
            await going.until(lambda: going.spool.events == 30)
    assert tried <= 3


async def test_table_that_is_missing_is_an_outage_for_all(going: Going, own_url: str) -> None:
    """An empty COPY fails as well: nothing becomes a dead letter."""
    await fetch(own_url, "ALTER TABLE events RENAME TO moved")
    await going.append(make_rows(20))
    async with going.running():
        await going.until(lambda: not going.health.is_up)
        assert "42P01" in going.health.reason
        await fetch(own_url, "ALTER TABLE moved RENAME TO events")
        await going.until_empty()
    assert await count(own_url) == 20
    assert await rejected(own_url) == []


async def test_what_was_passed_by_comes_again_though_new_batches_never_end(
    going: Going, own_url: str
) -> None:
    """However full the spool is kept meanwhile: a lap ends by the clock."""
    await script(own_url, trigger("RAISE 'no room' USING ERRCODE = '53100';"))
    await going.append([make_row(name=b"wrong")])

    async def go_on() -> None:
        while True:
            await going.append(make_rows(2_000))

    async with going.running():
        going_on = asyncio.create_task(go_on())
        await going.until(lambda: going.metrics.replayed_events > 0)
        await lift(own_url)
        wrong = "SELECT count(*) FROM events WHERE event_name = 'wrong'"
        async with asyncio.timeout(WAIT_S):
            while not (await fetch(own_url, wrong))[0]["count"]:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
        assert not going.spool.is_empty
        going_on.cancel()
        await asyncio.wait([going_on])
