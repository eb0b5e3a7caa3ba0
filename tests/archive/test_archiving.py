"""What is archived: each event once, whatever its parameters are, in files that count."""

import asyncio
import contextlib
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from ingest.archive import carrying, directory, merging, passes, state, writing
from ingest.archive.failures import (
    ArchiveTrouble,
    NotReady,
    Occupied,
    Overtaken,
    PostgresTrouble,
)
from ingest.archive.portion import Portion
from ingest.archive.scope import Scope
from ingest.archive.view import Views
from tests.archive.archiving import (
    APP,
    MEMORY_MAX,
    archive,
    ask,
    assert_exact,
    files,
    insert,
    make_archiver,
    new_id,
    seen,
    store,
    tail_rows,
    verify,
    workspace_of,
)

HOSTILE = [
    "{}",
    "null",  # no server stores it
    '{"": 1, "a": {"": []}}',
    '{"A": 1, "a": 2, "Ä": 3, "ä": 4}',
    '{"a.b": 1, "a\\"b": 2, "a\'b": 3, "$": 4, "\\\\": 5, "a b": 6, "STRUCT(": 7, "--": 8}',
    '{"typed_value": 1, "value": {"typed_value": 2}, "metadata": [], "list": 1, "element": 2}',
    '{"n": 9223372036854775807, "m": -9223372036854775808}',
    '{"n": 9223372036854775808, "m": -9223372036854775809}',
    '{"n": 18446744073709551615, "m": 18446744073709551616, "k": [9999999999999999999, 1]}',
    '{"n": "9223372036854775808", "m": ": 9223372036854775808}", "k": [" 9999999999999999999,"]}',
    '{"n": 1e308, "m": -1e308, "k": 5e-324, "j": 0.1234567890123456789}',
    f'{{"n": 1{"0" * 399}, "m": -{"9" * 309}.5, "k": "{"9" * 400}"}}',
    '{"n": 12345678901234567890123456789012345678901234567890, "m": 1.10, "k": 100000}',
    '{"s": "\\ud83d\\ude00 \\u202e \\ufeff \\uffff \\u0001 \\u007f é Infinity NaN"}',
    f'{{"a": {"[" * 60}{"]" * 60}}}',
    '{"a":' * 60 + "1" + "}" * 60,
    '{"a":' * 900 + "1" + "}" * 900,
    orjson.dumps({f"key{n}": n for n in range(10_000)}).decode(),
    orjson.dumps({"long": "x" * 1_000_000}).decode(),
    orjson.dumps({f"id{n}": {"n": [n, None, True, {"x": n / 7}]} for n in range(200)}).decode(),
    '{"user_id": null}',
    '{"user_id": {"a": 1}}',
    '{"user_id": 12345678901234567890}',
]


def test_hostile_parameters_neither_stop_the_archive_nor_change(url: str, path: Path) -> None:
    """Each event is counted, with what a double can hold of its numbers, in archive and tail."""
    store(url, HOSTILE)
    archive(url, path)
    store(url, HOSTILE)
    assert tail_rows(url, path) == len(HOSTILE)
    assert_exact(url, path)
    archive(url, path)
    assert tail_rows(url, path) == 0
    assert_exact(url, path)


def test_each_kind_of_number_keeps_its_value(url: str, path: Path) -> None:
    """Also in a file of many, where parameters have columns of their own."""
    numbers = ["0", "-1", "1.5", "9223372036854775807", "18446744073709551615", "true", '"5"']
    store(url, [f'{{"n": {each}}}' for each in numbers * 200])
    archive(url, path)
    kept = sorted(set(seen(url, path, "params['n']::JSON::VARCHAR")))
    assert kept == sorted(
        ["0", "-1", "1.5", "9223372036854775807", "18446744073709552000.0", "true", '"5"']
    )


def test_distinct_names_make_no_columns(url: str, path: Path) -> None:
    """Ten thousand parameters that nobody sends twice cost neither time nor room."""
    store(url, [{f"id{n}_{m}": m for m in range(10)} for n in range(1_000)])
    archive(url, path)
    assert sum(each.stat().st_size for each in files(path)) < 500_000
    assert_exact(url, path)


def test_parameters_that_print_endlessly_are_left_out_and_their_event_counts(
    url: str, path: Path
) -> None:
    """What jsonb prints in megabytes was sent in kilobytes."""
    store(url, [{"numbers": [1], "n": 1}])
    bomb = (
        "jsonb_build_object('n', (SELECT jsonb_agg(1e307::numeric) FROM generate_series(1, 20000)))"
    )
    ask(url, f"UPDATE events SET event_params = {bomb}")
    store(url, [{"n": 1}])
    archive(url, path)
    assert sorted(seen(url, path, "params::JSON::VARCHAR")) == ['{"n":1}', "{}"]
    assert_exact(url, path)


