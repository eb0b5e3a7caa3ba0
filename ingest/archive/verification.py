"""Proves by app and day that archive and tail hold what Postgres holds, in one snapshot.

Of each event its id, its name and its parameters in a canonical form are hashed, and the hashes of
an app's day (UTC) are added: the order does not matter, and what is missing, there twice or
different shows. Both sides are made canonical by the same few lines, of Postgres's text here, of
the VARIANT in the file there, and not by DuckDB, which has made the one of the other: keys sorted,
whole numbers of 64 bits as they are, all others as the doubles that they are nearest to. What that
can't see are digits past a double, which the archive does not keep, and parameters that are too
long for it, or nested deeper than 250 times: of those id and name are compared. Files are
compared with their checksums as well.

What is behind an app's horizon counts on neither side. What Postgres has dropped is in the archive
alone: there is nothing to compare it with but the checksum of its file, and that each event is
there once. One of before the horizon may be sent again, with another time: it counts by the day in
its id, and once, whether it is archived a second time or not.

The files are pinned by a link each, so that archiving and merging go on meanwhile.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import orjson

from ingest.archive import founding, horizon, manifest, passes, rows, state
from ingest.archive.directory import Directory
from ingest.archive.failures import Damaged
from ingest.archive.horizon import Horizons
from ingest.archive.known import parquet
from ingest.archive.manifest import File
from ingest.archive.workspace import Workspace
from ingest.store.periods import moment_of, unix_ms

_TIMEOUT_S: Final = 6 * 3600.0
_MASK: Final = (1 << 64) - 1
_DAY_US: Final = 86_400_000_000
_DAY_MS: Final = 86_400_000
_CHUNK: Final = 5_000
_STORED: Final = "stored_ids"
_OF_TAIL: Final = "tail_ids"
_NO_ID: Final = "00000000-0000-0000-0000-000000000000"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Key = tuple[int, int]
"""An app, and a day since 1970."""


class Sum(NamedTuple):
    """What is held of an app's day."""

    events: int = 0
    checksum: int = 0


class Difference(NamedTuple):
    """A day of an app of which archive and tail do not hold what Postgres holds."""

    app_id: int
    day: datetime
    archived: Sum
    stored: Sum

    @property
    def reason(self) -> str:
        """What is different, in words."""
        missing = self.stored.events - self.archived.events
        if missing > 0:
            return f"{missing} events are missing"
        if missing < 0:
            return f"{-missing} events are there that Postgres does not have, or are there twice"
        return "events are different"


class Verified(NamedTuple):
    """What a verification found."""

    events: int
    """In Postgres."""
    tail: int
    """Of them, not in the archive yet."""
    days: int
    differences: list[Difference]
    damaged: list[str]
    """Files that are missing, or are not what was written."""
    alone: int = 0
    """Events that only the archive holds."""
    doubled: int = 0
    """So many of them are there more than once."""

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.differences and not self.damaged and not self.doubled


Progress = Callable[[int], None]
"""Told how many events were read since it was told last, of either side."""


def verify(workspace: Workspace, path: Path, tell: Progress) -> Verified:
    """Compare everything; raise ArchiveTrouble."""
    with workspace.transaction(_TIMEOUT_S, commits=False):
        found = state.read(workspace)
        directory = Directory(path, found.archive_id)
        passes.require(directory, found)
        horizons = horizon.read(workspace)
        files = [
            each
            for each in manifest.read_all(workspace)
            if not horizons.of(each.app_id).is_behind(each)
        ]
        pinned = _pin(workspace, directory, files)
        damaged = [each for each in files if not _is_whole(pinned, each)]
        whole = [each for each in files if each not in damaged]
        _read_stored(workspace, horizons)
        stored, tail = _sums(), _sums()
        _add(stored, _counting(_of_postgres(workspace, "true"), horizons), tell)
        for condition in found.tail:
            again = _sent_again(workspace, pinned, whole, horizons, condition)
            of_tail = _counting(_of_postgres(workspace, condition), horizons)
            _add(tail, (each for each in of_tail if (each[0], each[2]) not in again), tell)
    archived, alone = _sums(tail), 0
    for each in whole:
        _add(archived, _counting(_of_file(workspace, pinned, each, horizons), horizons), tell)
        alone += _count_alone(workspace, pinned, each, horizons)
    differences = [
        Difference(app_id, _EPOCH + timedelta(days=day), archived[app_id, day], stored[app_id, day])
        for app_id, day in sorted(archived.keys() | stored.keys())
        if archived[app_id, day] != stored[app_id, day]
    ]
    return Verified(
        sum(each.events for each in stored.values()),
        sum(each.events for each in tail.values()),
        len(stored),
        differences,
        [each.name for each in damaged],
        alone,
        _count_doubled(workspace, pinned, whole, horizons) if alone else 0,
    )


def estimate(workspace: Workspace) -> int:
    """Return about how many events are read by a verification, of both sides."""
    with workspace.transaction(_TIMEOUT_S, commits=False):
        return 2 * sum(each.rows for each in manifest.read_all(workspace))


def _pin(workspace: Workspace, directory: Directory, files: list[File]) -> Directory:
    """Return a directory in which the files stay, whatever becomes of their names."""
    pinned = Directory(workspace.make_temporary(), "pinned")
    pinned.place.mkdir()
    for each in files:
        with suppress(FileNotFoundError):  # it is told of as damaged
            pinned.path_of(each.name).hardlink_to(directory.path_of(each.name))
    return pinned


def _is_whole(directory: Directory, file: File) -> bool:
    try:
        founding.require_whole(directory, file)
    except (OSError, Damaged):
        return False
    return True


_Row = tuple[int, int, str, str, str]
"""App, day, id, name, parameters as JSON text."""


