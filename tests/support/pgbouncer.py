"""A real PgBouncer in front of a cluster of the tests': one process, on a Unix socket only.

It refuses to run as root, and so it runs as the account that owns the cluster's sockets.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

from ingest.store.cluster import SUPERUSER, Cluster

PROGRAM: Final = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
"""None where it is not installed (Debian: pgbouncer)."""

_PORT: Final = 6432  # a name of the socket's, not a port that could be taken
_START_TIMEOUT_S: Final = 10.0
_RETRY_S: Final = 0.02


class PgBouncer:
    """One PgBouncer with settings of its own; a restart keeps its address."""

    def __init__(self, cluster: Cluster, directory: Path, settings: dict[str, object]) -> None:
        self._directory = directory
        self._owner = Path(_host(cluster)).stat()
        self._process: subprocess.Popen[bytes] | None = None
        self._write_files(_host(cluster), settings)

    def url(self, database: str) -> str:
        """Return where to connect for a database of the cluster's."""
        host = quote(str(self._directory))
        return f"postgresql://{SUPERUSER}@/{database}?host={host}&port={_PORT}"

    def through(self, url: str) -> str:
        """Return the way to the same database as a URL of the cluster's, through this pooler."""
        return self.url(urlsplit(url).path.removeprefix("/"))

    @property
    def log(self) -> str:
        """Return what it logged so far, in all its runs."""
        return (self._directory / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start and wait until it takes connections."""
        assert PROGRAM is not None
        is_root = os.geteuid() == 0
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "-q", str(self._directory / "pgbouncer.ini")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # As root it runs as somebody else, otherwise as who we are.
                user=self._owner.st_uid if is_root else None,
                group=self._owner.st_gid if is_root else None,
                extra_groups=[] if is_root else None,
            )
        end_s = time.monotonic() + _START_TIMEOUT_S
        while not self._accepts():
            assert time.monotonic() < end_s, self.log
            assert self._process.poll() is None, self.log
            time.sleep(_RETRY_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it at once (SIGTERM and SIGKILL alike cut every connection)."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_START_TIMEOUT_S)
            (self._directory / f".s.PGSQL.{_PORT}").unlink(missing_ok=True)
            self._process = None

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            return client.connect_ex(str(self._directory / f".s.PGSQL.{_PORT}")) == 0

    def _write_files(self, host: str, settings: dict[str, object]) -> None:
        users = self._directory / "users"
        users.write_text(f'"{SUPERUSER}" ""\n', encoding="utf-8")
        options = {
            "listen_port": _PORT,
            "unix_socket_dir": self._directory,
            "auth_type": "trust",
            "auth_file": users,
            "pool_mode": "transaction",
            "server_login_retry": 1,
            **settings,
        }
        lines = ["[databases]", f"* = host={host}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in options.items()]
        (self._directory / "pgbouncer.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if os.geteuid() == 0:
            os.chown(self._directory, self._owner.st_uid, self._owner.st_gid)


def _host(cluster: Cluster) -> str:
    """Return the directory of the cluster's socket."""
    return parse_qs(urlsplit(cluster.url("any")).query)["host"][0]


@contextmanager
def running_pgbouncer(cluster: Cluster, **settings: object) -> Iterator[PgBouncer]:
    """Run a PgBouncer in transaction mode; settings are those of its `[pgbouncer]` section."""
    directory = Path(tempfile.mkdtemp(prefix="nonito-bouncer-"))
    try:
        bouncer = PgBouncer(cluster, directory, settings)
        bouncer.start()
        try:
            yield bouncer
        finally:
            bouncer.stop(signal.SIGKILL)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
