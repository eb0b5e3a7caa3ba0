"""What every answer must be, and what the database holds."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from tests.support.postgres import fetch
from tests.support.raw import Answer

EXPOSED = (
    "Nonito-Duplicate, Preference-Applied, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset,"
    " Retry-After, X-Request-Id"
)
NEVER_SHOWN = (b"Traceback", b"<html", b"<!DOCTYPE", b"<h1", b'File "', b"Error(")


def assert_refusal(answer: Answer, status: int, code: str) -> str:
    """Check that a refusal has this status and code and the one shape; return its message."""
    assert (answer.status, answer.code) == (status, code), answer
    assert answer.headers["content-type"] == "application/json"
    shape = answer.json()
    assert list(shape) == ["status", "error"]
    assert shape["status"] == "error"
    assert list(shape["error"]) == ["code", "message"]
    assert not any(trace in answer.body for trace in NEVER_SHOWN), answer.body
    message = shape["error"]["message"]
    assert isinstance(message, str)
    assert len(message) > 10
    assert ("retry-after" in answer.headers) is (status in (429, 503))
    assert ("allow" in answer.headers) is (status == 405)
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    return message


def assert_success(answer: Answer, status: int = 200) -> dict[str, Any]:
    """Check that an answer is a success with one row; return the row."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["status"] == "success"
    (row,) = answer.json()["data"]
    assert isinstance(row, dict)
    return row


def assert_open_to_browsers(answer: Answer) -> None:
    """Check that the script of any page may read an answer, and those headers that it needs."""
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    needed = EXPOSED.lower().split(", ")
    exposed = EXPOSED if any(name in answer.headers for name in needed) else None
    assert answer.headers.get("access-control-expose-headers") == exposed


def query(url: str, sql: str, *arguments: object) -> list[Any]:
    """Run a query, for tests that are not async."""
    return asyncio.run(fetch(url, sql, *arguments))


@contextmanager
def locked_events(url: str) -> Iterator[None]:
    """Let no writer commit: the table is locked by another session."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(url, timeout=10))
        runner.run(connection.execute("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE"))
        try:
            yield
        finally:
            runner.run(connection.close())
