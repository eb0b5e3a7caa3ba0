"""What the storing peers share: options, API keys, the checks of an event, ids, and the answer.

They check what the API reference asks for, no more: a known key, valid JSON, an `event_name`, an
object of parameters. They store into the same table and answer with the same stored row.
"""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import click
import orjson

COLUMNS = ("app_id", "id", "event_name", "event_params", "created_at")
FIXED_BODY = (
    b'{"status":"success","data":[{"id":"01a20775-3827-7f9a-a84b-77c69c54c242",'
    b'"event_name":"button_click","event_params":{"user_id":"12345","button_id":"signup_btn",'
    b'"page":"/home"},"created_at":"2026-01-10T12:00:00.123Z"}]}'
)

_START_TIMEOUT_S = 10.0


class BadEventError(ValueError):
    """A body that is no event; the message says why."""


class Row(NamedTuple):
    """One row of `events`, in the order of COLUMNS."""

    app_id: int
    id: UUID
    event_name: str
    event_params: str
    created_at: datetime


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every peer takes."""
    command = click.option("--database-url", default="", help="Where to store.")(command)
    return click.option("--port", default=0, help="Port to listen on; 0 takes any.")(command)


def greet(port: int) -> None:
    """Say where the server listens, in the words of `nonito serve`."""
    click.echo(f"Listening on http://127.0.0.1:{port}")


async def load_keys(database_url: str) -> dict[bytes, int]:
    """Return the app of each API key by the key's SHA-256."""
    async with asyncio.timeout(_START_TIMEOUT_S):
        connection = await asyncpg.connect(database_url)
        rows = await connection.fetch(
            "SELECT secret_sha256, app_id FROM api_keys WHERE revoked_at IS NULL"
        )
        await connection.close()
    return {row["secret_sha256"]: row["app_id"] for row in rows}


def digest(secret: str) -> bytes:
    """Return what a key is looked up by."""
    return hashlib.sha256(secret.encode()).digest()


def new_id() -> UUID:
    """Return a UUIDv7: 48 bits of Unix milliseconds, the rest random."""
    random = int.from_bytes(os.urandom(10), "big")
    value = (time.time_ns() // 1_000_000) << 80 | random
    return UUID(int=value & ~(0xF000 << 64) & ~(0xC000 << 48) | 0x7000 << 64 | 0x8000 << 48)


def parse(app_id: int, body: bytes) -> Row:
    """Return the row of a request's body; raise BadEventError."""
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadEventError(f"invalid JSON: {error}") from error
    if not isinstance(event, dict):
        raise BadEventError("the body must be an object")
    name, params = event.get("event_name"), event.get("event_params")
    if not isinstance(name, str) or not name:
        raise BadEventError("event_name is missing")
    if params is not None and not isinstance(params, dict):
        raise BadEventError("event_params must be an object")
    return Row(app_id, new_id(), name, orjson.dumps(params or {}).decode(), datetime.now(UTC))


def success(row: Row) -> bytes:
    """Return the answer's body for a stored row."""
    stored: dict[str, Any] = {
        "id": row.id,
        "event_name": row.event_name,
        "event_params": orjson.Fragment(row.event_params),
        "created_at": row.created_at,
    }
    return orjson.dumps({"status": "success", "data": [stored]}, option=orjson.OPT_UTC_Z)


def failure(message: str) -> bytes:
    """Return the answer's body for a refused request."""
    return json.dumps({"status": "error", "error": {"message": message}}).encode()
