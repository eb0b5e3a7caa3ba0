"""The committer against a real Postgres: every row is stored once, or known to be refused."""

from collections.abc import AsyncIterator
from unittest.mock import patch
from uuid import UUID

import pytest

from ingest.delivery.commit import Commit
from ingest.delivery.committer import _WAIT_TRIES, MERGES, PART_ROWS_MAX, Committer
from ingest.delivery.events_table import EVENTS
from ingest.events import copy_reader
from ingest.events.ids import moved
from ingest.store import failures
from ingest.store.failures import RowRefused, Unavailable
from ingest.store.partitions import Partitions
from ingest.store.postgres import Postgres
from tests.delivery.rules import script, trigger
from tests.delivery.surroundings import (
    BAD,
    CHECK,
    GOOD,
    BreakingLink,
    CountingLink,
    count,
    ids,
    make_row,
    make_rows,
)
from tests.support.postgres import fetch, make_postgres

PARTITIONS = (
    "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'events'::regclass"
)


@pytest.fixture
async def link(postgres: Postgres) -> AsyncIterator[BreakingLink]:
    """A link to the test's database."""
    made = BreakingLink(postgres, EVENTS)
    yield made
    await made.close()


@pytest.fixture
async def own_link(own_url: str) -> AsyncIterator[BreakingLink]:
    """A link to a database whose schema the test may change."""
    made = BreakingLink(make_postgres(own_url), EVENTS)
    yield made
    await made.close()


def full(link: CountingLink, url: str, part_rows_max: int = PART_ROWS_MAX) -> Committer:
    """Return a committer for rows of any time, which may have been sent before."""
    partitions = Partitions(make_postgres(url), "month", 1)
    return Committer(
        link,
        partitions=partitions,
        merges=MERGES,
        wants_earlier=True,
        part_rows_max=part_rows_max,
    )


async def stored(url: str) -> list[bytes]:
    """Return the id of every stored event, in order."""
    found = await fetch(url, "SELECT id FROM events ORDER BY id")
    return [UUID(str(row["id"])).bytes for row in found]


def ids_of(rows: list[bytes]) -> list[bytes]:
    """Return the id of each row, in order."""
    return sorted(copy_reader.identity(row)[4:] for row in rows)


async def test_rows_without_a_fault_cost_one_copy(link: BreakingLink, database_url: str) -> None:
    """And none costs nothing."""
    commit, nothing = Commit(make_rows(1000)), Commit([])
    assert not commit.is_clean
    assert commit.unstored == set(range(1000))
    for each in (commit, nothing):
        await Committer(link).run(each)
        assert each.is_clean
        assert each.unstored == set()
    assert (link.copies, link.merges, await count(database_url)) == (1, 0, 1000)


@pytest.mark.parametrize("place", [0, 1, 500, 999])
async def test_refused_row_that_is_named_costs_two_copies(
    link: BreakingLink, database_url: str, place: int
) -> None:
    """Its neighbours are stored with the second."""
    rows = make_rows(1000)
    rows[place] = make_row(BAD)
    commit = Commit(rows)
    await Committer(link).run(commit)
    assert (link.copies, link.merges) == (2, 0)
    assert (commit.parts, commit.is_clean, commit.unstored) == ([], False, {place})
    assert (commit.refused[place].sqlstate, commit.refused[place].is_told) == ("22P05", True)
    assert await stored(database_url) == ids_of(rows[:place] + rows[place + 1 :])


async def test_rest_is_sent_in_parts_behind_a_refusal(
    link: BreakingLink, database_url: str
) -> None:
    """Another refused row then costs the COPY of its part only."""
    rows = make_rows(100)
    rows[3], rows[95] = make_row(BAD), make_row(BAD)
    commit = Commit(rows)
    await Committer(link, part_rows_max=10).run(commit)
    assert commit.refused.keys() == {3, 95}
    assert link.copies == 1 + 10 + 1
    assert await count(database_url) == 98


@pytest.mark.parametrize("has_keys", [False, True])
@pytest.mark.parametrize("places", [{0}, {16}, {7}, {0, 1}, {3, 9, 16}, set(range(17))])
async def test_refused_rows_that_the_error_does_not_name_are_found_in_halves(
    link: BreakingLink, database_url: str, places: set[int], *, has_keys: bool
) -> None:
    """Their neighbours are stored exactly once, also where each part is merged."""
    rows = [
        make_row(BAD if place in places else GOOD, key=bytes([place] * 16) if has_keys else None)
        for place in range(17)
    ]
    commit = Commit(rows)
    with patch.object(failures, "_row_index", lambda *_: None):
        await full(link, database_url).run(commit)
    assert commit.refused.keys() == places
    assert commit.parts == []
    assert await stored(database_url) == ids_of(
        [row for place, row in enumerate(rows) if place not in places]
    )
    assert commit.earlier == []


