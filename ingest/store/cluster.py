"""A Postgres cluster of our own: one data directory, and the server in it.

The server listens on a Unix socket only, which nobody but its owner (and root) may use, and runs
apart from the process that starts it. As root it runs under an account of its own.
"""

import hashlib
import os
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import structlog

from ingest.errors import StartupError
from ingest.store import system_account
from ingest.store.system_account import Account

log = structlog.get_logger(__name__)

SUPERUSER = "postgres"
START_TIMEOUT_S = 120
"""Crash recovery may have to replay a whole checkpoint's worth of WAL."""
CONNECT_TIMEOUT_S = 10
"""For psql: a Postgres that is stopped takes connections as well, and says nothing."""
STOP_TIMEOUT_S = 60
QUERY_TIMEOUT_S = 60
"""For a statement of `execute`, to which belongs making a database on a slow disk."""

_CRASH_TIMEOUT_S = 10.0
_CRASH_RETRY_S = 0.1
_GRACE_S = 10
"""A program that has a time-out of its own is given so much longer, to say so itself."""
_PID_FILE = "postmaster.pid"
_STATUS_LINE = 7
"""Counted from 0: LOCK_FILE_LINE_PM_STATUS of Postgres's pidfile.h."""
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES_MAX = 100  # the kernel's limit is 107


