"""Merging: whatever was sent before is stored once, and told as it is stored."""

import asyncio
import random
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from ingest.store.cluster import Cluster
from ingest.store.failures import RowRefused
from ingest.store.postgres import Postgres
from tests.store.events import make_link, until_true
from tests.store.merging import (
    ALL_WAIT,
    BAD,
    INSERT,
    NOON,
    RESERVE,
    again,
    clear,
    ids,
    make,
    run,
    stored,
)
from tests.support.pgbouncer import PROGRAM, running_pgbouncer
from tests.support.postgres import fetch, make_postgres


async def test_rows_that_are_there_are_told_and_the_others_inserted(
    postgres: Postgres, database_url: str
) -> None:
    """Every second of 200, in any order, each told by its own key and with its own content."""
    link = make_link(postgres)
    first = [make(f"first {number}", params=b'{"n":%d}' % number) for number in range(200)]
    assert await run(link, *first[::2]) == {}
    again = [make(f"again {number}", event_id=each.id) for number, each in enumerate(first)]
    random.Random(1).shuffle(again)
    found = await run(link, *again)
    await link.close()
    assert found.keys() == {each.key for each in first[::2]}
    for number, each in enumerate(first):
        if number % 2 == 0:
            assert found[each.key].stored == {
                "app_id": "1",
                "id": str(each.id),
                "event_name": f"first {number}",
                "event_params": f'{{"n": {number}}}',
                "created_at": "2026-01-10T12:00:00.000Z",
                "timestamp": None,
                "idempotency_key": None,
            }
    names = await stored(database_url)
    assert [names[each.id] for each in first] == [
        f"{'again' if number % 2 else 'first'} {number}" for number in range(200)
    ]


async def test_key_stands_for_the_event_that_it_first_came_with(
    postgres: Postgres, database_url: str
) -> None:
    """Whatever id and body it comes with later; and keys, ids and both go together in a batch."""
    await clear(database_url)
    link = make_link(postgres)
    first = [make(f"first {number}", key=uuid4()) for number in range(50)]
    known = make("known")
    assert await run(link, *first, known) == {}
    retries = map(again, first)
    fresh = [make("fresh", key=uuid4()), make("fresh")]
    found = await run(link, *fresh, *retries, make("again", event_id=known.id))
    await link.close()
    assert {key: earlier.stored["id"] for key, earlier in found.items()} == {
        each.key: str(each.id) for each in (*first, known)
    }
    assert (await stored(database_url)).keys() == {each.id for each in (*first, known, *fresh)}


async def test_id_that_a_key_made_is_known_as_well(postgres: Postgres, database_url: str) -> None:
    """A client that sends it by its key and by its id in one batch is told of both."""
    await clear(database_url)
    link = make_link(postgres)
    key = uuid4()
    first = make("first", key=key)
    await run(link, first)
    found = await run(link, make("by id", event_id=first.id), make("by key", key=key))
    await link.close()
    assert [earlier.stored["id"] for earlier in found.values()] == [str(first.id)] * 2
    assert {key[:1] for key in found} == {b"i", b"k"}
    assert await stored(database_url) == {first.id: "first"}


async def test_keys_and_ids_belong_to_their_app(postgres: Postgres, database_url: str) -> None:
    """The same ones of another app are other events; also in one batch."""
    await clear(database_url)
    link = make_link(postgres)
    key = uuid4()
    mine = [make("mine", key=key), make("mine")]
    theirs = [make("theirs", app_id=2, key=key), make("theirs", app_id=2, event_id=mine[1].id)]
    assert await run(link, *mine) == {}
    assert await run(link, *theirs) == {}
    assert await run(link, *mine, *theirs) != {}
    await link.close()
    found = await fetch(database_url, "SELECT app_id, event_name FROM events ORDER BY app_id")
    assert [(row["app_id"], row["event_name"]) for row in found] == [
        (1, "mine"),
        (1, "mine"),
        (2, "theirs"),
        (2, "theirs"),
    ]


@pytest.mark.parametrize("by", ["key", "id"])
@pytest.mark.parametrize("first_is", [0, 1, 199])
async def test_first_of_several_in_one_batch_is_stored(
    postgres: Postgres, database_url: str, by: str, first_is: int
) -> None:
    """A replay brings two tries together, the later one may come first, and none is told of."""
    await clear(database_url)
    link = make_link(postgres)
    key = uuid4() if by == "key" else None
    event_id = None if by == "key" else UUID(bytes=ids.next()[0])
    tries = [
        make(
            "first" if number == first_is else "later",
            key=key,
            event_id=event_id,
            created_at=NOON
            + timedelta(seconds=number - first_is) * (number > first_is)
            + timedelta(seconds=300 - number) * (number < first_is),
        )
        for number in range(200)
    ]
    assert await run(link, *tries) == {}
    found = await run(link, make("again", key=key, event_id=event_id))
    await link.close()
    assert list((await stored(database_url)).values()) == ["first"]
    assert [earlier.stored["event_name"] for earlier in found.values()] == ["first"]


