"""What is told of what could not be shown, and to whom reads slowly of what was left out."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from ingest.dashboard.live.feed import Feed
from ingest.dashboard.live.reading import Found
from ingest.dashboard.live.topic import Topic
from ingest.dashboard.live.viewer import Viewer
from ingest.insights.questions import Condition
from ingest.share.refusals import NOBODYS, Refused, RefusedOf
from ingest.store.app_settings import AppSettings
from ingest.store.latest import Row

ZONE = ZoneInfo("Europe/Berlin")
APP = AppSettings(1, "shop", "user_id", ZONE.key)
WHERE = Condition(("params", "n"), "ge", 5)


def row(number: int, params: str | None = None) -> Row:
    """Return an event."""
    at = datetime(2026, 6, 15, 12, tzinfo=UTC)
    return Row(UUID(int=number), "view", at, None, 10, params or f'{{"n": {number}}}', None)


async def told(viewer: Viewer) -> dict[str, Any]:
    """Return what the next message says."""
    message = await anext(aiter(viewer.messages()))
    data: dict[str, Any] = json.loads(message.decode().rpartition("data: ")[2])
    return data


async def news(feed: Feed, found: Found, *refusals: RefusedOf) -> dict[str, Any]:
    """Return what a viewer of a feed is told of what was found."""
    viewer = Viewer(1)
    feed.join(viewer)
    await told(viewer)
    feed.tell(found, [(0, each) for each in refusals])
    return await told(viewer)


async def test_rate_is_said_where_not_all_is_shown() -> None:
    """And that it is about so many, where a part was counted."""
    rows = [row(number) for number in range(20)]
    for is_about, words in (
        (False, "Showing 20 of 1,940 a second"),
        (True, "Showing 20 of about 1,940 a second"),
    ):
        feed = Feed(Topic(APP, None, None, is_admin=False))
        found = await news(feed, Found(rows, 1_940, is_about, is_partial=True))
        assert (found["note"], found["more"]) == (words, 1_920)


async def test_filter_says_how_many_it_looked_through() -> None:
    """Of how many; events that are too long to be read it does not look into."""
    rows = [*(row(number) for number in range(30)), row(31)._replace(params=None)]
    feed = Feed(Topic(APP, None, WHERE, is_admin=False))
    found = await news(feed, Found(rows, 1_940, is_about=False, is_partial=True))
    assert found["note"] == (
        "Showing 20 of 25 that match; looked through 31 of 1,940 a second;"
        " 1 too long to be looked into"
    )
    assert len(found["events"]) == 20


async def test_slow_viewer_misses_whole_seconds_and_is_told() -> None:
    """It holds nobody up, and nothing of it grows."""
    viewer = Viewer(1)
    for second in range(10):
        viewer.tell(b"event: second\ndata: %d\n\n" % second)
    messages = viewer.messages()
    assert [await anext(messages) for _ in range(4)] == [
        b"event: second\ndata: %d\n\n" % second for second in range(4)
    ]
    viewer.tell(b"event: second\ndata: 10\n\n")
    late = (await anext(messages)).decode()
    assert late.startswith('event: left_out\ndata: {"text":"6 seconds left out')
    assert late.endswith("event: second\ndata: 10\n\n")
    viewer.end()
    assert [message async for message in messages] == []


async def test_refusals_that_were_not_noted_are_counted() -> None:
    """From the first look on."""
    now_us = int(datetime.now(UTC).timestamp() * 1_000_000)

    def of_app(count: int, app_id: int = 1) -> RefusedOf:
        refused = (Refused(count, now_us + count, "invalid_json", f"the {count}th"),)
        return RefusedOf(app_id, count, refused)

    feed = Feed(Topic(APP, None, None, is_admin=False))
    first = await news(feed, Found((), 0), of_app(3), of_app(7, NOBODYS), of_app(9, 2))
    assert [each["message"] for each in first["refused"]] == ["the 3th"]
    second = await news(feed, Found((), 0), of_app(50))
    assert [each["message"] for each in second["refused"]] == ["the 50th"]
    assert second["more_refused"] == 46


async def test_slow_viewer_learns_of_the_end_of_a_trouble() -> None:
    """With the first message that has room again, whatever was left out."""
    feed, viewer = Feed(Topic(APP, None, None, is_admin=False)), Viewer(1)
    feed.join(viewer)
    for second in range(5):
        feed.note_trouble("away")
        viewer.tell(b"event: second\ndata: %d\n\n" % second)
    feed.note_trouble("")
    messages = viewer.messages()
    waited = b"".join([await anext(messages) for _ in range(4)])
    assert b"event: trouble" in waited
    assert b"event: fine" not in waited
    viewer.tell(b"event: second\ndata: 5\n\n")
    assert b"event: fine" in await anext(messages)
