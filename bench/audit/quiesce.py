"""After the last fault: a fresh event, an empty spool, and what is stored then."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Final

import asyncpg

from bench.audit import rejected
from bench.audit.answers import Answer, file_answer
from bench.audit.checker import Checker
from bench.audit.clients import Traffic
from bench.audit.history import QUIT
from bench.audit.rows import StoredEvent
from bench.audit.scrape import Scraper
from bench.audit.system import System
from bench.audit.verdicts import FRESH_S_MAX, Observed
from bench.audit.workload import Request
from bench.load.http import AnswerError, Heads

_CLIENT: Final = 1_000_000
"""The number of the client that sends fresh events to the first server; no other has it."""
_PATIENCE_S: Final = 15.0
_RETRY_S: Final = 0.05
_POLL_S: Final = 0.1
_READ_TIMEOUT_S: Final = 120.0
_ROWS_PREFETCHED: Final = 5_000
_OK: Final = 200
_IS_VISIBLE: Final = (
    "SELECT EXISTS (SELECT 1 FROM events"
    " WHERE app_id = ANY(ARRAY(SELECT id FROM apps)) AND id = $1::uuid)"
)
"""Not a join: without statistics, which a crash takes, that walks all rows, 2 s for 4 million."""
_ROWS: Final = (
    "SELECT coalesce(array_position(ARRAY(SELECT id FROM apps ORDER BY id), app_id), 0) - 1,"
    " id::text, event_name, event_params::text,"
    " (extract(epoch FROM created_at) * 1000000)::bigint,"
    " (extract(epoch FROM timestamp) * 1000000)::bigint FROM events"
)


async def fresh(system: System, traffic: Traffic) -> float | None:
    """Return how long it takes from now until each server has acknowledged a fresh event with 200.

    And until it is visible; None when that takes too long to wait for.
    """
    took_s = await asyncio.gather(*(_fresh(each, traffic) for each in system.all_aimed))
    found_s = [each for each in took_s if each is not None]
    return max(found_s) if len(found_s) == len(took_s) else None


async def _fresh(system: System, traffic: Traffic) -> float | None:
    begin_s = time.monotonic()
    random, number = Random(0), 0  # noqa: S311 - repeatable, not secret
    while time.monotonic() - begin_s < _PATIENCE_S:
        number += 1
        with suppress(OSError, EOFError, AnswerError, asyncpg.PostgresError):
            async with asyncio.timeout(FRESH_S_MAX):
                if await _post_and_look(system, traffic, number, random):
                    return time.monotonic() - begin_s
        await asyncio.sleep(_RETRY_S)
    return None


async def _post_and_look(system: System, traffic: Traffic, number: int, random: Random) -> bool:
    """Send one event; return whether it was answered 200 and its row can be seen at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", system.server.port)
    event = traffic.workload.good(_CLIENT + system.aim, number, random)
    request = Request((event,))
    system.recorder.sent(event, system.aim)
    is_answered = False
    try:
        writer.write(traffic.encode(request, 0, is_chunked=False))
        raw_head = await reader.readuntil(b"\r\n\r\n")
        head = Heads().parse(raw_head)
        body = await reader.readexactly(head.body_bytes)
        is_answered = True
    finally:
        writer.transport.abort()
        if not is_answered:
            system.recorder.unknown(event.label, QUIT)
    event_id = file_answer(system.recorder, request, Answer(head.status, raw_head, body))
    if head.status != _OK or event_id is None:
        return False
    async with system.database.session() as connection:
        return bool(await connection.fetchval(_IS_VISIBLE, event_id))


async def drain(
    system: System,
    scrapers: Sequence[Scraper],
    observed: Observed,
    *,
    begin_s: float,
    timeout_s: float,
) -> None:
    """Wait until each spool is empty, restart each server once, and wait again.

    Then try again what was set aside. `begin_s` is the end of the last fault.
    """
    end_s = time.monotonic() + timeout_s
    if await _are_empty(scrapers, end_s):
        for each in system.all_aimed:
            await each.terminate_server()
            await each.start_server()
        observed.is_drained = await _are_empty(scrapers, end_s)
    observed.drain_s = time.monotonic() - begin_s
    if observed.is_drained:
        await rejected.retry_all(system)


async def _are_empty(scrapers: Sequence[Scraper], end_s: float) -> bool:
    """Wait until nothing is in any queue and in any spool."""
    waiting = list(scrapers)
    while time.monotonic() < end_s:
        waiting = [each for each in waiting if not await each.is_empty()]
        if not waiting:
            return True
        await asyncio.sleep(_POLL_S)
    return False


async def read_rows(system: System, checker: Checker) -> None:
    """Show the checker every row, and what is still set aside."""
    async with (
        system.database.session() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        cursor = connection.cursor(_ROWS, prefetch=_ROWS_PREFETCHED, timeout=_READ_TIMEOUT_S)
        async for row in cursor:
            checker.take(StoredEvent(*row))
    checker.close(await rejected.left(system))
