"""What the spool's tests share: batches that can be told apart, disks, and a process to kill.

Run as a program it appends numbered batches to the directory that it is given until it is killed,
takes some of them out again, and says so only after each was done: `+1`, `+2`, `-1`, … Those of an
odd number have keys.
"""

import asyncio
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from ingest.events import copy_format, copy_reader
from ingest.events.ids import moment
from ingest.spool import Spool, SpooledBatch, SpoolFull

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
MANY = 10**9
NO_FLOOR = -(1 << 60)
"""So that the disk itself says that it is full."""
TIMEOUT_S = 20.0
KEY_LENGTH = (16).to_bytes(4, "big")
MOMENT = moment(1_768_046_400_123)


def make_batch(number: int, events: int = 3, params: bytes = b'{"a": 1}') -> list[bytes]:
    """Return the rows of a batch: the first eight bytes of an id are its number."""
    head = copy_format.row_head(7)
    return [
        copy_format.row(
            head, number.to_bytes(8, "big") + n.to_bytes(8, "big"), b"test", params, MOMENT.row
        )
        for n in range(events)
    ]


def make_large_batch(number: int, size: int = 100_000) -> list[bytes]:
    """Return a batch of two events that takes about so many bytes."""
    return make_batch(number, 2, b'{"a": "%s"}' % (b"x" * (size // 2)))


def keys_of(batch: Iterable[bytes]) -> list[bytes]:
    """Return the keys of rows: by the client's key where they have one, else by the id."""
    return [
        b"k" + row[6:10] + key
        if (key := copy_reader.idempotency_key(row))
        else b"i" + copy_reader.identity(row)
        for row in batch
    ]


def with_keys(batch: Iterable[bytes]) -> list[bytes]:
    """Return rows as they would be with idempotency keys, which are in no order."""
    return [
        row.removesuffix(copy_format.PLAIN)
        + copy_format.PLAIN[:4]
        + KEY_LENGTH
        + sha256(row).digest()[:16]
        for row in batch
    ]


def scattered(row: bytes) -> bytes:
    """Return a row with a random key of its client's."""
    (row,) = with_keys([row])
    return row[:-16] + os.urandom(16)


async def append_with_keys(spool: Spool, *batches: list[bytes]) -> dict[bytes, list[bytes]]:
    """Append batches with their keys; return what `find` has to find."""
    for batch in batches:
        await spool.append(batch, keys_of(batch))
    return rows_by_key(*batches)


def rows_by_key(*batches: Iterable[bytes]) -> dict[bytes, list[bytes]]:
    """Return the rows of batches by their keys, each of them one event's."""
    return {key: [row] for batch in batches for key, row in zip(keys_of(batch), batch, strict=True)}


def number_of(batch: SpooledBatch) -> int:
    """Return the number of a batch."""
    return int.from_bytes(batch.rows[0][14:22], "big")


@asynccontextmanager
async def open_spool(
    directory: Path,
    *,
    bytes_max: int = 64 * MIB,
    free_bytes_min: int = MIB,
    timeout_s: float = TIMEOUT_S,
) -> AsyncIterator[Spool]:
    """Open a spool and close it in the end."""
    spool = Spool(
        directory, bytes_max=bytes_max, free_bytes_min=free_bytes_min, timeout_s=timeout_s
    )
    await spool.open()
    try:
        yield spool
    finally:
        await spool.close()


async def peek(spool: Spool) -> list[int]:
    """Return the numbers of the oldest batches, as many as one look gives."""
    return [number_of(batch) for batch in await spool.oldest(MANY)]


async def drain(spool: Spool) -> list[int]:
    """Take everything out; return the numbers in the order of coming out."""
    numbers: list[int] = []
    while batches := await spool.oldest(MANY):
        numbers += [number_of(batch) for batch in batches]
        await spool.remove(batches)
    return numbers


def databases(directory: Path) -> list[Path]:
    """Return the spool's files, without what stands beside them."""
    return sorted(directory.glob("*.db"))


def edit(path: Path, statement: str, *values: object) -> None:
    """Change a file of the spool behind its owner's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement, values)


def flip_bit(path: Path, id_: int) -> None:
    """Flip one bit in the middle of a batch's tuples."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        query = "SELECT tuples FROM batches WHERE id = ?"
        blob = bytearray(connection.execute(query, (id_,)).fetchone()[0])
        blob[len(blob) // 2] ^= 0x10
        connection.execute("UPDATE batches SET tuples = ? WHERE id = ?", (bytes(blob), id_))


def names_in(directory: Path) -> list[str]:
    """Return what lies in a directory."""
    return sorted(path.name for path in directory.iterdir())


def modes_in(directory: Path) -> dict[str, int]:
    """Return the permissions of a directory ("") and of its files, by how their names end."""
    found = {path.name.partition(".")[2]: path for path in directory.iterdir()} | {"": directory}
    return {name: stat.S_IMODE(path.stat().st_mode) for name, path in found.items()}


def written_at(path: Path) -> list[int]:
    """Return when a database and its WAL were last written, in ns; opens neither.

    To close a file that SQLite has open in the same process would drop its locks.
    """
    return [path.stat().st_mtime_ns, path.with_name(path.name + "-wal").stat().st_mtime_ns]


def used_bytes(directory: Path) -> int:
    """Return what the files of a directory take."""
    return sum(path.stat().st_size for path in directory.iterdir())


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let writes past `size` bytes of a file fail, as on a broken disk; not for want of space."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def fill(spool: Spool, cap: int = MANY) -> list[int]:
    """Append until the spool is full; return the numbers that were stored."""
    stored: list[int] = []
    while True:
        try:
            await spool.append(make_large_batch(len(stored)))
        except SpoolFull:
            return stored
        stored.append(len(stored))
        assert spool.bytes <= cap


def fill_disk(directory: Path) -> None:
    """Take all that is left."""
    with (directory / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[Path]:
    """Mount a file system in memory on a new directory."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        import pytest  # noqa: PLC0415 - half of a start, for the processes that run this file

        pytest.skip("mounting a tmpfs needs root")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@contextmanager
def appending_process(directory: Path, first: int = 1) -> Iterator["Appender"]:
    """Run this program on a directory; kill it in the end."""
    command = [sys.executable, __file__, str(directory), str(first)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}, text=True
    )
    appender = Appender(process)
    try:
        yield appender
    finally:
        appender.kill()


class Appender:
    """A process that appends, and what it said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.appended: set[int] = set()
        self.removed: set[int] = set()

    def wait_for(self, lines: int) -> None:
        """Listen until it has said so much more."""
        assert self._process.stdout is not None
        for _ in range(lines):
            self._take(self._process.stdout.readline())

    def pause(self) -> None:
        """Stop it where it is (SIGSTOP)."""
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """Kill it (SIGKILL); `appended` and `removed` are complete then."""
        assert self._process.stdout is not None
        if self._process.stdout.closed:
            return
        self._process.kill()
        with self._process.stdout as said:
            for line in said:
                self._take(line)
        self._process.wait()

    def assert_kept(self, found: Iterable[int]) -> None:
        """Assert that all it appended is among `found`, and nothing that it removed.

        Only the one operation that was under way may have been done without a word of it: an
        append, or a removal of some of the oldest in one transaction.
        """
        numbers, said = set(found), self.appended - self.removed
        assert numbers - said <= {max(self.appended) + 1}
        missing = said - numbers
        assert missing == set(sorted(said)[: len(missing)])
        assert not missing or numbers <= said

    def _take(self, line: str) -> None:
        assert line, "the process ended"
        if line.endswith("\n"):  # it may have been killed while it wrote
            (self.appended if line[0] == "+" else self.removed).add(int(line[1:]))


async def _append_for_ever(directory: Path, first: int) -> None:
    spool = Spool(directory, bytes_max=512 * MIB, free_bytes_min=MIB, timeout_s=TIMEOUT_S)
    await spool.open()
    number = first
    while True:
        batch = make_batch(number, 1 + number % 200)
        await spool.append(batch, keys_of(batch) if number % 2 else None)
        _say(f"+{number}")
        if number % 5 == 0:
            batches = [each for each in await spool.oldest(50) if number_of(each) >= first]
            await spool.remove(batches)
            for each in batches:
                _say(f"-{number_of(each)}")
        number += 1


def _say(line: str) -> None:
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    asyncio.run(_append_for_ever(Path(sys.argv[1]), int(sys.argv[2])))
