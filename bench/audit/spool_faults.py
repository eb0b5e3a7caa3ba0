"""Faults of the spool's disk while no server looks: a bit turns, or the end of a file is gone.

Whatever was in such a file may be lost then, but never in silence: what the server said of it, and
kept for a person, has to cover it.
"""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Final

from bench.audit import failpoints, server_faults
from bench.audit.faults import SERVER_GONE, Aim, Fault
from bench.audit.spool_disk import SpoolDisk, file_bytes
from bench.audit.system import LISTEN_TIMEOUT_S, System
from bench.audit.workload import TOKEN
from ingest.spool.failures import StorageFailure
from ingest.spool.formats import STORAGE
from ingest.spool.lock import noted_events
from ingest.spool.storage import DAMAGED_SUFFIX

_OUTAGE_S: Final = 0.8
_LOG: Final = "-wal"
_PAGE_ENTRIES: Final = 100
_KEPT: Final = "kept"


class SpoolSpoil(Fault):
    """The server is killed while it spools, and the disk spoils one of its files meanwhile."""

    aim = Aim.SOME
    weight = 1
    excuses = SERVER_GONE

    def __init__(self, name: str, suffix: str, spoil: Callable[[Path, Random], None]) -> None:
        self.name = name
        self._suffix = suffix
        self._spoil = spoil

    def is_possible(self, system: System) -> bool:  # noqa: ARG002
        """Require a spool."""
        return any(step.needs == "disk" for step in failpoints.possible())

    async def inject(self, system: System, random: Random) -> None:
        """Let it spool, kill it, spoil a file, start it."""
        await system.server.wait_until_listening(LISTEN_TIMEOUT_S)
        system.proxy.refuse()
        await asyncio.sleep(_OUTAGE_S)
        system.server.kill()
        tokens = await asyncio.to_thread(self._spoil_one, system.spool, random)
        for token in tokens:
            system.recorder.damaged(token)
        system.proxy.allow()
        await server_faults.start(system, random)
        if not tokens:
            raise OSError("there was no file of the spool to spoil")

    def _spoil_one(self, disk: SpoolDisk, random: Random) -> list[str]:
        """Spoil a file, if there is one; return the tokens of all events that were in it."""
        take_away_kept(disk)
        for path in disk.files():
            spoilt = path.with_name(path.name + self._suffix)
            if noted_events(path) and file_bytes(spoilt):
                tokens = list(tokens_in(path))
                self._spoil(spoilt, random)
                return tokens
        return []


def take_away_kept(disk: SpoolDisk) -> None:
    """Move what was kept for a person out of the spool, as one would: else it is full one day."""
    kept = disk.directory.with_name(_KEPT)
    kept.mkdir(exist_ok=True)
    for path in disk.directory.iterdir():
        if DAMAGED_SUFFIX in path.name:
            shutil.move(path, kept / path.name)


def told_events(log: Path, disk: SpoolDisk) -> int:
    """Return how many events the server said are lost, in files that it did keep."""
    told = 0
    places = (disk.directory, disk.directory.with_name(_KEPT))
    for line in log.read_text(errors="replace").splitlines():
        with suppress(ValueError, TypeError, KeyError):
            said = json.loads(line)
            if any((place / said["kept_as"]).exists() for place in places):
                told += said["events"]
    return told


def tokens_in(path: Path) -> Iterator[str]:
    """Yield the token of each event in a file that nobody owns, of those that can be read."""
    with closing(STORAGE.reader(path)) as reader, suppress(StorageFailure):
        reader.recover()
        last_id = 0
        while page := reader.entries(last_id, _PAGE_ENTRIES):
            for entry in page:
                with suppress(StorageFailure, ValueError):
                    for token in TOKEN.findall(reader.read(entry)):
                        yield token.decode()
            last_id = page[-1].id


def turn_bit(path: Path, random: Random) -> None:
    """Turn any bit of a file."""
    with path.open("r+b") as file:
        at = random.randrange(file_bytes(path))
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << random.randrange(8)]))


def cut(path: Path, random: Random) -> None:
    """Take the end of a file away."""
    with path.open("r+b") as file:
        file.truncate(random.randrange(file_bytes(path)))


FAULTS: Final = (
    SpoolSpoil("spool-log-bit", _LOG, turn_bit),
    SpoolSpoil("spool-log-cut", _LOG, cut),
    SpoolSpoil("spool-file-bit", "", turn_bit),
    SpoolSpoil("spool-file-cut", "", cut),
)