@pytest.mark.parametrize("is_patient", [False, True])
async def test_row_that_a_check_refuses_is_sent_alone_before_it_is_given_up(
    own_link: BreakingLink, own_url: str, *, is_patient: bool
) -> None:
    """While somebody waits it costs two COPYs; a sender is not told that its row is bad."""
    await fetch(own_url, CHECK)
    rows = make_rows(10)
    rows[4] = make_row(name=b"wrong")
    commit = Commit(rows)
    await Committer(own_link, is_patient=is_patient).run(commit)
    assert own_link.copies == 2 + is_patient
    (bad,) = commit.refused.values()
    assert (bad.sqlstate, bad.is_told, commit.unstored) == ("23514", False, {4})
    assert await stored(own_url) == ids_of(rows[:4] + rows[5:])


async def test_row_that_is_blamed_for_its_neighbours_is_stored(
    own_link: BreakingLink, own_url: str
) -> None:
    """A trigger may judge a row by what came before it: alone it is good."""
    await fetch(
        own_url,
        "DO $do$ BEGIN EXECUTE $script$"
        " CREATE FUNCTION test_judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF (SELECT count(*) FROM events WHERE xmin = pg_current_xact_id()::xid) >= 3"
        " THEN RAISE 'too many'; END IF; RETURN NEW; END $$;"
        " CREATE TRIGGER test_judge BEFORE INSERT ON events"
        " FOR EACH ROW EXECUTE FUNCTION test_judge() $script$; END $do$",
    )
    rows = make_rows(10)
    commit = Commit(rows)
    await Committer(own_link, is_patient=True).run(commit)
    assert commit.is_clean
    assert await stored(own_url) == ids_of(rows)


async def test_run_ends_behind_too_many_failures_that_nobody_is_told(
    own_link: BreakingLink, own_url: str
) -> None:
    """What is known by then is told of, and nothing of the rest is stored or forgotten."""
    await fetch(own_url, CHECK)
    commit = Commit(make_rows(2000, name=b"wrong"))
    await Committer(own_link).run(commit, failures_max=4)
    assert own_link.copies + own_link.sifts <= 10
    assert sorted([*commit.pending, *commit.refused]) == list(range(2000))
    assert commit.pending
    assert commit.refused
    await Committer(own_link).run(commit)
    assert commit.refused.keys() == set(range(2000))
    assert await count(own_url) == 0


async def test_refusals_that_are_told_end_no_run(link: BreakingLink, database_url: str) -> None:
    """Their senders have an answer with each."""
    commit = Commit([make_row(BAD if place % 2 else GOOD) for place in range(60)])
    await Committer(link).run(commit, failures_max=5)
    assert (len(commit.refused), commit.parts) == (30, [])
    assert await count(database_url) == 30


@pytest.mark.parametrize(
    "wrong", [{1, 2, 3}, {0, 500, 999}, set(range(0, 1000, 7)), set(range(1000))]
)
async def test_many_refused_rows_are_sifted(
    own_link: BreakingLink, own_url: str, wrong: set[int]
) -> None:
    """At a price that does not grow with how many they are; each with what Postgres named."""
    await fetch(own_url, CHECK)
    rows = [make_row(name=b"wrong" if place in wrong else b"name") for place in range(1000)]
    commit = Commit(rows)
    await Committer(own_link).run(commit)
    assert own_link.copies + own_link.sifts <= 12
    assert commit.refused.keys() == wrong
    assert {bad.sqlstate for bad in commit.refused.values()} == {"23514"}
    assert {bad.named.constraint for bad in commit.refused.values()} == {"test_named"}
    assert await stored(own_url) == ids_of(
        [row for place, row in enumerate(rows) if place not in wrong]
    )


async def test_few_refused_rows_among_many_are_taken_out_by_their_lines(
    own_link: BreakingLink, own_url: str
) -> None:
    """To sift all others for them takes ten times as long as to store them."""
    await fetch(own_url, CHECK)
    rows, bad = make_rows(3000), {7, 600, 1500, 2100, 2999}
    for index in bad:
        rows[index] = make_row(name=b"wrong")
    commit = Commit(rows)
    await full(own_link, own_url, part_rows_max=500).run(commit)
    assert commit.refused.keys() == bad
    assert own_link.sifts == 0
    assert await count(own_url) == len(rows) - len(bad)