def test_person_is_the_text_of_the_user_field(url: str, path: Path) -> None:
    """Of whatever scalar it is, in files and tail, and of another field once that is set."""
    documents = [{"user_id": "u", "mail": "m"}, {"user_id": 7}, {"user_id": None}, {"mail": 1.5}]
    store(url, documents)
    archive(url, path)
    store(url, documents)
    expected = sorted(["u", "7", "", ""] * 2)
    assert sorted(seen(url, path, "coalesce(person, '')")) == expected
    ask(url, "UPDATE apps SET user_field = 'mail'")
    expected = sorted(["m", "1.5", "", ""] * 2)
    assert sorted(seen(url, path, "coalesce(person, '')")) == expected


def test_apps_are_apart(url: str, path: Path) -> None:
    """No question of one sees an event of another."""
    store(url, [{"n": 1}] * 3)
    others = store(url, [{"n": 2}] * 2, app_id=2)
    archive(url, path)
    store(url, [{"n": 1}])
    assert len(seen(url, path)) == 4
    assert sorted(seen(url, path, app_id=2)) == sorted(map(str, others))
    assert seen(url, path, app_id=3) == []


def test_time_is_when_it_happened(url: str, path: Path) -> None:
    """`at` is the client's time, or that of receipt; impossible ones stop nothing."""
    store(url, [{}] * 4)
    times: list[Any] = ["2026-01-10 12:00:00.123456+00", None, "infinity", "-infinity"]
    ids = [row[0] for row in ask(url, "SELECT id FROM events ORDER BY id")]
    for event_id, each in zip(ids, times, strict=True):
        ask(
            url,
            f"UPDATE events SET timestamp = '{each}' WHERE id = $1" if each else "SELECT $1::uuid",
            event_id,
        )
    archive(url, path)
    found = sorted(seen(url, path, 'epoch_us("at")'))
    moment = datetime(2026, 1, 10, 12, 0, 0, 123456, tzinfo=UTC)
    assert found[1] == round(moment.timestamp() * 1_000_000)
    assert found[2] == pytest.approx(time.time() * 1_000_000, abs=3600e6)
    assert_exact(url, path)


def test_view_reads_files_of_the_range_only(url: str, path: Path) -> None:
    """The manifest tells which they are."""
    store(url, [{}] * 3)
    archive(url, path)
    views = Views(url, path, memory_max=128 << 20, threads=1)
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    with views.view(1, Scope(now - hour, now + hour)) as view:
        assert len(view.sources) == 2
    with views.view(1, Scope(now - 2 * hour, now - hour)) as view:
        assert view.sources == ("tail",)
        assert view.as_of >= now
        assert view.known.ends is None
    views.rest()


def test_view_knows_when_its_first_and_last_event_happened(url: str, path: Path) -> None:
    """In files, in the tail, and in both."""
    archive(url, path)
    views = Views(url, path, memory_max=MEMORY_MAX, threads=1)
    for is_archived in (False, True, False):
        store(url, [{}] * 2)
        if is_archived:
            archive(url, path)
        with views.view(app_id=APP) as view:
            times = " UNION ALL ".join(f'SELECT "at" FROM {each}' for each in view.sources)
            sql = f'SELECT epoch_us(min("at")), epoch_us(max("at")) FROM ({times})'
            ((first, last),) = view.connection.execute(sql).fetchall()
            ends = view.known.ends
        assert ends is not None
        assert [each.timestamp() * 1_000_000 for each in ends] == [first, last + 1]
    views.rest()


def test_old_rows_and_an_archive_begun_anew_go_in_slices(url: str, path: Path) -> None:
    """Those from before the column by id, others by transaction; between two, all is exact."""
    store(url, [{"n": n} for n in range(300)])
    ask(url, "UPDATE events SET xact = NULL")
    store(url, [{"n": n} for n in range(50)], app_id=2)
    for n in range(20):
        store(url, [{"n": n}] * 5)
    archiver = make_archiver(url, path)
    archiver._passed = Portion(40)
    archiver.round()
    assert archiver.figures.passes >= 8
    assert_exact(url, path)
    assert tail_rows(url, path) == 0


