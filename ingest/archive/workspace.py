"""Where work is done: DuckDB in memory, beside one connection to Postgres that answers in Arrow.

Both are bounded: DuckDB in memory and threads, Postgres in time, and what takes longer than it may
is ended. DuckDB and ADBC are loaded with the first workspace: a server without them serves on.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import uuid4

from ingest.archive import driver, line
from ingest.archive.directory import TEMPORARY
from ingest.archive.failures import (
    ArchiveTrouble,
    DiskTrouble,
    NotInstalled,
    NotReady,
    OutOfMemory,
    Overtaken,
    PostgresTrouble,
    TimedOut,
)
from ingest.archive.rows import literal
from ingest.insights_extra import INSTALL, OF_ARCHIVE
from ingest.store import citus
from ingest.store.database_url import DatabaseUrl
from ingest.store.postgres import KEEPALIVES

if TYPE_CHECKING:
    import duckdb

_ANSWER: Final = "answer_of_postgres"
_CONNECT_TIMEOUT_S: Final = 5
_LOOK_TIMEOUT_S: Final = 5.0
_STATEMENT_SHARE: Final = 0.9
_OVERTAKEN: Final = ("40001", "40P01")
"""Of two who change the same rows one is turned away: what it does is to be begun anew."""
_OLDER_SCHEMA: Final = ("42703", "42P01")
"""A column, or a table, that is not there."""
_SAYS: Final = "ERROR: "
_SPILL_FACTOR: Final = 16


class Bounds(NamedTuple):
    """What one workspace may take."""

    memory_max: int
    """Bytes, of DuckDB's own."""
    threads: int
    path: Path
    """`archive.path`: the one directory that DuckDB may read and write; what does not fit in memory
    is in `temporary` below it."""


