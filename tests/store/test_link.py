"""CopyLink: what it commits, and what it says of a row that Postgres refuses."""

import gc
from contextlib import suppress

import pytest

from ingest.events import copy_format
from ingest.store.failures import ROW_ERRORS, RowRefused, RowsDropped, Unavailable
from ingest.store.postgres import Postgres
from tests.store.events import Event, assert_works, copy, make_event, make_link, stored_ids
from tests.support.postgres import fetch, make_postgres
from tests.support.rows import tail

# A trigger on events that runs TG_WHEN, for each TG_LEVEL, and does BODY.
TRIGGER = """
    CREATE FUNCTION test_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
    CREATE TRIGGER test_trigger {when} INSERT ON events FOR EACH {level}
    EXECUTE FUNCTION test_trigger()
"""
RAISE = "RAISE EXCEPTION 'no' USING ERRCODE = '22003';"
JUDGE = "IF NEW.event_name = 'bad' THEN RAISE 'no'; END IF; RETURN NEW;"


def make_bad(sqlstate: str) -> Event:
    """Return an event that Postgres refuses with a SQLSTATE."""
    match sqlstate:
        case "22P02":
            return make_event(params=b'{"a":')
        case "22P05":
            return make_event(params=rb'{"a":"\u0000"}')
        case "22021":
            return make_event(name=b"\xff")
        case "22003":
            return make_event(params=b'{"a":1e200000}')
        case "22008":
            return make_event(created_at=tail((1 << 63) - 2, None, None))
        case "54001":
            return make_event(params=b"[" * 100_000 + b"]" * 100_000)
    raise AssertionError(sqlstate)


SEEN = sorted(ROW_ERRORS - {"54000"})  # that one takes a payload of 256 MB


async def test_copy_commits_exactly_its_rows(postgres: Postgres, database_url: str) -> None:
    """Every row that was sent is stored as it was sent, and nothing else."""
    events = [make_event(params=b'{"n":%d}' % number, name=b"copied") for number in range(1000)]
    link = make_link(postgres)
    await copy(link, *events)
    await link.close()
    stored = await fetch(
        database_url, "SELECT app_id, id, event_name, event_params::text AS p FROM events"
    )
    assert {(row["app_id"], row["id"], row["event_name"], row["p"]) for row in stored} == {
        (1, event.id, "copied", f'{{"n": {number}}}') for number, event in enumerate(events)
    }


async def test_copies_on_one_link_share_a_connection(own_url: str) -> None:
    """A link connects once, not for each batch."""
    await fetch(own_url, "ALTER TABLE events ADD backend int NOT NULL DEFAULT pg_backend_pid()")
    link = make_link(make_postgres(own_url))
    for _ in range(3):
        await copy(link, make_event())
    await link.close()
    (row,) = await fetch(
        own_url, "SELECT count(*) AS sent, count(DISTINCT backend) AS used FROM events"
    )
    assert (row["sent"], row["used"]) == (3, 1)


@pytest.mark.parametrize("sqlstate", SEEN)
async def test_refused_row_is_named_by_its_index_and_nothing_is_stored(
    postgres: Postgres, database_url: str, sqlstate: str
) -> None:
    """The error carries the row's index, the SQLSTATE and Postgres's message; the link works."""
    link = make_link(postgres)
    batch = [make_event() for _ in range(5)]
    batch[3] = make_bad(sqlstate)
    with pytest.raises(RowRefused) as refused:
        await copy(link, *batch)
    assert (refused.value.index, refused.value.sqlstate) == (3, sqlstate)
    assert refused.value.message
    assert refused.value.is_told
    assert await stored_ids(database_url) == set()
    await assert_works(link, database_url)
    await link.close()


@pytest.mark.parametrize("index", [0, 1, 6])
async def test_first_and_last_row_are_named_too(
    postgres: Postgres, database_url: str, index: int
) -> None:
    """Indexes start from 0 and reach to the last row."""
    link = make_link(postgres)
    batch = [make_event() for _ in range(7)]
    batch[index] = make_bad("22P05")
    with pytest.raises(RowRefused) as refused:
        await copy(link, *batch)
    assert refused.value.index == index
    await assert_works(link, database_url)
    await link.close()