class Cluster:
    """The cluster in `directory`, run by the programs in `programs`."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory.absolute()
        self._data = self.directory / "postgres"
        self._programs = programs
        self._account: Account | None = None
        self._socket_dir = _socket_dir(self.directory)

    @property
    def is_made(self) -> bool:
        """Return whether the cluster is there; one that is only half made is not."""
        return self._data.exists()

    @property
    def is_running(self) -> bool:
        """Return whether there is something to stop: a server that runs, starts, or was killed."""
        return (self._data / _PID_FILE).exists()

    @property
    def psql(self) -> Path:
        """Return the `psql` that comes with it."""
        return self._programs / "psql"

    @property
    def log(self) -> Path:
        """Return the file that the server logs to."""
        return self._data / "server.log"

    @property
    def postmaster_pid(self) -> int:
        """Return the server's process id; raise OSError when it does not run."""
        return int((self._data / _PID_FILE).read_text().split(maxsplit=1)[0])

    def url(self, database: str) -> str:
        """Return where to connect."""
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self._socket_dir))}"

    def create(self) -> None:
        """Make the cluster if it is new; raise StartupError or OSError."""
        self.make_directory()
        self._account = self._choose_account()
        self._secure_socket_dir()
        if self._account is not None:
            system_account.let_through(self.directory)
            system_account.require_passage(self._account, (self._data, self._socket_dir, self.psql))
        if not self.is_made:
            self._initialise()

    def make_directory(self) -> None:
        """Make the directory, and those above it, so that its account may pass; raise OSError."""
        places = (self.directory, *self.directory.parents)
        for missing in reversed([place for place in places if not place.exists()]):
            with suppress(FileExistsError):  # another process was first
                missing.mkdir()
                if os.geteuid() == 0:
                    system_account.let_through(missing)

    def start(self, *settings: str) -> None:
        """Start the server unless it runs, and wait until it takes connections."""
        self._secure_socket_dir()
        if self._is_up_in_time():
            return
        fixed = ("listen_addresses=", "unix_socket_permissions=0700")
        options = (*fixed, f"unix_socket_directories={self._socket_dir}", *settings)
        self._start_until(
            time.monotonic() + _CRASH_TIMEOUT_S,
            f"--log={self.log}",
            f"--options={' '.join(f'-c {shlex.quote(option)}' for option in options)}",
        )

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server and wait until it is gone."""
        self._pg_ctl(STOP_TIMEOUT_S, "stop", f"--mode={mode}")

    def accepts(self) -> bool:
        """Return whether somebody listens on the socket."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            return client.connect_ex(str(self._socket_dir / _SOCKET_NAME)) == 0

    def execute(self, sql: str) -> str:
        """Run SQL as the superuser and return what `psql` prints, unadorned."""
        options = ("--quiet", "--no-align", "--tuples-only", "--no-psqlrc", "--set=ON_ERROR_STOP=1")
        url = f"{self.url(SUPERUSER)}&connect_timeout={CONNECT_TIMEOUT_S}"
        return self._run(QUERY_TIMEOUT_S, "psql", *options, url, "--command", sql).strip()

    def create_database(self, name: str) -> None:
        """Make a database unless it exists; the name is ours, made of letters."""
        if not self.execute(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):  # noqa: S608
            self.execute(f"CREATE DATABASE {name}")

    def _secure_socket_dir(self) -> None:
        """Have a directory that is ours: whoever owns it can take our clients' connections.

        Raises StartupError where somebody else was first, as anybody can be in a temporary folder.
        """
        place, owners = self._socket_dir, {os.geteuid()}
        with suppress(FileExistsError):
            place.mkdir(mode=0o700)
        if self._account is not None:
            owners.add(self._account.uid)
        found = place.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or _is_open_to_all(place):
            raise StartupError(
                f"the directory for Postgres's socket, {place}, may be somebody else's: delete it, "
                "or set database.data_dir to a shorter path"
            )
        if self._account is not None:
            os.chown(place, *self._account, follow_symlinks=False)
        place.chmod(0o700)

    def _choose_account(self) -> Account | None:
        if os.geteuid() != 0:
            return None
        if self.is_made:
            owner = self._data.stat()
            return Account(owner.st_uid, owner.st_gid)
        return system_account.make()

    def _is_up_in_time(self) -> bool:
        """Return whether it takes connections, once one that somebody has started by now does.

        It listens before it has replayed what a crash has left. Raises StartupError.
        """
        end_s = time.monotonic() + START_TIMEOUT_S
        while self.accepts():
            if self._is_ready:
                return True
            if time.monotonic() >= end_s:
                raise StartupError(f"the Postgres in {self._data} is starting for too long")
            time.sleep(_CRASH_RETRY_S)
        return False

    @property
    def _is_ready(self) -> bool:
        """Whether the server has written that it takes statements, where pg_ctl looks as well."""
        try:
            lines = (self._data / _PID_FILE).read_text().splitlines()
        except OSError:
            return False
        return len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() in {"ready", "standby"}

    def _start_until(self, end_s: float, *options: str) -> None:
        """Start; after a crash again and again, since what was killed lives on for a moment.

        Postgres takes a zombie for a running server, and its children keep the shared memory.
        """
        while True:
            # Where we are the first process of a container, nobody else reaps it.
            with suppress(OSError, ValueError):
                os.waitpid(self.postmaster_pid, os.WNOHANG)
            try:
                self._pg_ctl(START_TIMEOUT_S, "start", *options)
            except StartupError:
                if not self.is_running or time.monotonic() >= end_s:
                    raise
                time.sleep(_CRASH_RETRY_S)
            else:
                return

    def _initialise(self) -> None:
        """Make the cluster under another name first, so that a half-made one is never used."""
        unfinished = self.directory / "postgres.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(unfinished, *self._account)
        log.info("making a Postgres cluster", directory=str(self._data))
        options = (f"--username={SUPERUSER}", "--auth=trust", "--encoding=UTF8", "--locale=C")
        self._run(START_TIMEOUT_S, "initdb", *options, f"--pgdata={unfinished}")
        unfinished.rename(self._data)

    def _pg_ctl(self, timeout_s: float, action: str, *options: str) -> None:
        wait = ("--wait", f"--timeout={timeout_s}", f"--pgdata={self._data}")
        self._run(timeout_s + _GRACE_S, "pg_ctl", action, *wait, *options)

    def _run(self, timeout_s: float, program: str, *arguments: str) -> str:
        """Run one of Postgres's programs and return what it prints; raise StartupError."""
        # Output goes to a file: the server inherits it, and a pipe would never end.
        with tempfile.TemporaryFile() as output:
            user = self._account
            try:
                ended = subprocess.run(  # noqa: S603 - our own programs and arguments
                    [self._programs / program, *arguments],
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    user=user.uid if user else None,
                    group=user.gid if user else None,
                    extra_groups=[] if user else None,
                    check=False,
                    timeout=timeout_s,
                )
            except subprocess.TimeoutExpired as error:
                raise self._failed(f"{program} took longer than {timeout_s:g} s") from error
            output.seek(0)
            text = output.read().decode(errors="replace")
        if ended.returncode != 0:
            last = (text.strip().splitlines() or ["no output"])[-1].strip()
            raise self._failed(f"{program}: {last.removeprefix(f'{program}: ')}")
        return text

    def _failed(self, why: str) -> StartupError:
        return StartupError(f"the Postgres in {self.directory} failed ({why}); see {self.log}")


def _socket_dir(directory: Path) -> Path:
    """Return a place for the socket whose path is short enough for the kernel."""
    beside = directory / "run"
    if len(os.fsencode(beside / _SOCKET_NAME)) <= _SOCKET_PATH_BYTES_MAX:
        return beside
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"nonito-{name}"


def _is_open_to_all(place: Path) -> bool:
    """Whether anybody may put another directory in this one's place."""
    mode = place.parent.stat().st_mode
    return bool(mode & stat.S_IWOTH and not mode & stat.S_ISVTX)
