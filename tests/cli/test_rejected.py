"""`nonito rejected`: seen without harm to the terminal, mended, stored, dropped when confirmed."""

import asyncio
import io
import json
import sys
from datetime import datetime
from functools import partial

import pytest

from ingest.delivery.events_table import EVENTS
from ingest.store import rejected
from ingest.store.embedded import find_programs
from ingest.store.rejected import Rejected
from tests.conftest import make_key
from tests.store.events import changed, empty
from tests.store.events import make_rejected as make
from tests.support.command import Nonito, complaint, succeed
from tests.support.postgres import fetch, make_postgres

BAD = r'{"text": "\u0000"}'
RAISE = (
    """CREATE FUNCTION test_raise() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE '%', NEW.event_name; END $$""",
    "CREATE TRIGGER test_raise BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION test_raise()",
)
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\n\x7f\u202ereversed\u2028"


@pytest.fixture
def database_url(shared_database_url: str) -> str:
    """The module's database without any rows; its schema is nobody's to change."""
    asyncio.run(empty(shared_database_url))
    asyncio.run(fetch(shared_database_url, "DELETE FROM rejected_events"))
    return shared_database_url


@pytest.fixture
def command(nonito: Nonito, database_url: str) -> Nonito:
    """`nonito rejected` on the module's database."""
    return partial(nonito, "--database-url", database_url, "rejected")


def add(url: str, *events: Rejected) -> None:
    """Keep rejected events."""

    async def work() -> None:
        async with make_postgres(url).session() as connection:
            await rejected.add(connection, EVENTS, events)

    asyncio.run(work())


def count(url: str, table: str) -> int:
    """Return how many rows a table has."""
    ((rows,),) = asyncio.run(fetch(url, f"SELECT count(*) FROM {table}"))
    return int(rows)


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Type an answer to the question that is to come."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_list_is_a_table_with_the_newest_first(command: Nonito, database_url: str) -> None:
    """One line an event, long texts shortened, the app by its name."""
    make_key(database_url, "shop")
    ((app_id,),) = asyncio.run(fetch(database_url, "SELECT id FROM apps"))
    older = changed(make(BAD, name="n" * 255, message="m" * 255), app_id=app_id)
    add(database_url, older)
    newer = make(BAD, name="sale", message="unsupported Unicode escape sequence")
    newer = changed(newer, app_id=app_id + 1)
    add(database_url, newer)
    ended = command("list")
    head, first, second = succeed(ended).splitlines()
    assert head.split() == ["ID", "APP", "EVENT_NAME", "SQLSTATE", "RULE", "MESSAGE", "REJECTED"]
    assert first.split()[:4] == [str(newer.id), "-", "sale", "22P05"]
    assert "unsupported Unicode escape sequence" in first
    assert second.split()[:3] == [str(older.id), "shop", "n" * 39 + "…"]
    assert len(second) < 220
    assert datetime.fromisoformat(first.split()[-1]).tzinfo is not None
    assert ended.stderr == ""


def test_list_says_when_it_is_cut_short_or_empty(command: Nonito, database_url: str) -> None:
    """On standard error, so that what is counted or read on standard output is events alone."""
    ended = command("list")
    assert (succeed(ended), ended.stderr) == ("", "No rejected events.\n")
    add(database_url, *(make() for _ in range(3)))
    ended = command("list", "--limit", "2", "--json")
    assert len(succeed(ended).splitlines()) == 2
    assert "2 of 3" in ended.stderr


def test_json_lines_hold_everything(command: Nonito, database_url: str) -> None:
    """Parameters as text, since they need not be JSON that Postgres can read."""
    event = make('{"n": 0.12345678901234567890, "bad": "\\u0000"', name=HOSTILE, message=HOSTILE)
    sent = {"timestamp": "2026-01-10T11:59:59.000001Z", "idempotency_key": str(event.id)}
    add(database_url, changed(event, **sent))
    (line,) = succeed(command("list", "--json")).splitlines()
    found = json.loads(line)
    assert datetime.fromisoformat(found.pop("rejected_at")).tzinfo is not None
    assert found == {
        "id": str(event.id),
        "app_id": 1,
        "app": "-",
        "event_name": HOSTILE,
        "event_params": event.event["event_params"],
        "created_at": "2026-01-10T12:00:00.123456Z",
        **sent,
        "sqlstate": "22P05",
        "message": HOSTILE,
        "table": "",
        "column": "",
        "constraint": "",
    }


@pytest.mark.not_on_citus("the test gives an event another app, which Citus permits nobody")
def test_hostile_text_does_not_reach_the_terminal(command: Nonito, database_url: str) -> None:
    """Neither escape sequences nor line breaks nor a change of direction; it is shown escaped."""
    add(database_url, make(HOSTILE, name=HOSTILE, message=HOSTILE))
    asyncio.run(fetch(database_url, "INSERT INTO apps (name) VALUES ($1)", HOSTILE))
    asyncio.run(fetch(database_url, "UPDATE rejected_events SET app_id = (SELECT id FROM apps)"))
    shown = [succeed(command("list")), succeed(command("list", "--json"))]
    asyncio.run(fetch(database_url, "UPDATE rejected_events SET event_params = '{}'"))
    for statement in RAISE:
        asyncio.run(fetch(database_url, statement))
    shown += [command("retry", "--all").stdout]
    asyncio.run(fetch(database_url, "DROP FUNCTION test_raise CASCADE"))
    assert [len(text.splitlines()) for text in shown] == [2, 1, 1]
    for text in shown:
        assert all(line.isprintable() for line in text.splitlines())
        assert "reversed" in text


