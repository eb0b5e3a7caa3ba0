"""An SDK's id makes an id of ours: the same on each resend, and another one for all else."""

import json
from itertools import pairwise
from uuid import UUID

import pytest

from ingest.events import foreign
from ingest.events.client_fields import Span
from ingest.events.foreign import Foreign

NOW_MS = 1_795_000_000_000
DAY_MS = 86_400_000
SPAN = Span(past_ms=10 * DAY_MS, future_ms=DAY_MS)
EVENT = Foreign("segment", "view", b'{"a": 1}', "2026-11-18T10:00:00.123Z", "m-1")
MOMENT_MS = 1_794_996_000_123


def test_id_is_of_version_7_and_of_its_time() -> None:
    """Nothing else is claimed then."""
    found = foreign.read(EVENT, SPAN, NOW_MS)
    assert found.said.id is not None
    made = UUID(bytes=found.said.id)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == MOMENT_MS == found.said.happened_ms
    assert (found.said.key, found.params) == (None, EVENT.params)
    assert foreign.read(EVENT, SPAN, NOW_MS + 50_000).said.id == found.said.id


@pytest.mark.parametrize(
    "other",
    [
        EVENT._replace(protocol="posthog"),
        EVENT._replace(name="buy"),
        EVENT._replace(id="m-2"),
        EVENT._replace(subject="u"),
        EVENT._replace(timestamp="2026-11-18T10:00:00.124Z"),
        EVENT._replace(name="view\0", id="m-1"),
    ],
)
def test_whatever_differs_makes_another_id(other: Foreign) -> None:
    """But for the parameters, which are what it says."""
    mine, its = (foreign.read(each, SPAN, NOW_MS).said.id for each in (EVENT, other))
    assert mine != its
    changed = foreign.read(EVENT._replace(params=b"{}"), SPAN, NOW_MS)
    assert changed.said.id == mine


@pytest.mark.parametrize(
    "text", ["2026-11-18T10:00:00.123", "2026-11-18 10:00:00.123Z", "2026-11-18T11:00:00.123+01:00"]
)
def test_time_without_a_zone_is_utc(text: str) -> None:
    """And is read however it is written."""
    assert foreign.read(EVENT._replace(timestamp=text), SPAN, NOW_MS).said.happened_ms == MOMENT_MS


@pytest.mark.parametrize("text", ["1970-01-01T00:00:00Z", "2040-01-01T00:00:00Z", "later", "1795"])
@pytest.mark.parametrize("params", [b"{}", b'{"a": 1}'])
def test_time_that_can_not_be_is_kept_among_the_parameters(text: str, params: bytes) -> None:
    """The id stands for an Idempotency-Key then."""
    event = EVENT._replace(timestamp=text, params=params)
    found = foreign.read(event, SPAN, NOW_MS)
    assert json.loads(found.params) == {**json.loads(params), "$timestamp": text}
    assert (found.said.id, found.said.happened_ms) == (None, None)
    assert found.said.key is not None
    assert found.said.key == foreign.read(event, SPAN, NOW_MS + 1).said.key
    assert found.said.key != foreign.read(event._replace(id="m-2"), SPAN, NOW_MS).said.key
    assert foreign.read(event._replace(id=""), SPAN, NOW_MS).said.key is None


@pytest.mark.parametrize("ahead_ms", [DAY_MS + 3_000, DAY_MS - 3_000, 3_000, -3_000])
@pytest.mark.parametrize("later_ms", [0, 5_000, DAY_MS - 3_610_000])
def test_resend_is_known_though_the_time_has_come_into_the_span(
    ahead_ms: int, later_ms: int
) -> None:
    """By the key of the first try, or by its id: for 23 hours of the 24 that keys are kept."""
    at = foreign.moment_of(EVENT)
    assert at is not None
    happened_ms = MOMENT_MS
    first = foreign.read(EVENT, SPAN, happened_ms - ahead_ms)
    second = foreign.read(EVENT, SPAN, happened_ms - ahead_ms + later_ms)
    same_key = first.said.key is not None and first.said.key == second.said.key
    same_id = first.said.id is not None and first.said.id == second.said.id
    assert same_key or same_id


def test_resend_is_known_though_the_time_has_left_the_span() -> None:
    """At its other end."""
    nows = [MOMENT_MS + 10 * DAY_MS + late_ms for late_ms in (-DAY_MS - 5, -5, 5, DAY_MS - 10)]
    tries = [foreign.read(EVENT, SPAN, now_ms) for now_ms in nows]
    for first, second in pairwise(tries):
        assert (
            first.said.key == second.said.key is not None
            or first.said.id == second.said.id is not None
        )


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"])
def test_time_at_the_end_of_all_times_is_none(text: str) -> None:
    """As no answer could have it."""
    assert foreign.moment_of(EVENT._replace(timestamp=text)) is None
    foreign.aside_id(EVENT._replace(timestamp=text), b"", NOW_MS)


def test_event_without_an_id_has_its_time() -> None:
    """And is stored as often as it is sent."""
    found = foreign.read(EVENT._replace(id=""), SPAN, NOW_MS)
    assert (found.said.id, found.said.happened_ms, found.said.key) == (None, MOMENT_MS, None)
