"""Events of a batch are understood together exactly as each would be alone."""

import json
import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest.delivery.intake import Intake
from ingest.delivery.queue import EventQueue
from ingest.delivery.queues import Queues
from ingest.errors import Code, Refusal
from ingest.events import document
from ingest.events.client_fields import Span
from ingest.events.copy_reader import decode
from ingest.events.drafts import Draft, Drafts
from ingest.events.event import Events, decode_array
from ingest.events.ids import IdSequence
from ingest.store.apps import App
from tests.http.documents import PARAMS

DAY_MS = 24 * 3600 * 1000
NAME_CHARS_MAX = 20
APP = App(1, "test")
CLIENTS_ID = "019ba7f6-a200-7abc-8def-0123456789ab"
USUAL = b'{"event_name":"a","event_params":{"n":1}}'
ODD = [
    b'{"event_name":"b"}',
    b'{"event_name":"c","event_params":null}',
    b'{"event_name":"c","event_params":[]}',
    b'{"event_name":"c","event_params":"{}"}',
    b'{"event_name":""}',
    b'{"event_name":"\\u0000"}',
    b'{"event_name":"%b"}' % (b"n" * NAME_CHARS_MAX),
    b'{"event_name":"%b"}' % (b"n" * (NAME_CHARS_MAX + 1)),
    '{"event_name":"é\\"\\\\","event_params":{"é":"\\ud83d\\ude00"}}'.encode(),
    b'{"event_name":"c","event_params":{"a":"\\u0000"}}',
    b'{"event_name":"c","event_params":{"a":"\\\\u0000"}}',
    b'{"event_name":"c","event_params":{"a":1e999}}',
    b'{"event_name":"c","event_params":{"a":"1e99"}}',
    b'{"event_name":"c","event_params":{"a":%b}}' % (b"9" * 401),
    b'{"event_name":"c","event_params":{"a":"%b"}}' % (b"9" * 401),
    b'{"event_name":"c","id":null,"timestamp":null}',
    b'{"event_name":"c","id":"no"}',
    b'{"event_name":"c","timestamp":"no"}',
    b'{"event_name":"c","timestamp":"2026-01-10T12:00:00Z"}',
    b'{"event_name":"c","timestamp":"2026-02-10T12:00:00Z"}',
    b'{"event_name":"c","id":"%b"}' % CLIENTS_ID.encode(),
]
NO_EVENTS = [
    b"{}",
    b"1",
    b'{"event_name":1}',
    b'{"event_name":"a","more":1}',
    b'{"event_name":"\xff"}',
]
EVENTS = st.one_of(
    st.just(USUAL),
    st.sampled_from(ODD),
    PARAMS.map(lambda params: b'{"event_name":"p","event_params":%b}' % params),
)
TOLERANT = settings(
    max_examples=200,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def make_intake() -> Intake:
    """Return one with queues that nobody reads, and partitions for January only."""
    queues = Queues(
        lambda: EventQueue(
            events_max=9999, bytes_max=1 << 30, batch_events_max=9999, batch_bytes_max=1 << 30
        )
    )
    return Intake(
        queues,
        event_name_chars_max=NAME_CHARS_MAX,
        span=Span(3650 * DAY_MS, DAY_MS),
        has_partition=lambda unix_ms: unix_ms < 1_769_904_000_000,
    )


def essence(draft: Draft | Refusal) -> object:
    """Return what does not depend on when an event came: its whole row but for a server's id."""
    if isinstance(draft, Refusal):
        return draft.code, draft.message
    stored, told = decode(draft.row), json.loads(draft.stored)
    assert (told["id"], told["event_name"]) == (stored["id"], stored["event_name"])
    assert told.get("timestamp") == stored["timestamp"]
    assert b',"event_params":%b,"created_at":' % stored["event_params"].encode() in draft.stored
    has_own_id = stored["id"] == CLIENTS_ID
    return (
        draft.needs_dedup,
        has_own_id,
        told.get("timestamp"),
        told["event_name"],
        told["event_params"],
    )


def drafts_of(drafts: Drafts) -> list[Draft | Refusal]:
    """Return the columns by event."""
    assert len(drafts.rows) == len(drafts.stored)
    for index in drafts.refusals:
        assert (drafts.rows[index], index in drafts.dedup) == (b"", False)
    return [
        drafts.refusals.get(index) or Draft(row, stored, index in drafts.dedup)
        for index, (row, stored) in enumerate(zip(drafts.rows, drafts.stored, strict=True))
    ]


def draft_together(bodies: list[bytes]) -> list[Draft | Refusal] | None:
    """Return the drafts of an array's events; None if it has to be taken apart."""
    decoded = decode_array(b"[%b]" % b",".join(bodies))
    if decoded is None:
        return None
    drafts = Drafts()
    make_intake().draft_all(APP, decoded, drafts)
    return drafts_of(drafts)


@TOLERANT
@given(bodies=st.lists(EVENTS, min_size=1, max_size=6))
@example(bodies=ODD)
@example(bodies=[USUAL, *[each for each in ODD if b"e9" not in each and b'"id' not in each]])
def test_events_are_understood_together_as_each_alone(bodies: list[bytes]) -> None:
    """Their rows and their answers, and the refusals of the bad ones among them."""
    intake = make_intake()
    alone = [essence(intake.draft(APP, body)) for body in bodies]
    together = draft_together(bodies)
    if together is None:
        # Generated parameters may have a lone surrogate or invalid UTF-8.
        assert Code.INVALID_JSON in [each[0] for each in alone if isinstance(each, tuple)]
    else:
        assert [essence(draft) for draft in together] == alone


@pytest.mark.parametrize("odd", NO_EVENTS)
def test_array_with_something_that_is_no_event_is_taken_apart(odd: bytes) -> None:
    """And so is one that is malformed."""
    assert draft_together([USUAL, USUAL]) is not None
    assert draft_together([USUAL, odd]) is None
    assert decode_array(b"[%b" % USUAL) is None


def test_ids_of_a_turn_are_in_order_and_each_is_its_events_own() -> None:
    """In rows and in answers."""
    together = draft_together([b'{"event_name":"e%d"}' % number for number in range(1000)])
    assert together is not None
    rows = [decode(draft.row) for draft in together if isinstance(draft, Draft)]
    told = [json.loads(draft.stored) for draft in together if isinstance(draft, Draft)]
    ids = [row["id"] for row in rows]
    assert ids == sorted(set(ids))
    assert ids == [each["id"] for each in told]
    assert [row["event_name"] for row in rows] == [f"e{number}" for number in range(1000)]
    assert [each["event_name"] for each in told] == [f"e{number}" for number in range(1000)]


def test_counter_that_would_overflow_within_a_turn_starts_anew() -> None:
    """With another random head, so that no id comes twice."""
    ids = IdSequence()
    ids.next()
    ids._counter = (1 << 48) - 5
    before = ids.next()[0]
    stamps = ids.take(1000)
    assert len(set(stamps.lows)) == 1000
    assert before < stamps.head + stamps.lows[0]
    assert stamps.head + stamps.lows[-1] < ids.next()[0]


@pytest.mark.parametrize("piece", [*NO_EVENTS, *ODD])
@pytest.mark.parametrize("is_ndjson", [False, True])
async def test_good_events_are_decoded_together(piece: bytes, *, is_ndjson: bool) -> None:
    """Those of a short array, or of a piece of lines, unless one of them is no event."""
    bodies = [USUAL] * 3000
    at = random.Random(1).randrange(3000)
    bodies[at] = piece
    body = b"\n".join(bodies) if is_ndjson else b"[%b]" % b",".join(bodies)
    parts = await document.split(
        body, is_ndjson=is_ndjson, events_max=3000, event_bytes_max=1 << 20
    )
    decoded = sum(len(part.events) for part in parts if isinstance(part, Events))
    counted = sum(len(part.events) if isinstance(part, Events) else len(part) for part in parts)
    assert counted == 3000
    if piece in ODD:
        assert decoded >= 2999  # the last line stands alone
    else:
        assert 2000 < decoded < 3000 if is_ndjson else decoded == 0
