"""Filling a real server, by POST alone."""

import asyncio
import time

import pytest
import requests

from ingest.demo import documents
from ingest.demo.filling import Filled, fill
from ingest.demo.sending import Sender
from ingest.demo.traffic import DAY_MS, Span
from ingest.errors import StartupError
from tests.conftest import StartServer
from tests.demo.test_shop import scale
from tests.support.postgres import fetch
from tests.support.server import Server


def filled(server: Server, span: Span, told: list[int]) -> Filled:
    """Fill a span, and return what is there then."""

    async def work() -> Filled:
        async with Sender(server.url, server.key) as sender:
            return await fill(sender, scale(), span, 0, told.append)

    return asyncio.run(work())


@pytest.fixture
def span() -> Span:
    """The day before yesterday."""
    end_ms = time.time_ns() // 1_000_000 - DAY_MS
    return Span(end_ms - DAY_MS, end_ms)


def test_filling_that_is_begun_again_stores_nothing_twice(
    server: Server, database_url: str, span: Span
) -> None:
    """As after Ctrl-C: the same ids come again."""
    told: list[int] = []
    first, again = (filled(server, span, told) for _ in range(2))
    assert first == again
    assert first.events > 1_000
    assert span.begin_ms < told[0] < told[-1] < span.end_ms
    (row,) = asyncio.run(
        fetch(
            database_url,
            "SELECT count(*), min(timestamp) >= to_timestamp($1::float8 / 1000) AS is_in,"
            " max(timestamp) < to_timestamp($2::float8 / 1000) AS is_out FROM events",
            *span,
        )
    )
    assert tuple(row) == (first.events, True, True)


def test_server_that_refuses_what_is_sent_is_one_line(
    start_server: StartServer, database_url: str, span: Span
) -> None:
    """With its own reason."""
    strict = start_server(database_url, events__timestamp_past_days_max=0)
    with pytest.raises(StartupError, match=r"refused: 400.*invalid_(id|timestamp)"):
        filled(strict, span, [])
    assert asyncio.run(fetch(database_url, "SELECT FROM events")) == []


def test_every_mistake_of_the_live_shop_is_refused(server: Server) -> None:
    """So that there is something to see where refusals are shown."""
    for body in documents.MISTAKES:
        headers = {"X-API-Key": server.key, "Content-Type": "application/json"}
        answer = requests.post(f"{server.url}/event", data=body, headers=headers, timeout=30)
        assert answer.status_code == 400, body
