"""Has the asker ask while everything goes on, and looks at the archive when it is over."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import asyncpg

from bench.audit import server_log
from bench.audit.failpoints import BUG_VARIABLE
from bench.audit.system import System
from ingest.store import api_keys

ANSWERS: Final = "answers"
_ROOT: Final = Path(__file__).parents[2]
_END_TIMEOUT_S: Final = 60.0
_ARCHIVED_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.2
_APPS: Final = "SELECT id, name FROM apps ORDER BY id"
_LEFT: Final = (
    "SELECT (SELECT count(*) FROM events WHERE xact >= archive_state.mark)"
    " + (NOT null_done)::int FROM archive_state"
)
_SHOWN_CHARS: Final = 400

Wrong = tuple[str, str]
"""An invariant, and how it is broken."""


class Asking:
    """The asker's process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    async def end(self) -> list[Wrong]:
        """Have it ask once more, and end; return what is wrong with that."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.to_thread(self._process.wait, _END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return [("archive-goes-on", f"no answer, {_END_TIMEOUT_S:.0f} s on")]
        return [("archive-goes-on", f"the asker ended with {code}")] if code else []


@asynccontextmanager
async def asking(system: System, directory: Path, bug: str) -> AsyncIterator[Asking]:
    """Have it ask until the end."""
    apps = []
    async with system.database.session() as connection:
        for app_id, name in await connection.fetch(_APPS):
            key = await api_keys.create(connection, name, "asker", None, api_keys.Kind.READ)
            apps.append(f"{app_id},{key}")
    process = await asyncio.to_thread(_start, system, directory, apps, bug)
    try:
        yield Asking(process)
    finally:
        process.kill()
        process.wait()


def _start(system: System, directory: Path, apps: list[str], bug: str) -> "subprocess.Popen[bytes]":
    assert system.archive is not None  # noqa: S101 - for the type checker
    archive, ports = str(system.archive.directory), ",".join(map(str, system.archive.ports))
    where = (system.proxied_url, archive, ports, str(directory / ANSWERS))
    with system.server.log_path.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "bench.audit.asker", *where, *apps],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env=os.environ | {BUG_VARIABLE: bug, "PYTHONPATH": str(_ROOT)},
        )


async def judge(system: System, asker: Asking) -> list[Wrong]:
    """Wait until all is archived, have it verified, and return what is wrong with the archive."""
    found: list[Wrong] = []
    if left := await _left(system):
        text = f"{left} events are not archived {_ARCHIVED_TIMEOUT_S:.0f} s on"
        found.append(("archive-goes-on", text))
    found += await asker.end()
    code, said = await asyncio.to_thread(system.server.ask, "archive", "verify")
    if code:
        found.append(("archive-true", " / ".join(said.split("\n"))[-_SHOWN_CHARS:]))
    return found


def judge_begun(system: System, spoilt: int) -> list[Wrong]:
    """Return what is wrong with how often an archive was begun, by how often one was spoilt."""
    begun = [why for node in system.nodes for why in server_log.archives_begun(node.server)]
    if len(begun) <= spoilt:
        return []
    return [("archive-kept", f"{len(begun)} were begun, {spoilt} were spoilt: {begun[-1]}")]


async def _left(system: System) -> int:
    """Wait until everything is archived; return how many events are not."""
    loop = asyncio.get_running_loop()
    end_s, left = loop.time() + _ARCHIVED_TIMEOUT_S, 1
    while left and loop.time() < end_s:
        with suppress(OSError, asyncpg.PostgresError):
            async with system.database.session() as connection:
                left = int(await connection.fetchval(_LEFT))
        await asyncio.sleep(_POLL_S)
    return left
