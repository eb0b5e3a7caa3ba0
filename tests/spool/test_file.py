"""One file of the spool and its lock: durable, private, and one process's alone."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ingest.disk import make_directory
from ingest.spool.file import SpoolFile
from ingest.spool.formats import STORAGE
from ingest.spool.lock import FileLock
from tests.spool.spooling import make_batch, names_in, number_of, written_at


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SpoolFile]:
    """A new file."""
    made = SpoolFile.create(STORAGE, tmp_path, None)
    yield made
    with suppress(OSError):
        made.release()


def append(file: SpoolFile, *numbers: int) -> None:
    """Append batches."""
    for number in numbers:
        rows = make_batch(number)
        file.append(b"".join(rows), len(rows))


def numbers_in(file: SpoolFile) -> list[int]:
    """Return the numbers of the batches in a file."""
    batches = [file.read(entry) for entry in file.entries()]
    return [number_of(batch) for batch in batches if batch]


def adopt(path: Path) -> SpoolFile:
    """Adopt a file that nobody has."""
    lock = FileLock.acquire(path)
    assert lock
    return SpoolFile.adopt(STORAGE.open(path), lock)


def test_directory_is_synced_behind_the_schema_of_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is appended: else a power cut might take the file with its name."""
    synced = []
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path, {name.rpartition(".")[2] for name in names_in(path)}))

    monkeypatch.setattr(os, "fsync", spy)
    directory = tmp_path / "a" / "b"
    make_directory(directory)
    SpoolFile.create(STORAGE, directory, None).release()
    assert synced == [
        (tmp_path, {"a"}),
        (tmp_path / "a", {"b"}),
        (directory, {"db", "db-wal", "db-shm", "lock"}),
    ]


def test_released_file_is_alone_and_whole(file: SpoolFile, tmp_path: Path) -> None:
    """No WAL, no lock; whoever comes next finds everything."""
    append(file, 1, 2, 3)
    file.release()
    assert names_in(tmp_path) == [file.name]
    adopted = adopt(tmp_path / file.name)
    assert (adopted.events, adopted.damaged_events) == (9, 0)
    assert adopted.oldest_ms == file.oldest_ms
    assert numbers_in(adopted) == [1, 2, 3]
    adopted.release()


def test_closed_file_goes_on_where_it_was(file: SpoolFile) -> None:
    """It needs no descriptor but its lock's meanwhile."""
    append(file, 1, 2)
    file.close()
    assert not file.is_open
    append(file, 3)
    assert (numbers_in(file), file.events) == ([1, 2, 3], 9)


def test_id_is_not_used_twice(file: SpoolFile) -> None:
    """Or a late removal would take another batch than it means."""
    append(file, 1)
    (first,) = file.entries()
    file.remove({first.id: first.events})
    append(file, 2)
    file.remove({first.id: first.events})
    assert (numbers_in(file), file.events) == ([2], 3)


def test_failed_file_is_read_and_removed_from_but_not_written(file: SpoolFile) -> None:
    """What was removed stays removed for this process; the next one sees it again."""
    append(file, 1, 2, 3)
    file.fail(OSError())
    first, *_ = file.entries()
    file.remove({first.id: first.events})
    file.remove({first.id: first.events})
    assert (numbers_in(file), file.events) == ([2, 3], 6)
    file.close()
    assert (numbers_in(file), file.events) == ([2, 3], 6)


def test_failed_connection_checkpoints_nothing_when_it_is_closed(
    file: SpoolFile, tmp_path: Path
) -> None:
    """SQLite would otherwise write the WAL into the database then."""
    append(file, 1, 2, 3)
    before = written_at(tmp_path / file.name)
    file.fail(OSError())
    assert written_at(tmp_path / file.name) == before
    file.release()
    assert f"{file.name}-wal" in names_in(tmp_path)
    adopted = adopt(tmp_path / file.name)
    assert numbers_in(adopted) == [1, 2, 3]
    adopted.release()


def test_owned_file_has_no_second_owner(file: SpoolFile, tmp_path: Path) -> None:
    """Until it is released."""
    assert FileLock.acquire(tmp_path / file.name) is None
    file.release()
    lock = FileLock.acquire(tmp_path / file.name)
    assert lock
    lock.release()


def test_lock_has_one_holder_however_many_want_it(tmp_path: Path) -> None:
    """Though each holder unlinks the file that the others are just opening."""
    path = tmp_path / "file.db"
    holders: list[int] = []
    problems: list[int] = []
    taken = [0]

    def hold_often() -> None:
        for _ in range(500):
            if lock := FileLock.acquire(path):
                holders.append(1)
                if len(holders) != 1:
                    problems.append(len(holders))
                taken[0] += 1
                holders.pop()
                lock.release()

    threads = [threading.Thread(target=hold_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert taken[0] > 100
    assert names_in(tmp_path) == []


def test_lock_on_an_unlinked_file_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last owner let go between the open and the lock."""
    path = tmp_path / "file.db"
    owner = FileLock.acquire(path)
    assert owner
    open_file = os.open

    def open_and_lose(name: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = open_file(name, flags, mode)
        owner.release()
        return descriptor

    monkeypatch.setattr(os, "open", open_and_lose)
    assert FileLock.acquire(path) is None
    monkeypatch.undo()
    lock = FileLock.acquire(path)
    assert lock
    lock.release()


def test_file_is_left_by_a_process_that_ended_while_it_made_it(tmp_path: Path) -> None:
    """Empty, or without tables: nothing is in it, nothing is lost."""
    empty, headless = (tmp_path / STORAGE.new_name(None) for _ in range(2))
    empty.touch()
    connection = sqlite3.connect(headless)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    for path in (empty, headless):
        file = adopt(path)
        assert (file.events, file.oldest_ms) == (0, None)
        assert file.finish() == 0
    assert names_in(tmp_path) == []
