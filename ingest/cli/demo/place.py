"""The directory of a demo, in which is all that it makes: one demo uses it at a time."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ingest.cli.demo import state
from ingest.errors import StartupError
from ingest.store.cluster import Cluster
from ingest.store.embedded import EmbeddedPostgres, find_programs

_LOCK: Final = "demo.lock"
_PID_BYTES_MAX: Final = 20
_FREE_BYTES_MIN: Final = 1 << 30
"""What a new one may take: 512 MB of them are Postgres's log once it has written much."""
_CONFIG: Final = """\
# Written by `nonito demo` at each start: what its server runs with, and what finds it.
# For example: nonito --config {path} psql

[server]
port = {port}

[database]
data_dir = {data}

[spool]
path = {spool}

[archive]
path = {archive}

[dashboard]
port = {dashboard_port}

[log]
level = "error"
"""


@contextmanager
def held(directory: Path) -> Iterator[int]:
    """Have a directory, made if it is new, to ourselves for a while; raise StartupError.

    Yields a descriptor; the directory is held for as long as any process has it open.
    """
    try:
        _require_ours(directory)
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartupError(f"{directory}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock
    except BlockingIOError:
        raise StartupError(f"a demo is running in {directory}{_who(lock)}") from None
    finally:
        os.close(lock)


def note_holder(lock: int, pid: int) -> None:
    """Note which process has the directory, for those who want it too."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(pid).encode(), 0)


def _who(lock: int) -> str:
    pid = os.pread(lock, _PID_BYTES_MAX, 0).decode()
    return f": end process {pid} first" if pid else ""


def _require_ours(directory: Path) -> None:
    """Raise StartupError for a directory in which something else is, or OSError for no such."""
    if directory.exists():
        found = {each.name for each in directory.iterdir()}
        if found - {_LOCK} and state.FILE not in found:
            raise StartupError(
                f"{directory} is no demo's: there is {min(found)!r} in it;"
                " name a new directory with --directory"
            )


def require_room(directory: Path) -> None:
    """Raise StartupError where a new demo may not fit."""
    free_bytes = shutil.disk_usage(directory).free
    if free_bytes < _FREE_BYTES_MIN:
        raise StartupError(
            f"{directory}: {free_bytes >> 20:,} MiB are free, and a demo may take"
            f" {_FREE_BYTES_MIN >> 20:,}; name a directory on another disk with --directory"
        )


def throw_away(directory: Path) -> None:
    """Delete all that a demo has made in a directory that is held; raise StartupError."""
    if Cluster(directory, find_programs()).is_running:  # as after a crash
        embedded = EmbeddedPostgres(directory)
        embedded.join()
        embedded.stop()
    # What says that it is a demo's comes last: whatever ends this, the next one may go on.
    found = sorted(directory.iterdir(), key=lambda each: each.name == state.FILE)
    try:
        for each in found:
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            elif each.name != _LOCK:
                each.unlink()
    except OSError as error:
        raise StartupError(f"{error.filename}: {error.strerror}") from error


def write_config(directory: Path, port: int, dashboard_port: int) -> Path:
    """Write the configuration of a demo's server, and return where; raise StartupError."""
    path = directory / "config.toml"
    at = directory.absolute()
    text = _CONFIG.format(
        path=_quoted(path),
        port=port,
        data=_quoted(at),
        spool=_quoted(at / "spool"),
        archive=_quoted(at / "archive"),
        dashboard_port=dashboard_port,
    )
    try:
        path.write_text(text, encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise StartupError(f"{path!a} can't be written: {error}") from error
    return path


def _quoted(path: Path) -> str:
    """Return a path as TOML has a string: as JSON has it."""
    return json.dumps(str(path), ensure_ascii=False)