async def test_first_of_several_bad_rows_is_named(postgres: Postgres, database_url: str) -> None:
    """Taking out one row after the other comes to an end with the good ones stored."""
    link = make_link(postgres)
    good = [make_event() for _ in range(2)]
    batch = [make_bad("22003"), good[0], make_bad("22P05"), good[1], make_bad("22021")]
    found = []
    while len(batch) > 2:
        with pytest.raises(RowRefused) as refused:
            await copy(link, *batch)
        assert refused.value.index is not None
        found.append(refused.value.sqlstate)
        del batch[refused.value.index]
    await copy(link, *batch)
    await link.close()
    assert found == ["22003", "22P05", "22021"]
    assert await stored_ids(database_url) == {event.id for event in good}


async def test_row_that_the_error_does_not_name_is_refused_without_an_index(own_url: str) -> None:
    """An error of the whole statement names no line; the caller has to search."""
    link = make_link(make_postgres(own_url))
    trigger = TRIGGER.format(when="AFTER", level="STATEMENT", body=RAISE)
    await fetch_script(own_url, trigger)
    with pytest.raises(RowRefused) as refused:
        await copy(link, make_event(), make_event())
    assert refused.value.index is None
    await fetch(own_url, "DROP TRIGGER test_trigger ON events")
    await assert_works(link, own_url)
    await link.close()


async def fetch_script(url: str, script: str) -> None:
    """Run several statements."""
    await fetch(url, f"DO $do$ BEGIN EXECUTE $script${script}$script$; END $do$")


@pytest.mark.parametrize(
    ("rule", "sqlstate"),
    [
        (TRIGGER.format(when="BEFORE", level="ROW", body=JUDGE), "P0001"),
        ("ALTER TABLE events ADD CONSTRAINT test_named CHECK (event_name <> 'bad')", "23514"),
    ],
    ids=["trigger", "CHECK"],
)
async def test_row_that_the_operator_s_own_rule_refuses_is_named_and_not_for_its_data(
    own_url: str, rule: str, sqlstate: str
) -> None:
    """A COPY of no rows, as a probe is, can't be refused for a row."""
    await fetch_script(own_url, rule)
    link = make_link(make_postgres(own_url))
    with pytest.raises(RowRefused) as refused:
        await copy(link, make_event(), make_event(name=b"bad"), make_event())
    found = refused.value
    assert (found.index, found.sqlstate, found.is_told) == (1, sqlstate, False)
    assert await stored_ids(own_url) == set()
    await copy(link)
    await assert_works(link, own_url)
    await link.close()


async def test_trigger_that_drops_rows_is_not_taken_for_success(own_url: str) -> None:
    """A COPY whose tag counts fewer rows than were sent is no success, and blames no row yet."""
    link = make_link(make_postgres(own_url))
    trigger = TRIGGER.format(when="BEFORE", level="ROW", body="RETURN NULL;")
    await fetch_script(own_url, trigger)
    with pytest.raises(RowsDropped) as failed:
        await copy(link, make_event())
    event = make_event()
    document = copy_format.document([event.row])
    assert (failed.value.sqlstate, failed.value.index) == ("02000", None)
    assert not failed.value.is_told
    assert await link.missing([(1, event.id)]) == {0}
    for has_keys in (False, True):
        with pytest.raises(RowRefused, match="dropped"):
            await link.merge(document, 1, has_keys=has_keys)
        sifted = await link.sift(document, 1, has_keys=has_keys)
        assert [bad.sqlstate for bad in sifted.refused.values()] == ["02000"]
    await link.probe()
    await fetch(own_url, "DROP TRIGGER test_trigger ON events")
    await assert_works(link, own_url)
    await link.close()


async def test_id_that_was_committed_before_may_be_stored(
    postgres: Postgres, database_url: str
) -> None:
    """A unique violation means an earlier try was committed: its outcome is not `not stored`."""
    link = make_link(postgres)
    event = make_event()
    await copy(link, event)
    with pytest.raises(Unavailable) as failed:
        await copy(link, event)
    assert failed.value.stored is None
    assert await stored_ids(database_url) == {event.id}
    await assert_works(link, database_url)
    await link.close()


def refusals() -> set[int]:
    """Return which there are, by id(); those of other tests among them."""
    return {id(found) for found in gc.get_objects() if isinstance(found, RowRefused)}


async def test_refused_row_leaves_no_cycle_that_holds_the_document(postgres: Postgres) -> None:
    """What was raised is gone with its last reference: a collection is rare, a document large."""
    link = make_link(postgres)
    gc.collect()
    known = refusals()
    gc.disable()
    try:
        with suppress(RowRefused):
            await copy(link, make_event(), make_bad("22P05"))
        held = refusals() - known
    finally:
        gc.enable()
    await link.close()
    assert held == set()