def _sums(before: dict[Key, Sum] | None = None) -> dict[Key, Sum]:
    return defaultdict(Sum, before or {})


def _add(sums: dict[Key, Sum], found: Iterable[_Row], tell: Progress) -> None:
    count = 0
    for app_id, day, event_id, name, params in found:
        before = sums[app_id, day]
        checksum = (before.checksum + _hash(event_id, name, params)) & _MASK
        sums[app_id, day] = Sum(before.events + 1, checksum)
        count += 1
        if count % _CHUNK == 0:
            tell(_CHUNK)
    tell(count % _CHUNK)


def _hash(event_id: str, name: str, params: str) -> int:
    try:
        document = _canonical([event_id, name, _read(params)])
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # too deep to be compared
        document = _canonical([event_id, name])
    return int.from_bytes(hashlib.blake2b(document, digest_size=8).digest())


def _canonical(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _read(params: str) -> object:
    found = orjson.loads(params)
    return _read(found) if isinstance(found, str) else found  # one that is kept as a text


def _of_postgres(workspace: Workspace, condition: str) -> Iterator[_Row]:
    with workspace.stream(rows.sent("'user_id'", condition)) as answer:
        yield from _fetched(
            workspace,
            f"SELECT app_id, {_DAY}, id::VARCHAR, name, coalesce({rows.READABLE}, '{{}}')"
            f" FROM {answer}",
        )


def _counting(found: Iterable[_Row], horizons: Horizons) -> Iterator[_Row]:
    """Yield what is not behind a horizon; of what may be sent again the day is that of its id."""
    for each in found:
        app_id, _, event_id, name, params = each
        horizon_of_app = horizons.of(app_id)
        if event_id < (horizon_of_app.first or ""):
            continue
        is_old = event_id < (horizon_of_app.alone_before or "")
        yield (app_id, _day_of(event_id), event_id, name, params) if is_old else each


def _day_of(event_id: str) -> int:
    return unix_ms(moment_of(UUID(event_id))) // _DAY_MS


def _sent_again(
    workspace: Workspace,
    directory: Directory,
    files: Sequence[File],
    horizons: Horizons,
    condition: str,
) -> set[tuple[int, str]]:
    """Return app and id of what Postgres has taken anew, and files hold."""
    before = horizons.alone_before
    if before is None:
        return set()
    sql = f"SELECT app_id, id FROM events WHERE id < '{before}' AND {condition}"
    with workspace.stream(sql) as answer:
        workspace.duck.execute(f"CREATE OR REPLACE TEMP TABLE {_OF_TAIL} AS SELECT * FROM {answer}")
    found = set()
    for app_id in {each.app_id for each in files}:
        of_app = [each for each in files if each.app_id == app_id]
        found |= {
            (app_id, event_id)
            for (event_id,) in workspace.duck.execute(
                f"SELECT id::VARCHAR FROM {_OF_TAIL} WHERE app_id = {app_id}"
                f" AND id < '{horizons.of(app_id).alone_before or _NO_ID}'::UUID"
                f" AND id IN (SELECT id FROM {parquet(directory.place, of_app)})"
            ).fetchall()
        }
    return found


def _read_stored(workspace: Workspace, horizons: Horizons) -> None:
    """Have in DuckDB what Postgres holds of what it may have dropped."""
    before = horizons.alone_before or _NO_ID
    with workspace.stream(f"SELECT app_id, id FROM events WHERE id < '{before}'") as answer:
        workspace.duck.execute(f"CREATE OR REPLACE TEMP TABLE {_STORED} AS SELECT * FROM {answer}")


def _of_file(
    workspace: Workspace, directory: Directory, file: File, horizons: Horizons
) -> Iterator[_Row]:
    """Yield what can be compared."""
    counts = " AND ".join([*horizons.of(file.app_id).conditions, f"NOT ({_alone(file, horizons)})"])
    yield from _fetched(
        workspace,
        f"SELECT {file.app_id}, {_DAY}, id::VARCHAR, name, params::JSON::VARCHAR"
        f" FROM {parquet(directory.place, [file])} WHERE {counts}",
    )


def _count_alone(workspace: Workspace, directory: Directory, file: File, horizons: Horizons) -> int:
    counts = " AND ".join([*horizons.of(file.app_id).conditions, _alone(file, horizons)])
    sql = f"SELECT count(*) FROM {parquet(directory.place, [file])} WHERE {counts}"
    return int(workspace.duck.execute(sql).fetchall()[0][0])


def _alone(file: File, horizons: Horizons) -> str:
    """Return the SQL that is true of what Postgres has dropped."""
    before = horizons.of(file.app_id).alone_before
    if before is None:
        return "false"
    stored = f"SELECT id FROM {_STORED} WHERE app_id = {file.app_id}"
    return f"id < '{before}'::UUID AND id NOT IN ({stored})"


def _count_doubled(
    workspace: Workspace, directory: Directory, files: Sequence[File], horizons: Horizons
) -> int:
    """Return how many events are more than once in what the archive may hold alone."""
    total = 0
    for app_id in {each.app_id for each in files}:
        of_app = [each for each in files if each.app_id == app_id]
        old = f"id < '{horizons.of(app_id).alone_before or _NO_ID}'::UUID"
        sql = f"SELECT count(*) - count(DISTINCT id) FROM {parquet(directory.place, of_app)}"
        total += int(workspace.duck.execute(f"{sql} WHERE {old}").fetchall()[0][0])
    return total


_DAY: Final = f'epoch_us("at") // {_DAY_US}'


def _fetched(workspace: Workspace, sql: str) -> Iterator[_Row]:
    answer = workspace.duck.execute(sql)
    while found := answer.fetchmany(_CHUNK):
        yield from found
