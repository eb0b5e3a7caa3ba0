"""Where the events lie: a temporary Postgres and archive, or one in a directory that is kept."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bench import machine, servers
from bench.errors import BenchError
from bench.insights.events import Period, midnight
from ingest.errors import StartupError
from ingest.store.cluster import Cluster
from ingest.store.embedded import find_programs

_NOTE: Final = "filled.json"


class Place(NamedTuple):
    """A Postgres, and a directory for its archive."""

    database_url: str
    archive: Path
    note: Path
    """What it was filled with, once it is."""


class Archiving(msgspec.Struct, frozen=True):
    """How long a first archive took, with one thread, while nobody asked."""

    took_s: float
    """From the archiver's start to the end of its round."""
    cpu_s: float
    """Of this process; the rest is Postgres's."""
    written_s: float
    """Until all events were in some file, before the last merging."""
    written_cpu_s: float


class Filled(msgspec.Struct, frozen=True):
    """What a database was filled with."""

    events: int
    start: datetime
    end: datetime
    archiving: Archiving

    @property
    def period(self) -> Period:
        """Return when its events were received."""
        return Period(self.start, self.end)


@contextmanager
def opened(kept: Path | None) -> Iterator[Place]:
    """Run Postgres on all cores, with its default settings; raise BenchError."""
    if kept is not None:
        with _kept(kept) as place:
            yield place
        return
    with (
        servers.temporary_postgres(machine.all_cores()) as url,
        tempfile.TemporaryDirectory(prefix="nonito-bench-archive-") as name,
    ):
        yield Place(url, Path(name) / "archive", Path(name) / _NOTE)


@contextmanager
def _kept(directory: Path) -> Iterator[Place]:
    cluster = Cluster(directory, find_programs())
    try:
        cluster.create()
        cluster.start()
        cluster.create_database(servers.DATABASE)
    except (StartupError, OSError) as error:
        raise BenchError(f"{directory}: {error}") from error
    try:
        yield Place(cluster.url(servers.DATABASE), directory / "archive", directory / _NOTE)
    finally:
        cluster.stop()


def read(place: Place, events: int) -> Filled | None:
    """Return what a place was filled with; None if it is new. Raises BenchError."""
    if not place.note.exists():
        return None
    try:
        filled = msgspec.json.decode(place.note.read_bytes(), type=Filled)
    except (OSError, msgspec.DecodeError) as error:
        raise BenchError(f"{place.note}: {error}") from error
    if filled.events != events:
        raise BenchError(f"{place.note.parent} has {filled.events:,} events: --events or another")
    return filled


def write(place: Place, filled: Filled) -> None:
    """Note what a place was filled with."""
    place.note.write_bytes(msgspec.json.encode(filled))


def new_period() -> Period:
    """Return the days before today."""
    return Period.up_to(midnight())
