"""Servers that answer 202 too early: `nonito`, with one bug, for checks that must find it.

`python -c "from tests.support import hasty; hasty.without_fsync()" serve --port N`.
"""

import sqlite3
from pathlib import Path

from bench.audit import spool_bugs
from ingest.cli import main
from ingest.spool.sqlite import database
from ingest.supervisor import child


def without_fsync() -> None:
    """Leave it to the kernel when the spool reaches the disk."""
    _run_with("OFF", "without_fsync")


def without_fsync_of_the_wal() -> None:
    """Sync at checkpoints only."""
    _run_with("NORMAL", "without_fsync_of_the_wal")


def before_the_commit() -> None:
    """Answer, and then spool."""
    spool_bugs.ack_before_spool()
    _run("before_the_commit")


def _run_with(synchronous: str, name: str) -> None:
    original = database.open_for_writing

    def open_for_writing(path: Path) -> sqlite3.Connection:
        connection = original(path)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        return connection

    database.open_for_writing = open_for_writing
    _run(name)


def _run(name: str) -> None:
    """Run the command; its workers have the bug as well."""
    bug = f"from tests.support import hasty; hasty.{name}()"
    child.COMMAND = ("-c", bug)  # type: ignore[misc]
    main()
