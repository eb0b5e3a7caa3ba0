"""The spool above another storage: it relies on what `storage.py` promises, and on nothing else."""

import asyncio
import pickle
import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from ingest.spool import Spool, report
from ingest.spool.failures import StorageDamaged, StorageFailed
from ingest.spool.storage import (
    DAMAGED_SUFFIX,
    DedupKey,
    Entry,
    Place,
    PlacedKey,
    Recovery,
    Status,
    StorageFile,
    StorageReader,
)
from tests.spool.spooling import MIB, append_with_keys, drain, make_batch, names_in, number_of


class PlainFile:
    """A file that is written anew by every operation."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_open = self.is_cut_off = self.is_overdue = self.has_dedup_keys = False
        self.is_in_place = True

    @property
    def disk_bytes(self) -> int:
        """Its size."""
        with suppress(FileNotFoundError):
            return self.path.stat().st_size
        return 0

    def recover(self) -> Recovery:
        """Hide nothing."""
        return Recovery()

    def status(self) -> Status:
        """Read all of it."""
        found = self._load()
        self.has_dedup_keys = bool(found["keys"])
        events = sum(entry.events for entry, _ in found["batches"].values())
        return Status(events, found["quarantined"], found["missing"])

    def entries(self, after_id: int, count_max: int) -> list[Entry]:
        """Read all of it."""
        found = [entry for entry, _ in self._load()["batches"].values() if entry.id > after_id]
        return found[:count_max]

    def read(self, entry: Entry) -> bytes:
        """Trust the disk, but for one word."""
        blob: bytes = self._load()["batches"][entry.id][1]
        if b"spoilt" in blob:
            raise ValueError("it is spoilt")
        return blob

    def find(self, dedup_keys: Sequence[DedupKey]) -> Iterator[list[Place]]:
        """Look at every key."""
        yield [place for place in self._load()["keys"] if place.dedup_key in dedup_keys]

    def append(self, blob: bytes, events: int, dedup_keys: Sequence[PlacedKey] = ()) -> Entry:
        """Write all of it."""
        found = self._load()
        found["last"] += 1
        entry = Entry(found["last"], time.time_ns() // 1_000_000, events, len(blob))
        found["batches"][entry.id] = (entry, blob)
        found["keys"] += [Place(entry.id, at, key) for key, at in dedup_keys]
        self.has_dedup_keys = bool(found["keys"])
        self.write(found)
        return entry

    def append_bytes_max(self, size: int, dedup_keys: int) -> int:
        """Be generous."""
        return 2 * size + 100 * dedup_keys + 1_000

    def remove(self, ids: Collection[int]) -> set[int]:
        """Write all that is left."""
        found = self._load()
        removed = {id_ for id_ in ids if found["batches"].pop(id_, None)}
        self.write(found)
        return removed

    def quarantine(self, entry: Entry, reason: str) -> None:
        """Write all of it."""
        assert reason
        found = self._load()
        found["quarantined"][entry.id] = entry.events
        self.write(found)

    def note_missing(self, events: int) -> None:
        """Write all of it."""
        self.write(self._load() | {"missing": events})

    def checkpoint(self) -> None:
        """Nothing is left to be done."""

    def end_writing(self) -> None:
        """Nothing is open."""

    def sync(self) -> None:
        """Trust the disk."""

    def close(self) -> None:
        """Nothing is open."""

    def delete(self) -> None:
        """Nothing stands beside it."""
        self.path.unlink(missing_ok=True)

    def keep_as_damaged(self) -> Path:
        """Nothing stands beside it."""
        return self.path.rename(self.path.with_name(self.path.name + DAMAGED_SUFFIX))

    def write(self, found: dict[str, Any]) -> None:
        """Replace the file."""
        self.path.write_bytes(pickle.dumps(found))

    def _load(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = pickle.loads(self.path.read_bytes())  # noqa: S301 - our own
        except OSError as error:
            raise StorageFailed("no file") from error
        except pickle.UnpicklingError as error:
            raise StorageDamaged("no pickle") from error
        return found


class PlainStorage:
    """Names files `*.plain`."""

    empty_bytes = 1_000

    def new_name(self, database_id: UUID | None) -> str:
        """Sort by time."""
        return f"{time.time_ns()}-{secrets.token_hex(4)}-{database_id}.plain"

    def database_of(self, name: str) -> UUID | None:
        """Read the end of it."""
        found = name.removesuffix(".plain").split("-", 2)[2]
        return None if found == "None" else UUID(found)

    def file_of(self, name: str) -> str | None:
        """Know no other file."""
        return name if name.endswith(".plain") else None

    def is_log(self, name: str) -> bool:
        """Have no log."""
        assert name
        return False

    def append_bytes_max(self, size: int, dedup_keys: int) -> int:
        """Be as generous as a file is."""
        return PlainFile(Path()).append_bytes_max(size, dedup_keys)

    def create(self, path: Path) -> StorageFile:
        """Write an empty file."""
        made = PlainFile(path)
        made.write({"last": 0, "batches": {}, "keys": [], "quarantined": {}, "missing": 0})
        return made

    def open(self, path: Path) -> StorageFile:
        """Have the file."""
        return PlainFile(path)

    def reader(self, path: Path) -> StorageReader:
        """Have the file."""
        return PlainFile(path)

    def beside(self, path: Path) -> StorageReader:
        """Have the file."""
        return PlainFile(path)


def open_spool(directory: Path) -> Spool:
    """Return a spool on plain files."""
    return Spool(directory, PlainStorage(), bytes_max=8 * MIB, free_bytes_min=0, timeout_s=20)


async def test_spool_appends_finds_drains_and_adopts_on_another_storage(tmp_path: Path) -> None:
    """With damage in the middle, which is kept for a person."""
    spool = open_spool(tmp_path)
    await spool.open()
    left = await append_with_keys(spool, make_batch(1), make_batch(2))
    await spool.append(make_batch(3, params=b'"spoilt"'))
    await spool.append(make_batch(4))
    await spool.remove(await spool.oldest(3))
    await spool.close()
    spool = open_spool(tmp_path)
    await spool.open()
    assert (spool.events, spool.recovered_events, spool.has_dedup_keys) == (9, 9, True)
    assert set(await spool.find(list(left))) == set(list(left)[3:])
    assert [number_of(batch) for batch in await spool.oldest(100)] == [2, 4]
    (status,) = await asyncio.to_thread(report.status, tmp_path, PlainStorage())
    assert (status.events, status.damaged_events, status.is_readable) == (6, 3, True)
    export = report.export(tmp_path, PlainStorage())
    assert len(await asyncio.to_thread(list, export)) == 6
    assert export.damaged_events == 3
    assert await drain(spool) == [2, 4]
    assert (spool.is_empty, spool.damaged_events) == (True, 3)
    await spool.close()
    assert [name.endswith(f".plain{DAMAGED_SUFFIX}") for name in names_in(tmp_path)] == [True]
