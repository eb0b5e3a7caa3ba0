"""What one who asks may take: questions at once and by the minute, time, and memory."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import duckdb
import pytest

from ingest.api.allowance import AT_ONCE, Allowance
from ingest.api.answering import Answering
from ingest.api.cache import ANSWER_BYTES_MAX, BYTES_MAX, Cache, Kept, State
from ingest.api.desk import AT_ONCE as THREADS
from ingest.api.desk import WAITING_MAX, Desk, TookTooLong, Work
from ingest.api.refusals import Code, Refused
from ingest.archive.scope import Scope
from ingest.insights.known import Known
from ingest.insights.questions import Events, Selection, Trends

ENDLESS = (
    "SELECT count(*) FROM range(1000000000000) a, range(1000000) b WHERE a.range % 7 = b.range"
)
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)


class FakeView(NamedTuple):
    """A view of events of a test's own."""

    connection: duckdb.DuckDBPyConnection
    sources: tuple[str, ...] = ("events",)
    as_of: datetime = END
    mark: int = 1
    erased: int = 0
    tail_rows: int = 0
    tail_bytes: int = 0
    until: None = None
    known: Known | None = None
    links: str | None = None


class Opened:
    """Opens views, and knows which are open."""

    def __init__(self) -> None:
        self.open = 0
        self.opened = 0
        self.tail_rows = 0
        self.links: str | None = None

    @contextmanager
    def __call__(self, app_id: int, *_: object) -> Iterator[FakeView]:
        """Open one of an app."""
        self.open += 1
        self.opened += 1
        connection = duckdb.connect()
        connection.execute(
            "CREATE TABLE events AS SELECT uuid() AS id, TIMESTAMPTZ '2026-02-01 00:00:00Z'"
            " AS \"at\", now() AS created_at, 'a' AS name, 'p' AS person,"
            f" '{{}}'::JSON::VARIANT AS params FROM range({app_id})"
        )
        connection.execute(
            "CREATE TABLE said AS SELECT 'p' AS joined, 'q' AS person, true AS is_sign_in,"
            " false AS is_merge, 0 AS at_us"
        )
        try:
            yield FakeView(connection, tail_rows=self.tail_rows, links=self.links)
        finally:
            connection.close()
            self.open -= 1


def endless(view: object) -> None:
    """Ask what takes for ever."""
    assert isinstance(view, FakeView)
    view.connection.execute(ENDLESS).fetchall()


def test_key_has_two_questions_at_once_and_so_many_a_minute() -> None:
    """Another key's are its own; a 429 says when to come again."""
    allowance = Allowance(4)
    with allowance.question(b"a"), allowance.question(b"a"):
        assert AT_ONCE == 2
        assert refusal(allowance, b"a").headers["Retry-After"] == "1"
        with allowance.question(b"b"):
            pass
    for _ in range(2):
        with allowance.question(b"a"):
            pass
    refused = refusal(allowance, b"a")
    assert (refused.code, refused.status) == (Code.TOO_MANY_REQUESTS, 429)
    assert 10 <= int(refused.headers["Retry-After"]) <= 15


def refusal(allowance: Allowance, key: bytes) -> Refused:
    """Return how a further question is refused."""
    with pytest.raises(Refused) as refused, allowance.question(key):
        pass
    return refused.value


async def test_question_whose_client_leaves_is_ended_within_duckdb() -> None:
    """So that its thread is there for others."""
    opened = Opened()
    desk = Desk(opened, timeout_s=60)
    asking = [
        asyncio.create_task(desk.do(Work(opened, 1, Scope(), endless))) for _ in range(THREADS)
    ]
    while opened.open < THREADS:  # noqa: ASYNC110 - a count of threads
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    async with asyncio.timeout(10):
        while desk.questions or opened.open:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    assert await desk.do(Work(opened, 1, Scope(), lambda _: 7)) == 7
    await desk.close(5)


async def test_question_that_takes_too_long_is_ended_and_told_what_fits() -> None:
    """A quarter of its range."""
    opened = Opened()
    desk = Desk(opened, timeout_s=0.3)
    with pytest.raises(TookTooLong):
        await desk.do(Work(opened, 1, Scope(), endless))
    await desk.close(5)
    assert (desk.questions, opened.open) == (0, 0)


async def test_more_than_may_wait_are_refused() -> None:
    """With a 503, at once."""
    opened, release = Opened(), threading.Event()
    desk = Desk(opened, timeout_s=60)
    works = [
        asyncio.create_task(desk.do(Work(opened, 1, Scope(), lambda _: release.wait(30))))
        for _ in range(THREADS + WAITING_MAX)
    ]
    await asyncio.sleep(0.1)
    with pytest.raises(Refused) as refused:
        await desk.do(Work(opened, 1, Scope(), lambda _: None))
    assert refused.value.status == 503
    release.set()
    await asyncio.gather(*works)
    await desk.close(5)


async def test_same_question_of_the_same_events_is_answered_from_memory() -> None:
    """By app; and not when something has come."""
    opened = Opened()
    desk = Desk(opened, timeout_s=60)
    answering, question = Answering(desk), Trends((Selection("a"),), START, END)
    first = await answering.answer(3, question)
    assert b'"total":3' in first
    assert b'"total":4' in await answering.answer(4, question)
    opened.tail_rows = 1
    assert await answering.answer(3, Events()) != first
    await desk.close(5)


async def test_answer_of_the_same_events_is_another_one_when_ids_were_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As whose they are is said by other events, of whatever time."""
    monkeypatch.setattr("ingest.api.answering._FRESH_S", -1)
    opened = Opened()
    desk = Desk(opened, timeout_s=60)
    answering = Answering(desk)
    question = Trends((Selection("a"),), START, END, breakdown=("person",))
    assert b'"value":"p"' in await answering.answer(3, question)
    opened.links = "said"
    assert b'"value":"q"' in await answering.answer(3, question)
    await desk.close(5)


def test_cache_is_bounded() -> None:
    """What was not asked for longest goes; a very long answer is not kept at all."""
    cache, state = Cache(), State(1, 0)
    cache.keep(b"long", Kept(b"x" * (ANSWER_BYTES_MAX + 1), state, 0))
    assert cache.find(b"long") is None
    count = BYTES_MAX // ANSWER_BYTES_MAX + 1
    for number in range(count):
        cache.keep(b"%d" % number, Kept(b"x" * ANSWER_BYTES_MAX, state, 0))
        cache.find(b"0")
    assert cache.find(b"0") is not None
    assert cache.find(b"1") is None
    assert cache.find(b"%d" % (count - 1)) is not None
