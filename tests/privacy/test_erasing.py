"""Somebody is erased from everywhere, and nobody else is touched."""

import asyncio
import json
from pathlib import Path
from urllib.parse import urlencode

import pytest

from ingest.archive import writing
from ingest.archive.directory import Directory
from ingest.archive.manifest import File
from ingest.archive.workspace import Workspace
from ingest.archive.writing import Source
from tests.archive.archiving import (
    APP,
    archive,
    ask,
    assert_exact,
    files,
    make_archiver,
    new_id,
    seen,
    store,
)
from tests.privacy.erasing import erase, everywhere
from tests.support.postgres import fetch

EVE = "eve-7f3a"
NEIGHBOURS = ("Eve-7f3a", "eve-7f3", "eve-7f3a1", " eve-7f3a", "eve", "ada")
EVENTS = "SELECT app_id, id, event_name, event_params::text, created_at FROM events ORDER BY 1, 2"


def reject(url: str, params: str, key: object = None, app_id: int = APP) -> object:
    """Keep a rejected event; return its id."""
    event_id = new_id()
    asyncio.run(
        fetch(
            url,
            "INSERT INTO rejected_events (app_id, id, event_name, event_params, created_at,"
            " sqlstate, message, idempotency_key) VALUES ($1, $2, 'r', $3, now(), '22P02', '', $4)",
            app_id,
            event_id,
            params,
            key,
        )
    )
    return event_id


def is_eves(params: str) -> bool:
    """Whether an event with these parameters is hers, under whichever id."""
    found = json.loads(params)
    return {found.get("user_id"), found.get("$user_id"), found.get("$anonymous_id")} & {
        EVE,
        "anon-19c",
    } != set()


def of_many(person: str) -> list[dict[str, object]]:
    """Return some events' parameters."""
    return [{"user_id": person, "n": n} for n in range(5)]


def test_person_is_gone_from_everywhere_and_nobody_else_is(url: str, path: Path) -> None:
    """Files small and merged, the tail, what was refused, links; another app's has the same id."""
    archiver = make_archiver(url, path)
    for n in range(9):
        store(url, [*of_many(EVE), *of_many(NEIGHBOURS[n % len(NEIGHBOURS)])])
        store(url, of_many(EVE), app_id=2)
        archiver.round()
    store(url, [{"$user_id": EVE, "$anonymous_id": "anon-19c"}, {"$anonymous_id": "anon-19c"}])
    archiver.round()
    store(url, [{"user_id": EVE, "where": "tail"}, {"user_id": "ada", "where": "tail"}])
    reject(url, json.dumps({"user_id": EVE}))
    reject(url, f'{{"user_id": "{EVE}"')
    kept = reject(url, json.dumps({"user_id": "ada"}))
    others = reject(url, json.dumps({"user_id": EVE}), app_id=2)
    before = ask(url, EVENTS)
    done = erase(url, path, "anon-19c")
    assert (done.events, done.rejected, done.links) == (9 * 5 + 3, 2, 1)
    assert "anon-19c" not in everywhere(url, path)
    assert ask(url, EVENTS) == [row for row in before if row[0] == 2 or not is_eves(row[3])]
    assert {row[0] for row in ask(url, "SELECT id FROM rejected_events")} == {kept, others}
    assert len(seen(url, path, app_id=2)) == 9 * 5
    archive(url, path)
    assert EVE not in seen(url, path, "person")


