"""Apps and keys with limits, for tests that don't want to know what time it is."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from ingest.store.tokens import digest
from tests.support.postgres import fetch


def zone_at_noon() -> str:
    """Return a time zone in which it is about noon: no day ends there while a test runs."""
    return f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"


def limit_app(url: str, app: str, **limits: int | None) -> None:
    """Have an app held to limits, by hand."""
    _limit(url, "apps", "name", app, {**limits, "timezone": zone_at_noon()})


def limit_key(url: str, key: str, **limits: object) -> None:
    """Have a key held to limits of any kind, by hand."""
    _limit(url, "api_keys", "secret_sha256", digest(key), limits)


def _limit(url: str, table: str, column: str, which: object, values: Mapping[str, object]) -> None:
    assigned = ", ".join(f"{name} = ${place}" for place, name in enumerate(values, 2))
    sql = f"UPDATE {table} SET {assigned} WHERE {column} = $1 RETURNING 1"
    assert asyncio.run(fetch(url, sql, which, *values.values()))
