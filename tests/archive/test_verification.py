"""A verification finds each kind of difference, and `nonito archive` tells of it."""

import sys
from pathlib import Path

import pytest

from tests.archive.archiving import APP, archive, ask, files, seen, store, verify
from tests.support.command import Nonito, complaint, run_here, succeed


@pytest.fixture
def nonito(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Nonito:
    """The command, in this process."""
    return run_here(monkeypatch, capfd)


def differences(url: str, path: Path) -> list[str]:
    """Return what a verification finds, in words."""
    return [each.reason for each in verify(url, path).differences]


PARTITION_OF_ALL = (
    "SELECT DISTINCT pg_class.oid::regclass::text, pg_get_expr(relpartbound, pg_class.oid)"
    " FROM events JOIN pg_class ON pg_class.oid = events.tableoid"
)
SPOILT = {
    "UPDATE archive_state SET mark = 0": "1 events are there that Postgres does not have",
    "DELETE FROM events": "1 events are there that Postgres does not have",
    "UPDATE events SET event_params = '{\"n\": 2}'": "events are different",
    'UPDATE events SET event_params = \'{"n": "1"}\'': "events are different",
    "UPDATE events SET event_params = '{\"n\": 1.0}'": "events are different",
    'UPDATE events SET event_params = \'{"n": 1, "m": null}\'': "events are different",
    "UPDATE events SET event_name = 'Test'": "events are different",
    "UPDATE events SET id = (left(id::text, 35) || '0')::uuid": "events are different",
    "UPDATE archive_state SET mark = mark + 100": "1 events are missing",
}


@pytest.mark.parametrize(("statement", "found"), SPOILT.items())
def test_each_difference_is_found(statement: str, found: str, url: str, path: Path) -> None:
    """Whether an event is missing, there twice, or another one."""
    (event_id,) = store(url, [{"n": 1}])
    if str(event_id).endswith("0"):
        ask(url, "UPDATE events SET id = (left(id::text, 35) || '1')::uuid")
    archive(url, path)
    assert verify(url, path).is_good
    if "mark + 100" in statement:
        store(url, [{"n": 1}])
    ask(url, statement)
    (told,) = differences(url, path)
    assert told.startswith(found)


def test_digits_past_a_double_are_no_difference(url: str, path: Path) -> None:
    """The archive does not keep them, by its design."""
    store(url, ['{"n": 0.12345678901234567890, "m": 12345678901234567890123}'])
    archive(url, path)
    assert verify(url, path).is_good


def test_file_that_was_changed_is_found(url: str, path: Path) -> None:
    """By its checksum, though its size is the same; so is a missing one."""
    store(url, [{"n": 1}] * 3)
    archive(url, path)
    (file,) = files(path)
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)
    found = verify(url, path)
    assert found.damaged == [file.name]
    assert [each.reason for each in found.differences] == ["3 events are missing"]
    file.unlink()
    assert verify(url, path).damaged == [file.name]


def test_command_verifies_and_rebuilds(url: str, path: Path, nonito: Nonito) -> None:
    """Differences are listed, the exit code is 1, and a rebuild mends them."""
    settings = {"database.url": url, "archive.path": path}
    store(url, [{"n": 1}] * 3)
    assert "no archive was made yet" in complaint(nonito("archive", "verify", settings=settings))
    archive(url, path)
    succeed(nonito("archive", "verify", settings=settings))
    ask(url, "DELETE FROM events WHERE id = (SELECT id FROM events LIMIT 1)")
    ended = nonito("archive", "verify", settings=settings)
    assert ended.returncode == 1
    assert "1 events are there that Postgres does not have" in ended.stdout
    assert "2 events archived" in nonito("archive", "rebuild", "--yes", settings=settings).stderr
    succeed(nonito("archive", "verify", settings=settings))
    assert len(seen(url, path, app_id=APP)) == 2


def test_rows_of_a_partition_go_and_come_only_with_a_rebuild(
    own_url: str, path: Path, nonito: Nonito
) -> None:
    """Detached and attached by hand: a verification finds both, and says how many."""
    settings = {"database.url": own_url, "archive.path": path}
    ask(own_url, "INSERT INTO apps (name) VALUES ('one')")
    ids = [str(each) for each in store(own_url, [{"n": 1}] * 3)]
    archive(own_url, path)
    ((partition, bound),) = ask(own_url, PARTITION_OF_ALL)

    def rebuild_and_verify() -> list[str]:
        succeed(nonito("archive", "rebuild", "--yes", settings=settings))
        assert verify(own_url, path).is_good
        return sorted(seen(own_url, path))

    ask(own_url, f"ALTER TABLE events DETACH PARTITION {partition}")
    archive(own_url, path)
    assert sorted(seen(own_url, path)) == sorted(ids)
    (told,) = differences(own_url, path)
    assert told.startswith("3 events are there that Postgres does not have")
    assert rebuild_and_verify() == []
    ask(own_url, f"ALTER TABLE events ATTACH PARTITION {partition} {bound}")
    archive(own_url, path)
    assert seen(own_url, path) == []
    assert differences(own_url, path) == ["3 events are missing"]
    assert rebuild_and_verify() == sorted(ids)


def test_command_tells_what_there_is(url: str, path: Path, nonito: Nonito) -> None:
    """By app, and what is not there yet; exit code 1 while it can't be asked."""
    settings = {"database.url": url, "archive.path": path}
    store(url, [{"n": 1}] * 3)
    archive(url, path)
    store(url, [{"n": 1}] * 2)
    ended = nonito("archive", "status", settings=settings)
    assert succeed(ended).splitlines()[1].split()[:3] == ["one", "1", "3"]
    assert "2 are not there yet" in ended.stderr
    files(path)[0].unlink()
    ended = nonito("archive", "status", settings=settings)
    assert ended.returncode == 1
    assert "1 of its 1 files are missing" in ended.stderr


def test_command_without_duckdb_says_what_to_install(
    url: str, nonito: Nonito, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra is no part of a server that only takes events."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    told = complaint(nonito("archive", "status", settings={"database.url": url}))
    assert "pip install 'nonito-events[insights]'" in told