@pytest.mark.parametrize("goes_at", range(1, 9))
async def test_what_is_known_stays_known_when_postgres_goes_away(
    link: BreakingLink, database_url: str, goes_at: int
) -> None:
    """Exactly the others are pending, and a second run finishes them."""
    rows = make_rows(40)
    rows[5], rows[25] = make_row(BAD), make_row(BAD)
    commit, committer = Commit(rows), Committer(link, part_rows_max=10)
    link.goes_at = goes_at
    is_over = False
    try:
        await committer.run(commit)
        is_over = True
    except Unavailable:
        pass
    pending = [index for part in commit.parts for index in part.indices]
    assert len(pending) == len(set(pending))
    assert commit.unstored == {*pending, *commit.refused}
    known = [row for index, row in enumerate(rows) if index not in commit.unstored]
    assert await stored(database_url) == ids_of(known)
    assert is_over == (not pending)
    link.goes_at = 0
    await committer.run(commit)
    assert commit.refused.keys() == {5, 25}
    assert await count(database_url) == 38


async def test_row_that_an_index_of_the_operator_s_refuses_is_one_refusal(
    own_link: BreakingLink, own_url: str
) -> None:
    """It names no line in a merge and no key of ours conflicts; its neighbours are stored."""
    for partition in await fetch(own_url, PARTITIONS):
        await fetch(own_url, f"CREATE UNIQUE INDEX ON {partition['name']} (event_name)")
    await Committer(own_link).run(Commit([make_row(name=b"first")]))
    rows = [make_row(name=b"%d" % number) for number in range(17)]
    rows[11] = make_row(name=b"first")
    commit = Commit(rows)
    await full(own_link, own_url).run(commit)
    (bad,) = commit.refused.values()
    assert (bad.sqlstate, bad.is_told, commit.unstored) == ("23505", False, {11})
    assert await count(own_url) == 17


async def test_rows_that_are_stored_are_told_if_that_is_wanted(
    link: BreakingLink, database_url: str
) -> None:
    """By their keys, whichever part they came in."""
    rows = make_rows(20)
    await Committer(link).run(Commit(rows[::2]))
    quiet, telling = Commit(rows[:10]), Commit([*rows, make_row(BAD)])
    await Committer(link).run(quiet)
    assert (quiet.is_clean, quiet.earlier) == (True, [])
    await full(link, database_url, part_rows_max=4).run(telling)
    assert telling.unstored == {20}
    found = [each.key for each in telling.earlier]
    assert sorted(found) == sorted(map(copy_reader.dedup_key, rows[:10] + rows[10::2]))
    assert await count(database_url) == 20


async def test_merges_stop_behind_so_many_documents_without_a_duplicate(
    link: BreakingLink, database_url: str
) -> None:
    """Each duplicate begins them anew; without `merges` the next document is copied at once."""
    known = make_row()
    committer = full(link, database_url)
    for rows in ([known], [known], *([make_row()] for _ in range(5)), [known]):
        await committer.run(Commit(rows))
    assert (link.copies, link.merges) == (2, 1 + 5 + 1)
    for _ in range(MERGES + 3):
        await committer.run(Commit([make_row()]))
    assert (link.copies, link.merges) == (2 + 3, 7 + MERGES)
    plain = Committer(link)
    for rows in ([known], [make_row()]):
        await plain.run(Commit(rows))
    assert (link.copies, link.merges) == (5 + 2, 7 + MERGES + 1)


async def test_row_of_the_past_has_its_partition_made(
    link: BreakingLink, database_url: str
) -> None:
    """Before it is sent."""
    event_id = moved(ids.next()[0], 1_600_000_000_000)
    commit = Commit([make_row(event_id=event_id)])
    await full(link, database_url).run(commit)
    assert commit.is_clean
    names = {row["name"] for row in await fetch(database_url, PARTITIONS)}
    assert "events_20200901_20200930" in names


async def test_app_of_rows_that_take_a_time_out_is_told_before_each_of_them_is_found(
    own_url: str,
) -> None:
    """One more for each row may be a minute; and it is told of nobody else's."""
    await script(own_url, trigger("PERFORM pg_sleep(30);"))
    link, told = CountingLink(make_postgres(own_url, 0.5), EVENTS), list[int]()
    rows = [make_row(name=b"wrong", app_id=7) for _ in range(3)]
    commit = Commit([*rows, make_row(app_id=8)], told.append)
    await Committer(link, is_patient=True).run(commit, failures_max=2 * _WAIT_TRIES)
    await link.close()
    assert told == [7]
    assert commit.refused == {}
    assert commit.pending == {0, 1, 2}


async def test_refused_row_keeps_no_document(link: BreakingLink) -> None:
    """Only what the error says is kept with the commit: a document may have some MiB."""
    commit = Commit([make_row(), make_row(BAD)])
    await Committer(link).run(commit)
    (bad,) = commit.refused.values()
    assert isinstance(bad, RowRefused)
    assert bad.__traceback__ is None