class Workspace:
    """One DuckDB and one connection to Postgres; not for two threads, but for `cut`."""

    def __init__(self, url: str, bounds: Bounds) -> None:
        require_installed()
        self._driver: Any = import_module("adbc_driver_manager")
        self._duckdb: Any = import_module("duckdb")
        self._was_cut = False
        self._temporary = bounds.path / TEMPORARY / f"{os.getpid()}-{uuid4().hex}"
        with self.judging():
            (bounds.path / TEMPORARY).mkdir(parents=True, exist_ok=True)
            self.duck: duckdb.DuckDBPyConnection = self._open_duckdb(bounds)
        try:
            with self.judging():
                uri = DatabaseUrl(url).for_libpq(_CONNECT_TIMEOUT_S, "nonito-archive")
                self._postgres, self._line = line.connecting(lambda: driver.connect(uri))
        except BaseException:
            self.duck.close()
            raise

    def _open_duckdb(self, bounds: Bounds) -> "duckdb.DuckDBPyConnection":
        opened: duckdb.DuckDBPyConnection = self._duckdb.connect(
            config={
                "memory_limit": f"{bounds.memory_max}B",
                "threads": bounds.threads,
                "temp_directory": str(self._temporary.absolute()),
                "max_temp_directory_size": f"{bounds.memory_max * _SPILL_FACTOR}B",
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        allowed = literal(str(bounds.path.absolute()))
        opened.execute(
            f"SET TimeZone = 'UTC'; SET allowed_directories = [{allowed}];"
            " SET enable_external_access = false; SET lock_configuration = true"
        )
        return opened

    @contextmanager
    def transaction(
        self, timeout_s: float, *, commits: bool, lock: str | None = None
    ) -> Iterator[None]:
        """Do everything in one snapshot of Postgres, and end it after `timeout_s` at the latest.

        It is committed if it `commits` and nothing is raised. `lock` is a statement that locks a
        table, before there is a snapshot. Raises ArchiveTrouble.
        """
        with self._within(timeout_s), self.judging():
            mode = "READ WRITE" if commits else "READ ONLY"
            self.execute(f"BEGIN ISOLATION LEVEL REPEATABLE READ, {mode}")
            try:
                self._limit(timeout_s)
                if lock:
                    self.execute(lock)
                yield
                self.execute("COMMIT" if commits else "ROLLBACK")
            except BaseException:
                with suppress(Exception):  # the connection may be gone, and the transaction with it
                    self.execute("ROLLBACK")
                raise

    def _limit(self, timeout_s: float) -> None:
        """Have Postgres give up before we do, and speak as we read it."""
        settings = {
            "statement_timeout": f"{timeout_s * _STATEMENT_SHARE * 1000:.0f}",
            "lock_timeout": "5000",
            "idle_in_transaction_session_timeout": "0",
            **KEEPALIVES,
            "TimeZone": "UTC",
            # Of `xact` there are no statistics in partitions from before it.
            "enable_seqscan": "off",
            "jit": "off",
            "max_parallel_workers_per_gather": "0",
        }
        # None of these takes a snapshot, which SELECT set_config would. One from before a partition
        # is attached would not see the rows that moved there, were the tables locked afterwards.
        for name, value in settings.items():
            self.execute(f"SET LOCAL {name} = '{value}'")
        self.execute("LOCK TABLE events IN ACCESS SHARE MODE")

    @contextmanager
    def _within(self, timeout_s: float) -> Iterator[None]:
        timer = threading.Timer(timeout_s, self.cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def execute(self, sql: str) -> int:
        """Have Postgres do something; return how many rows it was about, -1 if that is not said."""
        statement = self._driver.AdbcStatement(self._postgres)
        try:
            statement.set_sql_query(sql)
            return int(statement.execute_update())
        finally:
            statement.close()

    @contextmanager
    def stream(self, sql: str) -> Iterator[str]:
        """Ask Postgres, and yield the name by which DuckDB reads the answer, once, as it comes."""
        statement = self._driver.AdbcStatement(self._postgres)
        try:
            statement.set_sql_query(sql)
            answer, _ = statement.execute_query()
            self.duck.register(_ANSWER, answer)
            try:
                yield _ANSWER
            finally:
                self.duck.unregister(_ANSWER)
        finally:
            statement.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the answer of Postgres to a question. Times have to be asked for as numbers."""
        with self.stream(sql) as answer:
            return self.duck.execute(f"SELECT * FROM {answer}").fetchall()

    @cached_property
    def is_distributed(self) -> bool:
        """Whether events are on several nodes of Citus."""
        is_there = bool(self.rows(citus.IS_THERE)[0][0])
        return is_there and bool(self.rows(citus.IS_DISTRIBUTED)[0][0])

    def make_temporary(self) -> Path:
        """Return a directory that goes with the workspace; raise OSError."""
        self._temporary.mkdir(parents=True, exist_ok=True)
        return self._temporary

    def cut(self) -> None:
        """End whatever goes on here, from another thread; nothing where it was closed meanwhile."""
        self._was_cut = True
        self._line.cut()
        with suppress(self._duckdb.ConnectionException):
            self.duck.interrupt()

    @property
    def is_usable(self) -> bool:
        """Whether more work can be done here."""
        if self._was_cut:
            return False
        try:
            with self._within(_LOOK_TIMEOUT_S):
                self.execute("SELECT 1")
        except Exception:  # noqa: BLE001 - of whatever kind: it is no use any more
            return False
        return True

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Raise what DuckDB, ADBC and the disk raise as ArchiveTrouble."""
        try:
            yield
        except (ArchiveTrouble, GeneratorExit):
            raise
        except OSError as error:
            raise DiskTrouble(_told(error)) from error
        except (self._duckdb.Error, self._driver.Error) as error:
            raise self._judge(error) from error

    def _judge(self, error: Exception) -> ArchiveTrouble:
        if self._was_cut:
            return TimedOut("it took longer than it may")
        if isinstance(error, self._driver.Error):
            return _of_postgres(error)
        if isinstance(error, self._duckdb.OutOfMemoryException):
            return OutOfMemory(_told(error))
        if not self._is_answering():  # DuckDB says in words of its own that a stream has failed
            return PostgresTrouble(_told(error))
        is_of_disk = isinstance(error, self._duckdb.IOException)
        return (DiskTrouble if is_of_disk else ArchiveTrouble)(_told(error))

    def _is_answering(self) -> bool:
        try:
            self.execute("SELECT 1")
        except self._driver.Error:
            return False
        return True

    def close(self) -> None:
        """Give everything back."""
        self._line.forget()
        self.duck.close()
        with suppress(Exception):  # it may be gone
            self._postgres.close()
        shutil.rmtree(self._temporary, ignore_errors=True)


@contextmanager
def opened(url: str, bounds: Bounds) -> Iterator[Workspace]:
    """Open a workspace for one piece of work; raise ArchiveTrouble."""
    made = Workspace(url, bounds)
    try:
        yield made
    finally:
        made.close()


def require_installed() -> None:
    """Raise NotInstalled if something is missing that the archive needs."""
    try:
        for name in OF_ARCHIVE:
            import_module(name)
    except ImportError as error:
        raise NotInstalled(f"{error.name} is not installed: {INSTALL}") from error


def _of_postgres(error: Exception) -> ArchiveTrouble:
    sqlstate = str(getattr(error, "sqlstate", None) or "").strip("\0")
    if sqlstate in _OVERTAKEN:
        return Overtaken("another process has changed the archive meanwhile")
    if sqlstate in _OLDER_SCHEMA:
        return NotReady(
            "the database's tables are those of a version before: `nonito migrate` makes them"
            f" this one's, as a server does once no lock is in its way ({_told(error)})"
        )
    return PostgresTrouble(_told(error), sqlstate)


def _told(error: Exception) -> str:
    """Return the line of an error that says what is wrong; the statement before it may be long."""
    text = str(error).strip() or type(error).__name__
    return text[max(0, text.find(_SAYS)) :].splitlines()[0][:300]
