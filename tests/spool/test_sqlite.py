"""The storage of SQLite databases: what it promises beyond what the spool's own tests show."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ingest.spool.failures import StorageDamaged, StorageFailed, StorageFull
from ingest.spool.formats import STORAGE
from ingest.spool.sqlite import SqliteStorage, batches, database
from ingest.spool.sqlite.failures import classified
from ingest.spool.sqlite.file import SqliteFile
from ingest.spool.storage import DAMAGED_SUFFIX
from tests.spool.spooling import make_batch


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteFile]:
    """A new database."""
    with closing(SqliteStorage().create(tmp_path / STORAGE.new_name(None))) as made:
        yield made


def test_writing_connection_syncs_every_commit(file: SqliteFile) -> None:
    """WAL and FULL, whatever SQLite was built with; and no checkpoint that hides its errors."""
    connection = file._connect()
    found = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "wal_autocheckpoint", "secure_delete")
    }
    assert found == {
        "journal_mode": b"wal",
        "synchronous": 2,
        "wal_autocheckpoint": 0,
        "secure_delete": 0,
    }


def test_reading_connection_can_not_write(file: SqliteFile) -> None:
    """It can't even by mistake."""
    connection = database.open_for_reading(file.path)
    with pytest.raises(sqlite3.OperationalError) as error:
        connection.execute("DELETE FROM batches")
    connection.close()
    assert error.value.sqlite_errorcode == sqlite3.SQLITE_READONLY


def test_batches_are_counted_by_the_index(file: SqliteFile) -> None:
    """So that adopting a large file takes no look at its batches."""
    plan = file._connect().execute(f"EXPLAIN QUERY PLAN {batches._EVENTS}").fetchall()
    assert b"COVERING INDEX batches_events" in plan[0][-1]


def test_reader_sees_what_a_living_owner_appends_and_removes(file: SqliteFile) -> None:
    """At once, from the first batch to the last, and by its keys."""
    rows = make_batch(1)
    blob = b"".join(rows)
    with closing(STORAGE.reader(file.path)) as reader:
        assert (reader.status().events, reader.entries(0, 9)) == (0, [])
        entry = file.append(blob, 3, [(b"key", 0)])
        assert (reader.status().waiting_events, reader.entries(0, 9)) == (3, [entry])
        assert reader.read(entry) == blob
        places = [each for found in reader.find([b"key", b"none"]) for each in found]
        assert places == [(entry.id, 0, b"key")]
        file.remove({entry.id})
        assert (reader.status().events, reader.entries(0, 9)) == (0, [])


def test_quarantined_batch_is_told_apart(file: SqliteFile) -> None:
    """It stays among the entries: whoever reads decides."""
    first, second = (file.append(b"".join(make_batch(n)), 3) for n in (1, 2))
    file.quarantine(first, "a reason")
    status = file.status()
    assert (status.events, status.waiting_events, dict(status.quarantined)) == (6, 3, {first.id: 3})
    assert file.entries(0, 9) == [first, second]


def test_file_that_was_never_completely_made_is_empty(tmp_path: Path) -> None:
    """To its owner and to a reader."""
    path = tmp_path / STORAGE.new_name(None)
    path.touch()
    for opened in (STORAGE.reader(path), STORAGE.open(path)):
        with closing(opened):
            assert (opened.status(), opened.entries(0, 9)) == ((0, {}), [])


@pytest.mark.parametrize(
    ("error", "name", "kind"),
    [
        (sqlite3.OperationalError, "SQLITE_FULL", StorageFull),
        (sqlite3.OperationalError, "SQLITE_IOERR_READ", StorageDamaged),
        (sqlite3.OperationalError, "SQLITE_IOERR_WRITE", StorageFailed),
        (sqlite3.OperationalError, "SQLITE_ERROR", StorageDamaged),
        (sqlite3.OperationalError, "SQLITE_BUSY", StorageFailed),
        (sqlite3.DatabaseError, "SQLITE_CORRUPT", StorageDamaged),
        (sqlite3.DatabaseError, "SQLITE_NOTADB", StorageDamaged),
    ],
)
def test_failure_is_told_by_its_code(
    error: type[sqlite3.Error], name: str, kind: type[Exception]
) -> None:
    """Not by its text, which may quote anything."""
    raised = error("disk full, corrupt, locked")
    raised.sqlite_errorname, raised.sqlite_errorcode = name, getattr(sqlite3, name)
    with pytest.raises(kind, match=f"^{error.__name__}, {name}$"), classified():
        raise raised


def test_names_are_told_apart() -> None:
    """A file, what stands beside it, and what is nobody's."""
    name = STORAGE.new_name(None)
    beside = (name, f"{name}-wal", f"{name}-shm", f"{name}-journal")
    assert {STORAGE.file_of(each) for each in beside} == {name}
    others = ("notes.txt", f"{name}{DAMAGED_SUFFIX}", f"{name}-wal{DAMAGED_SUFFIX}", "events.db")
    assert {STORAGE.file_of(each) for each in others} == {None}
