"""The first key: shown to whoever sits at a terminal, or kept in a file, and nowhere else.

What a container, a service or a CI run prints is kept, and read by others.
"""

import asyncio
import os
from pathlib import Path
from typing import Final

import structlog

from ingest.errors import StartupError
from ingest.store import api_keys
from ingest.store.failures import Unavailable
from ingest.store.postgres import Connection, Postgres

log = structlog.get_logger(__name__)

APP: Final = "default"
NONE: Final = f"No API key yet: nonito keys create --app {APP}"
_FILE_TIMEOUT_S: Final = 5.0


async def make(postgres: Postgres, file: str) -> str | None:
    """Make the app and its key if there is no app at all, and return the key; None without.

    With a `file` it is there, durably, before it is valid. Raises StartupError if it can't be.
    """
    try:
        async with postgres.session() as connection, connection.transaction():
            return await _make(connection, Path(file) if file else None)
    except Unavailable as failure:  # a later start makes it
        log.warning("no API key was made: Postgres is away", reason=failure.reason)
        return None


async def _make(connection: Connection, file: Path | None) -> str | None:
    secret = await api_keys.create_first(connection, APP)
    if secret is not None and file is not None:
        try:
            async with asyncio.timeout(_FILE_TIMEOUT_S):
                await asyncio.to_thread(_write, file, secret)
        except OSError as error:  # TimeoutError is one
            reason = error.strerror or "its disk takes too long"
            raise StartupError(f"keys.first_key_file {file}: {reason}") from error
    return secret


def _write(file: Path, secret: str) -> None:
    """Write it under another name first: whoever waits for the file finds all of it."""
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(f"{secret}\n")
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)


def tell(secret: str | None, file: str, address: str) -> str:
    """Return what is said of the key that was made, if one was, and how to make another."""
    if secret is None:
        return f"Another API key: nonito keys create --app {APP}"
    if file:
        return f"Made the app {APP!r}; its API key is in {file}"
    return (
        f"Made the app {APP!r} and its API key, which is shown only now: {secret}\n"
        "Your first event:\n\n"
        f"curl -X POST {address}/event -H 'Content-Type: application/json' "
        f"-H 'X-API-Key: {secret}' "
        """-d '{"event_name": "page_view", "event_params": {"page": "/home"}}'\n"""
    )
