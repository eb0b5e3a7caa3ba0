"""What a question sees: all events of an app, archive plus tail, each once, in one snapshot.

Manifest, mark, horizon and tail are read in one transaction of Postgres, so nothing is counted
twice or missed while the archiver commits, and what is no longer kept leaves all answers at once.
It ends before the question is asked. Files that stopped counting meanwhile are there for a while
yet (`directory.GRACE_S`): a question has to end before.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest import cores, memory
from ingest.archive import horizon, links, manifest, resent, rows, state, tail
from ingest.archive.directory import Directory
from ingest.archive.failures import NotHere
from ingest.archive.horizon import Horizon
from ingest.archive.known import Known, sources_of
from ingest.archive.manifest import File
from ingest.archive.scope import Place, Scope
from ingest.archive.workspace import Bounds, Workspace
from ingest.config import Config

if TYPE_CHECKING:
    import duckdb

_TIMEOUT_S: Final = 30.0
_SPARE_MAX: Final = 2
_THREADS_MAX: Final = 4
"""Of each question, where nobody says how many."""
_MEMORY_PARTS: Final = 16
_MEMORY_OF_THREAD: Final = 64 << 20
"""With less DuckDB may give up where it could write to disk."""
_MEMORY_MAX: Final = 4 << 30
_EVERYTHING: Final = Scope()


class View(NamedTuple):
    """A relation of events of one app: id, at, created_at, name, person, params."""

    connection: "duckdb.DuckDBPyConnection"
    """For one thread; `interrupt` may be called from another."""
    sources: tuple[str, ...]
    """What to put after FROM, each with the six columns; together they hold each event once, those
    of the range that was asked for and some more. Not one relation: DuckDB 2.0 reads one parameter
    of a file alone only if nothing stands between."""
    as_of: datetime
    """The time of the snapshot: everything that was answered with 200 before is seen."""
    mark: int
    """Of the archive; it moves on while events come in."""
    erased: int
    """How often events were taken out of it, or of the tail."""
    tail_rows: int
    """How many of the events came from Postgres."""
    tail_bytes: int
    """Of their parameters, if a portion was asked for."""
    until: Place | None
    """Up to where it holds all that was asked for, if that was a portion; None: without end."""
    known: Known
    """Of its events, without a look at them."""
    links: str | None
    """The relation that says which ids are one person's (`links.py`), by a name that is another
    one when it says anything else; None if nothing does, or nobody asks for people."""


def views_of(config: Config, url: str) -> "Views":
    """Return what opens views of a server's archive, as that is configured."""
    return Views(
        url,
        Path(config.archive.path),
        memory_max=_question_memory(config),
        threads=question_threads(config),
    )


def question_threads(config: Config) -> int:
    """Return how many threads each question has, as that is configured."""
    return config.dashboard.question_threads or min(cores.count(), _THREADS_MAX)


def _question_memory(config: Config) -> int:
    """Return how many bytes each question has; those that are answered at once are few."""
    share = min(memory.total_bytes() // _MEMORY_PARTS, _MEMORY_MAX)
    least = question_threads(config) * _MEMORY_OF_THREAD
    return max(config.dashboard.question_memory_max or share, least)


class Views:
    """Opens views, for all threads; what it has opened it keeps until it is told to `rest`."""

    def __init__(self, url: str, path: Path, *, memory_max: int, threads: int) -> None:
        self._url = url
        self._path = path
        self._bounds = Bounds(memory_max, threads, path)
        self._spare: list[Workspace] = []
        self._lock = threading.Lock()

    @contextmanager
    def view(self, app_id: int, scope: Scope = _EVERYTHING) -> Iterator[View]:
        """Open a view of an app's events; raise ArchiveTrouble.

        Takes as long as Postgres takes for the tail, and blocks: to be done in a thread.
        """
        workspace = self._take()
        is_good = False
        try:
            with workspace.judging():
                made = _make(workspace, self._path, app_id, scope)
                yield made
            is_good = True
        finally:
            self._give_back(workspace, is_good=is_good)

    def rest(self) -> None:
        """Give back what is kept for the next view."""
        with self._lock:
            spare, self._spare = self._spare, []
        for each in spare:
            each.close()

    def _take(self) -> Workspace:
        while True:
            with self._lock:
                found = self._spare.pop() if self._spare else None
            if found is None:
                return Workspace(self._url, self._bounds)
            if found.is_usable:
                return found
            found.close()

    def _give_back(self, workspace: Workspace, *, is_good: bool) -> None:
        if is_good:
            workspace.duck.execute(tail.DROP)
            with self._lock:
                if len(self._spare) < _SPARE_MAX:
                    self._spare.append(workspace)
                    return
        workspace.close()


def _make(workspace: Workspace, path: Path, app_id: int, scope: Scope) -> View:
    with workspace.transaction(_TIMEOUT_S, commits=False):
        found = state.read(workspace)
        found.require_same()
        counts = horizon.read_of_app(workspace, app_id)
        files = _read_files(workspace, app_id, counts, scope)
        directory = Directory(path, found.archive_id)
        if not directory.is_there:
            raise NotHere(f"the archive is not in {path}, but where another server archives")
        user_field = _user_field(workspace, app_id)
        reader = tail.Reader(workspace, found, app_id, user_field, counts.conditions)
        read = reader.read(scope)
        said = links.read(workspace, found, app_id) if scope.has_people else None
        all_files = partial(_read_files, workspace, app_id, counts)
        again = resent.leave_out(workspace, directory, "sent", all_files, counts)
    read = read._replace(rows=read.rows - again)
    as_of = rows.time_of(found.now_us)
    sources = (*_of_files(directory.place, files, user_field, counts), tail.NAME)
    known = Known(workspace, directory.place, files, tail.ends(workspace), counts)
    return View(workspace.duck, sources, as_of, found.mark, found.erased, *read, known, said)


def _read_files(
    workspace: Workspace, app_id: int, counts: Horizon, scope: Scope = _EVERYTHING
) -> list[File]:
    """Return the files with events of an app that count, of a scope's time."""
    found = manifest.read_of_app(workspace, app_id, scope.start, scope.end)
    return [each for each in found if not counts.is_behind(each)]


def _user_field(workspace: Workspace, app_id: int) -> str:
    found = workspace.rows(f"SELECT user_field FROM apps WHERE id = {int(app_id)}")
    return str(found[0][0]) if found else rows.USER_FIELD


def _of_files(
    directory: Path, files: Sequence[File], user_field: str, counts: Horizon
) -> list[str]:
    """Return the sources of files, those of another user field apart."""
    named = [each for each in files if each.user_field == user_field]
    other = [each for each in files if each.user_field != user_field]
    person = rows.person_of(user_field)
    return [
        *sources_of(directory, named, counts),
        *sources_of(directory, other, counts, f"* REPLACE ({person} AS person)"),
    ]
