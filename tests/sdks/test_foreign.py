"""An SDK's id makes an id of ours: the same on each resend, and another one for all else."""

import json
from uuid import UUID

import pytest

from ingest.events import foreign
from ingest.events.client_fields import Span
from ingest.events.foreign import Foreign

NOW_MS = 1_795_000_000_000
SPAN = Span(past_ms=86_400_000, future_ms=3_600_000)
EVENT = Foreign("segment", "view", b'{"a": 1}', "2026-11-18T10:00:00.123Z", "m-1")
MOMENT_MS = 1_794_996_000_123


def test_id_is_of_version_7_and_of_its_time() -> None:
    """Nothing else is claimed then."""
    found = foreign.read(EVENT, SPAN, NOW_MS)
    assert found.said.id is not None
    made = UUID(bytes=found.said.id)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == MOMENT_MS == found.said.happened_ms
    assert (found.key, found.params) == (None, EVENT.params)
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
    assert found.key is not None
    assert found.key == foreign.read(event, SPAN, NOW_MS + 1).key
    assert found.key != foreign.read(event._replace(id="m-2"), SPAN, NOW_MS).key
    assert foreign.read(event._replace(id=""), SPAN, NOW_MS).key is None


def test_event_without_an_id_has_its_time() -> None:
    """And is stored as often as it is sent."""
    found = foreign.read(EVENT._replace(id=""), SPAN, NOW_MS)
    assert (found.said.id, found.said.happened_ms, found.key) == (None, MOMENT_MS, None)