def test_event_mended_by_hand_is_stored(command: Nonito, nonito: Nonito, database_url: str) -> None:
    """As `nonito rejected --help` says: psql, UPDATE, retry."""
    event = make(BAD)
    add(database_url, event)
    assert "UPDATE rejected_events SET event_params" in succeed(command("--help"))
    succeed(
        nonito(
            *("--database-url", database_url, "psql", "-X", "-c"),
            f"""UPDATE rejected_events SET event_params = '{{"a": 1}}' WHERE id = '{event.id}'""",
            variables={"PATH": str(find_programs())},
        )
    )
    ended = command("retry", str(event.id))
    assert succeed(ended) == f"{event.id}  stored\n"
    assert ended.stderr == "1 stored.\n"
    (row,) = asyncio.run(fetch(database_url, "SELECT id, event_params::text AS params FROM events"))
    assert (row["id"], row["params"]) == (event.id, '{"a": 1}')
    assert count(database_url, "rejected_events") == 0


def test_still_bad_event_is_told_and_the_others_are_stored(
    command: Nonito, database_url: str
) -> None:
    """The exit code is 1; each event has its line, with the reason where there is one."""
    good, bad, twice = make(), make(BAD), make()
    add(database_url, good, bad, twice)
    asyncio.run(
        fetch(database_url, "INSERT INTO events VALUES (1, $1, 'x', '{}', now())", twice.id)
    )
    ended = command("retry", "--all")
    assert ended.returncode == 1
    told = {line[:36]: line[38:] for line in ended.stdout.splitlines()}
    assert told.pop(str(bad.id)).startswith("refused again: 22P05 unsupported Unicode escape")
    assert told == {str(good.id): "stored", str(twice.id): "already stored"}
    assert sorted(ended.stderr.rstrip(".\n").split(", ")) == [
        "1 already stored",
        "1 refused again",
        "1 stored",
    ]
    assert count(database_url, "events") == 2
    assert count(database_url, "rejected_events") == 1


def test_retry_of_what_is_not_there_says_so(command: Nonito) -> None:
    """A mistyped id is no success; all of none is."""
    event_id = str(make().id)
    ended = command("retry", event_id)
    assert (ended.returncode, ended.stdout) == (1, f"{event_id}  not found\n")
    ended = command("retry", "--all")
    assert (succeed(ended), ended.stderr) == ("", "No rejected events.\n")


def test_retry_without_a_database_is_one_line(nonito: Nonito) -> None:
    """It does not say that there is nothing to retry."""
    url = "postgresql://u@127.0.0.1:1/x"
    told = complaint(nonito("--database-url", url, "rejected", "retry", "--all"))
    assert "the database failed" in told


@pytest.mark.parametrize("action", ["retry", "drop"])
def test_neither_ids_nor_all_and_both_are_refused(
    command: Nonito, database_url: str, action: str
) -> None:
    """With one line that says what to give; nothing is done."""
    event = make()
    add(database_url, event)
    for arguments in ((), (str(event.id), "--all")):
        assert "IDs that `nonito rejected list` shows, or say --all" in complaint(
            command(action, *arguments)
        )
    assert command(action, "01a2").returncode == 2
    assert count(database_url, "rejected_events") == 1


def test_drop_asks_and_drops_nothing_without_a_yes(
    command: Nonito, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says how many; no, and no answer at all, leave them there."""
    events = [make(), make()]
    add(database_url, *events)
    for text in ("n\n", "\n", ""):
        answer(monkeypatch, text)
        ended = command("drop", "--all")
        assert ended.returncode == 1
        assert "Drop 2 rejected events for good?" in ended.stderr
    assert count(database_url, "rejected_events") == 2
    answer(monkeypatch, "y\n")
    ended = command("drop", str(events[0].id))
    assert succeed(ended) == ""
    assert "Drop 1 rejected events" in ended.stderr
    assert "1 dropped." in ended.stderr
    assert count(database_url, "rejected_events") == 1


def test_drop_with_yes_does_not_ask(command: Nonito, database_url: str) -> None:
    """And says which ids were not there."""
    events = [make() for _ in range(3)]
    add(database_url, *events[:2])
    ended = command("drop", "--yes", str(events[0].id), str(events[2].id))
    assert ended.returncode == 1
    assert "1 dropped." in ended.stderr
    assert f"not among the rejected events: {events[2].id}" in ended.stderr
    assert "1 dropped." in command("drop", "--yes", "--all").stderr
    assert count(database_url, "rejected_events") == 0