def test_question_is_refused_while_too_much_is_not_archived(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than answered late, or without it."""
    monkeypatch.setattr("ingest.archive.tail.ROWS_MAX", 5)
    with pytest.raises(NotReady, match="no archive"):
        seen(url, path)
    archive(url, path)
    store(url, [{}] * 6)
    with pytest.raises(NotReady, match="more than 5"):
        seen(url, path)


def test_small_files_are_merged(url: str, path: Path) -> None:
    """Eight of a size make one, sorted by time if none has a person; its parts go after a while."""
    for n in range(merging.FAN):
        store(url, [{"n": n}] * 3)
        archive(url, path)
    assert ask(url, "SELECT count(*), sum(rows)::int FROM archive_files") == [(1, 24)]
    assert len(files(path)) == merging.FAN + 1
    assert_exact(url, path)
    found = seen(url, path, 'epoch_us("at")')
    assert found == sorted(found)
    for each in files(path):
        os.utime(each, (0, 0))
    archive(url, path)
    assert len(files(path)) == 1
    assert_exact(url, path)


def test_merged_events_are_sorted_by_person_within_spans_of_time(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that those of one person lie together, and those of a day not all over the file."""
    monkeypatch.setattr(writing, "SPAN_ROWS", 20)
    for n in range(merging.FAN):
        store(url, [{"user_id": f"u{(n + each) % 3}"} for each in range(5)])
        archive(url, path)
    times = seen(url, path, 'epoch_us("at")')
    people = seen(url, path, "person")
    assert len(files(path)) == merging.FAN + 1
    middle = (min(times) + max(times)) // 2
    spans: list[list[str]] = [[], []]
    for us, person in zip(times, people, strict=True):
        spans[us > middle].append(person)
    assert times != sorted(times)
    assert people == [*spans[0], *spans[1]]
    assert spans == [sorted(span) for span in spans]
    assert_exact(url, path)


def test_only_what_is_nobodys_and_old_is_deleted(url: str, path: Path) -> None:
    """Not what another process is writing, or what a question may still read."""
    store(url, [{}])
    archive(url, path)
    (named,) = files(path)
    old = [named.with_name(name) for name in ("app1-a.parquet", "app1-b.parquet.unfinished")]
    young = named.with_name("app1-c.parquet.unfinished")
    for each in (*old, young):
        each.write_bytes(b"x")
    for each in (named, *old):
        os.utime(each, (time.time() - directory.GRACE_S - 60,) * 2)
    archive(url, path)
    assert set(files(path)) == {named, young}


def test_two_archivers_at_once_archive_each_event_once(url: str, path: Path) -> None:
    """One has the lock; the other is told that it is occupied, and changes nothing."""
    store(url, [{}] * 10)
    archive(url, path)
    store(url, [{}] * 10)
    first, second = workspace_of(url, path), workspace_of(url, path)
    place = directory.Directory(path, files(path)[0].parent.name)
    with first.transaction(30, commits=False):
        passes.lock(first)
        with pytest.raises(Occupied):
            passes.archive(second, place)
    assert passes.archive(second, place).rows == 10
    assert passes.archive(first, place).rows == 0
    first.close()
    second.close()
    assert_exact(url, path)


def test_mark_that_moved_meanwhile_is_not_moved_twice(url: str, path: Path) -> None:
    """Whatever has become of the lock: the commit names the mark that it began with."""
    store(url, [{}])
    archive(url, path)
    late, other = workspace_of(url, path), workspace_of(url, path)
    marks: list[int] = []

    def overtake() -> None:
        with late.transaction(30, commits=True):
            found = state.read(late)
            marks.append(found.mark)
            with other.transaction(30, commits=True):
                state.advance(other, state.read(other), found._replace(mark=found.mark + 5))
            state.advance(late, found, found._replace(mark=found.mark + 9))

    with pytest.raises((Overtaken, PostgresTrouble)):
        overtake()
    late.close()
    other.close()
    assert ask(url, "SELECT mark FROM archive_state") == [(marks[0] + 5,)]


def test_nothing_is_archived_before_its_transaction_and_older_ones_have_ended(
    url: str, path: Path
) -> None:
    """An open transaction that has written keeps what is newer in the tail."""

    async def work() -> None:
        connection = await asyncpg.connect(url)
        transaction = connection.transaction()
        await transaction.start()
        await insert(connection, [new_id()])
        await asyncio.to_thread(store, url, [{}] * 3)
        await asyncio.to_thread(archive, url, path)
        assert await asyncio.to_thread(tail_rows, url, path) == 3
        assert len(await asyncio.to_thread(seen, url, path)) == 3
        await transaction.commit()
        await connection.close()

    asyncio.run(work())
    archive(url, path)
    assert tail_rows(url, path) == 0
    assert_exact(url, path)
    assert verify(url, path).events == 4


def test_questions_reach_no_other_file_and_no_network(url: str, path: Path) -> None:
    """Whatever text a question brings in: DuckDB is locked to the archive's directory."""
    archive(url, path)
    with contextlib.closing(workspace_of(url, path)) as workspace:
        for statement in (
            "SELECT * FROM read_csv('/etc/passwd')",
            "COPY (SELECT 1) TO '/tmp/out.csv'",
            "ATTACH '/tmp/other.db'",
            "INSTALL httpfs",
            "SET enable_external_access = true",
        ):
            with pytest.raises(ArchiveTrouble), workspace.judging():
                workspace.duck.execute(statement)


@pytest.mark.parametrize("held", ["retention", "events_default"])
async def test_snapshot_has_what_was_committed_while_locks_were_waited_for(
    held: str, url: str, path: Path
) -> None:
    """A partition that is dropped or attached meanwhile would be in neither place otherwise."""

    def count() -> int:
        with (
            contextlib.closing(workspace_of(url, path)) as workspace,
            workspace.transaction(30, commits=True, lock=carrying.LOCK),
        ):
            return int(workspace.rows("SELECT count(*) FROM events")[0][0])

    connection = await asyncpg.connect(url, timeout=10)
    async with connection.transaction():
        await connection.execute(f"LOCK TABLE {held} IN ACCESS EXCLUSIVE MODE")
        counting = asyncio.create_task(asyncio.to_thread(count))
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        while not await connection.fetchval(waits):  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)
        await insert(connection, [new_id()])
    await connection.close()
    assert await counting == 1
