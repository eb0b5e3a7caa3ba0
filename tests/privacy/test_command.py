"""`nonito people`: what is stored of somebody is found, exported, and erased if that is meant."""

import asyncio
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from ingest.events import copy_format
from ingest.events.ids import IdSequence
from tests.archive.archiving import archive, ask, new_id, store
from tests.cli.test_spool import open_spool
from tests.support.command import Ended, Nonito, complaint, run_here, succeed

_ids = IdSequence()
EVE = 'eve "7f3a\x1b'


class People:
    """The command, on one database and one archive."""

    def __init__(self, nonito: Nonito, url: str, path: Path) -> None:
        self._nonito = nonito
        self._url = url
        self.settings = {
            "archive.path": path,
            "spool.path": path.parent / "spool",
            "dashboard.question_timeout_s": 0.1,
        }

    def __call__(self, *arguments: str) -> Ended:
        """Run it."""
        return self._nonito(
            "--database-url", self._url, "people", *arguments, settings=self.settings
        )


@pytest.fixture
def nonito(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Nonito:
    """The command without a process of its own."""
    return run_here(monkeypatch, capfd)


@pytest.fixture
def people(nonito: Nonito, url: str, path: Path) -> People:
    """Somebody of two ids, in the archive and behind it; somebody else; what was refused."""
    store(url, [{"$user_id": EVE, "$anonymous_id": "anon-19c"}, {"user_id": "ada"}])
    archive(url, path)
    store(url, ['{"user_id": "anon-19c", "digits": 0.1234567890123456789}'])
    params = json.dumps({"user_id": EVE})
    ask(
        url,
        "INSERT INTO rejected_events (app_id, id, event_name, event_params, created_at, sqlstate,"
        " message) VALUES (1, $1, 'r', $2, now(), '22P02', 'why')",
        new_id(),
        params,
    )
    return People(nonito, url, path)


def spool(directory: Path, person: str) -> None:
    """Have an event of somebody, and one of somebody else, wait there."""

    async def work() -> None:
        spool = open_spool(directory)
        await spool.open()
        await spool.append([row(person), row("ada")])
        await spool.close()

    asyncio.run(work())


def row(person: str) -> bytes:
    """Return the COPY tuple of an event."""
    raw_id, _, moment = _ids.next()
    params = json.dumps({"user_id": person}).encode()
    return copy_format.row(copy_format.row_head(1), raw_id, b"spooled", params, moment.row)


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Have somebody sit at a terminal who types that."""
    typed = io.StringIO(f"{text}\n")
    typed.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", typed)


def found(ended: Ended) -> dict[str, str]:
    """Return how much is where."""
    rows = [line.rsplit(maxsplit=1) for line in ended.stdout.splitlines()[1:]]
    return {where: count for where, count in rows if count != "0"}


def test_export_has_everything_of_all_ids(people: People) -> None:
    """With every digit, and nothing of anybody else."""
    lines = succeed(people("export", EVE, "--app", "one")).splitlines()
    told: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [each["kind"] for each in told] == ["person", "event", "event", "rejected_event", "link"]
    assert told[0]["ids"] == [EVE, "anon-19c"]
    assert told[0]["app"] == "one"
    assert '"digits": 0.1234567890123456789' in lines[2]
    assert told[1].keys() == {"kind", "id", "event_name", "event_params", "created_at"}
    assert (told[3]["message"], told[3]["event_params"]) == ("why", json.dumps({"user_id": EVE}))
    assert told[4] | {"at": ""} == {
        "kind": "link", "joined": "anon-19c", "person": EVE, "link": "sign_in", "at": ""
    }  # fmt: skip


def test_erased_is_who_was_typed_and_then_nothing_is_found(
    people: People,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All ids and counts are named before; what was searched is told behind."""
    type_in(monkeypatch, "ada")
    refused = people("erase", EVE, "--app", "one")
    assert refused.returncode == 1
    assert "that is another id: nothing is erased" in refused.stderr
    assert len(ask(url, "SELECT FROM events")) == 3
    assert found(people("search", "anon-19c", "--app", "one")) == {
        "events in Postgres": "2",
        "events in the archive": "1",
        "rejected events": "1",
        "links of ids": "1",
    }
    type_in(monkeypatch, "anon-19c")
    ended = people("erase", "anon-19c", "--app", "one")
    assert ended.returncode == 0, ended.stderr
    assert 'These 2 ids of one person of app one: anon-19c, eve "7f3a\\x1b' in ended.stderr
    assert "2 events from" in ended.stderr
    assert "1 rejected, 0 in this server's spool" in ended.stderr
    assert "Erased: 2 events, 1 rejected events" in ended.stderr
    assert found(ended) == {}
    for person in (EVE, "anon-19c"):
        ended = people("search", person, "--app", "one")
        assert (ended.returncode, found(ended)) == (0, {})
        assert "Erased at " in ended.stderr
    assert "nothing is stored of it" in complaint(people("erase", EVE, "--app", "one", "--yes"))
    assert len(ask(url, "SELECT FROM events")) == 1


def test_nobody_is_erased_where_nobody_can_be_asked(people: People) -> None:
    """Nor of an app that there is not, nor somebody without a name."""
    assert "--yes" in complaint(people("erase", EVE, "--app", "one"))
    for arguments, told in (
        (("erase", EVE, "--app", "three", "--yes"), "there is no app"),
        (("export", "\udc80", "--app", "one"), "UTF-8"),
    ):
        assert told in complaint(people(*arguments))


@pytest.mark.parametrize(
    ("person", "app", "told"), [(" ", "one", "blank"), (EVE, "three", "there is no app")]
)
def test_search_that_can_t_be_done_is_not_taken_for_one_that_finds_something(
    people: People, person: str, app: str, told: str
) -> None:
    """Nor for one that finds nothing."""
    assert told in complaint(people("search", person, "--app", app), exit_code=2)


def test_what_can_t_be_read_is_told_by_search_and_export(people: People, path: Path) -> None:
    """It may be of anybody: nothing found is no promise, and no export is whole."""
    spool(path.parent / "spool", "bob")
    (file,) = (path.parent / "spool").glob("*.db*")
    file.write_bytes(file.read_bytes().replace(b'"bob"', b'"bab"'))
    ended = people("search", "bob", "--app", "one")
    assert (ended.returncode, found(ended)) == (2, {})
    assert "can't be read in the spool was not looked at: 2 events" in ended.stderr
    ended = people("search", EVE, "--app", "one")
    assert ended.returncode == 1
    assert "2 events" in ended.stderr
    ended = people("export", EVE, "--app", "one")
    assert ended.returncode == 1
    assert "2 events" in ended.stderr
    last = json.loads(ended.stdout.splitlines()[-1])
    assert last == {"kind": "unread", "events": 2, "files": []}


def test_one_id_alone_is_erased_if_that_is_meant(people: People, url: str) -> None:
    """What was joined to it stays."""
    succeed(people("erase", "anon-19c", "--app", "one", "--only-this-id", "--yes"))
    assert len(ask(url, "SELECT FROM events")) == 2


def test_what_waits_in_the_spool_is_waited_for(
    people: People,
    url: str,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the same command goes on when it has come to Postgres."""
    monkeypatch.setattr("ingest.privacy.eraser._SPOOL_S", 0.1)
    spool(path.parent / "spool", EVE)
    ended = people("erase", EVE, "--app", "one", "--yes")
    assert ended.returncode == 1
    assert "1 in this server's spool" in ended.stderr
    assert "1 of their events wait in" in ended.stderr
    assert ask(url, "SELECT stage, worker FROM erasures") == [("spool", None)]
    exported = succeed(people("export", EVE, "--app", "one")).splitlines()
    assert [json.loads(line)["kind"] for line in exported].count("spooled_event") == 1
    shutil.rmtree(path.parent / "spool")
    ended = people("erase", EVE, "--app", "one")
    assert "goes on" not in complaint(ended)
    ended = people("erase", EVE, "--app", "one", "--yes")
    assert "goes on" in ended.stderr
    assert found(ended) == {}
    assert ask(url, "SELECT count(*) FROM erasures") == [(1,)]