def test_of_a_large_file_only_the_parts_that_have_some_are_written(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others are copied: together they are the file without her."""
    monkeypatch.setattr(writing, "_FORMAT", f"{writing._FORMAT}, ROW_GROUP_SIZE 2048")
    store(url, [{"user_id": f"p{n % 90:02}", "n": n} for n in range(9_000)])
    store(url, [{"user_id": "p45", "eve": True}, {"user_id": EVE}])
    archive(url, path)
    written = writing.write
    parts: list[int] = []

    def noting(workspace: Workspace, directory: Directory, source: Source, mark: int) -> File:
        found = written(workspace, directory, source, mark)
        parts.append(found.rows)
        return found

    monkeypatch.setattr(writing, "write", noting)
    before = ask(url, EVENTS)
    assert erase(url, path, "p45").events == 101
    assert len(parts) == 1
    assert parts[0] <= 2 * 2048
    assert ask(url, "SELECT count(*), sum(rows)::int FROM archive_files") == [(2, 8_901)]
    assert ask(url, EVENTS) == [row for row in before if "p45" not in row[3]]
    assert erase(url, path, EVE).events == 1
    archive(url, path)
    assert_exact(url, path)


def test_person_who_is_all_of_a_file_leaves_none(url: str, path: Path) -> None:
    """Nor a row in the manifest."""
    store(url, of_many(EVE))
    archive(url, path)
    assert erase(url, path, EVE).files == 1
    assert ask(url, "SELECT FROM archive_files") == []
    assert files(path) == []


def test_everything_is_erased_where_no_archive_is(url: str, path: Path) -> None:
    """An id is itself then, and each row is looked at."""
    store(url, [*of_many(EVE), *of_many("ada")])
    done = erase(url, path, EVE, has_archive=False)
    assert (done.events, done.files) == (5, 0)
    assert [json.loads(row[3])["user_id"] for row in ask(url, EVENTS)] == ["ada"] * 5


def keep_key(url: str, event_id: object, earlier: str = "") -> object:
    """Have a new key stand for an event that is stored with it; return it."""
    key = new_id()
    for table in ("events", "rejected_events"):
        ask(url, f"UPDATE {table} SET idempotency_key = $1 WHERE id = $2", key, event_id)
    sql = (
        "INSERT INTO idempotency_keys (app_id, key, event_id, created_at, earlier)"
        f" VALUES (1, $1, $2, now(), ARRAY[{earlier}]::key_use[])"
    )
    ask(url, sql, key, event_id)
    return key


def test_keys_of_erased_events_are_gone(url: str, path: Path) -> None:
    """Of what was refused, too; a neighbour's retry is still known."""
    mine, theirs = store(url, [{"user_id": EVE}, {"user_id": "ada"}])
    archive(url, path)
    keep_key(url, mine)
    (tail,) = store(url, [{"user_id": EVE}])
    keep_key(url, tail)
    keep_key(url, reject(url, json.dumps({"user_id": EVE})))
    kept = keep_key(url, theirs)
    assert erase(url, path, EVE).keys == 3
    assert ask(url, "SELECT key, event_id FROM idempotency_keys") == [(kept, theirs)]


def test_shared_key_goes_on_with_the_events_of_others(url: str, path: Path) -> None:
    """The latest of them is what it stands for."""
    mine, theirs = store(url, [{"user_id": EVE}, {"user_id": "ada"}])
    keep_key(url, mine, f"ROW('{theirs}', now() - interval '2 days')::key_use")
    archive(url, path)
    assert erase(url, path, EVE).keys == 0
    sql = "SELECT event_id, created_at < now() - interval '1 day', earlier FROM idempotency_keys"
    left = ask(url, sql)
    assert left == [(theirs, True, [])]


def test_tile_that_asks_for_the_person_is_gone(url: str, path: Path) -> None:
    """Those that ask for somebody else, or for anybody, are kept."""
    store(url, [{"user_id": EVE}])
    archive(url, path)
    ask(url, "INSERT INTO boards (app_id, name) VALUES (1, 'b'), (2, 'b')")
    queries = {
        "hers": urlencode([("where", f"person:eq:{EVE}")]),
        "hers too": urlencode([("where", f"name:eq:a|params.user_id:eq:{EVE}")]),
        "ada's": urlencode([("where", f"person:eq:{EVE}1"), ("event", EVE)]),
        "anybody's": "event=a",
    }
    for place, (name, query) in enumerate(queries.items()):
        sql = (
            "INSERT INTO board_tiles (board_id, name, view, query, place)"
            " SELECT id, $1, 'trends', $2, $3 FROM boards"
        )
        ask(url, sql, name, query, place)
    assert erase(url, path, EVE).tiles == 2
    sql = "SELECT app_id, board_tiles.name FROM board_tiles JOIN boards ON boards.id = board_id"
    assert sorted(row[1] for row in ask(url, sql) if row[0] == 1) == ["ada's", "anybody's"]
    assert len([row for row in ask(url, sql) if row[0] == 2]) == 4
