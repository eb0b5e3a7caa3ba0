"""A server that SDKs send to, for all tests of a module."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.sdks.shop import shop  # noqa: F401 - a fixture
from tests.support.postgres import fetch
from tests.support.server import Server, wait_until_drained

Row = dict[str, Any]
Stored = Callable[[], list[Row]]


@pytest.fixture
def stored(shared_server: Server, shared_database_url: str) -> Stored:
    """Read all events, in the order of their ids, with their parameters as Python has them."""

    def read() -> list[Row]:
        wait_until_drained(shared_server)
        return rows_of(shared_database_url, "events")

    return read


@pytest.fixture
def aside(shared_database_url: str) -> Stored:
    """Read what was set aside; parameters are texts."""
    return lambda: rows_of(shared_database_url, "rejected_events")


def rows_of(url: str, table: str) -> list[Row]:
    """Return what a table has, in the order of ids."""
    rows = asyncio.run(
        fetch(url, f"SELECT *, event_params::text AS params FROM {table} ORDER BY id")
    )
    return [
        {**row, "params": json.loads(row["params"]) if table == "events" else row["params"]}
        for row in rows
    ]