@pytest.mark.parametrize("hours", [-25, -24, -23, 0, 23, 24, 25])
async def test_key_counts_for_24_hours_both_ways(
    postgres: Postgres, database_url: str, hours: int
) -> None:
    """What was spooled for long is merged behind what was sent after it, and is another event."""
    await clear(database_url)
    link = make_link(postgres)
    key = uuid4()
    await run(link, make("one", key=key))
    found = await run(link, make("other", key=key, created_at=NOON + timedelta(hours=hours)))
    await link.close()
    is_same = abs(hours) < 24
    assert [earlier.stored["event_name"] for earlier in found.values()] == ["one"] * is_same
    assert sorted((await stored(database_url)).values()) == (
        ["one"] if is_same else ["one", "other"]
    )


async def test_tries_in_one_batch_that_are_days_apart_are_two_events(
    postgres: Postgres, database_url: str
) -> None:
    """As they would be in two."""
    await clear(database_url)
    link = make_link(postgres)
    key = uuid4()
    days = [make(f"day {day}", key=key, created_at=NOON + timedelta(days=day)) for day in (1, 0)]
    assert await run(link, *days) == {}
    await link.close()
    assert sorted((await stored(database_url)).values()) == ["day 0", "day 1"]


@pytest.mark.parametrize("held_up_at", ["key", "id"])
@pytest.mark.not_on_citus("who waits for a lock waits on a node")
async def test_merges_of_the_same_in_opposite_orders_do_not_deadlock(
    postgres: Postgres, database_url: str, held_up_at: str
) -> None:
    """Three at once, all held up in the middle: each event is stored once, told to all but one."""
    await clear(database_url)
    links = [make_link(postgres) for _ in range(3)]
    keys = sorted(uuid4() for _ in range(151))
    # Not in one batch with the keys, on which all would wait for the first.
    sent = [make(key=key) for key in keys] if held_up_at == "key" else [make() for _ in keys]
    tries = [list(map(again, sent)) for _ in links]
    holder = await asyncpg.connect(database_url, timeout=10)
    holding = holder.transaction()
    await holding.start()
    if held_up_at == "key":
        await holder.execute(RESERVE, keys[75], NOON)
    else:
        await holder.execute(INSERT, sent[75].id, NOON)
    orders = (tries[0], tries[1][::-1], random.Random(1).sample(tries[2], 151))
    merging = asyncio.gather(
        *(run(link, *order) for link, order in zip(links, orders, strict=True))
    )
    await until_true(database_url, ALL_WAIT)
    await holding.rollback()
    told = await merging
    await holder.close()
    for each in sent:
        assert sum(each.key in found for found in told) == len(links) - 1
    for link in links:
        await link.close()
    assert len(await stored(database_url)) == len(sent)


async def test_refused_row_leaves_neither_rows_nor_keys(
    postgres: Postgres, database_url: str
) -> None:
    """Its neighbours can be sent again, under the same keys, on the same link."""
    await clear(database_url)
    link = make_link(postgres)
    good = [make("good", key=uuid4()) for _ in range(10)]
    with pytest.raises(RowRefused) as refused:
        await run(link, *good[:5], make(key=uuid4(), params=BAD), *good[5:])
    assert (refused.value.index, refused.value.sqlstate) == (5, "22P05")
    assert await stored(database_url) == {}
    assert await fetch(database_url, "SELECT FROM idempotency_keys") == []
    assert await run(link, *good) == {}
    await link.close()
    assert (await stored(database_url)).keys() == {each.id for each in good}


async def test_table_may_have_columns_of_the_operator_s(own_url: str) -> None:
    """Filled by their defaults, as with COPY."""
    await fetch(own_url, "ALTER TABLE events ADD region text NOT NULL DEFAULT 'eu'")
    link = make_link(make_postgres(own_url))
    event = make("first", key=uuid4())
    assert await run(link, event) == {}
    assert len(await run(link, event)) == 1
    await link.close()
    assert [row["region"] for row in await fetch(own_url, "SELECT region FROM events")] == ["eu"]


@pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")
@pytest.mark.not_on_citus("the pooler is put before a Postgres of the tests' own")
async def test_merges_through_a_pooler_tell_the_same(cluster: Cluster, database_url: str) -> None:
    """More links than connections, the same keys at once, and nothing is left on a connection."""
    await clear(database_url)
    with running_pgbouncer(cluster, default_pool_size=2) as bouncer:
        postgres = make_postgres(bouncer.through(database_url))
        links = [make_link(postgres) for _ in range(4)]
        sent = [make(key=uuid4()) for _ in range(50)] + [make() for _ in range(50)]
        for turn in range(5):
            told = await asyncio.gather(
                *(run(link, *random.Random(turn).sample(sent, 100)) for link in links)
            )
            assert sum(map(len, told)) == (300 if turn == 0 else 400)
        for link in links:
            await link.close()
    assert (await stored(database_url)).keys() == {each.id for each in sent}
