"""What the audit's clients send: each event is what it is meant to be."""

import json
import time
from random import Random
from uuid import UUID

import pytest

from bench.audit.workload import Workload
from ingest.errors import Code, Refusal
from ingest.events import client_fields, event, fields
from ingest.events.client_fields import Span

WORKLOAD = Workload("run", 1)
SPAN = Span(past_ms=90 * 86_400_000, future_ms=0)


def test_requests_are_what_they_are_meant_to_be() -> None:
    """The server's own decoder takes each good one and refuses each bad one with its code."""
    random, codes = Random(1), set()
    for number in range(2_000):
        good = WORKLOAD.good(1, number, random)
        name, params, _ = event.decode(good.body, 255)
        assert json.loads(params)["audit"] == good.token
        assert params.decode() in good.echo.decode()
        assert json.loads(good.body)["event_name"] == name
        bad = WORKLOAD.bad(1, number, random)
        with pytest.raises(Refusal) as refused:
            event.decode(bad.body, 255)
        assert refused.value.code == bad.expected
        codes.add(bad.expected)
        event.decode(WORKLOAD.poison(1, number, random).body, 255)
        claim = WORKLOAD.claim(1, number, random, is_key=False)
        happened = WORKLOAD.happened(random)
        claiming = WORKLOAD.guarded(1, number, random, claim, happened)
        name, params, uncommon = event.decode(claiming.body, 255)
        assert uncommon is not None
        said = client_fields.read(uncommon, SPAN, int(time.time() * 1000))
        assert said.id is not None
        assert f"id {UUID(bytes=said.id)}" == claim
        assert b'"%b"' % fields.rfc3339(micros(said.values["timestamp"])).encode() in claiming.said
    assert codes >= {
        Code.INVALID_JSON,
        Code.MISSING_EVENT_NAME,
        Code.INVALID_EVENT_NAME,
        Code.INVALID_EVENT_PARAMS,
        Code.UNKNOWN_FIELD,
    }


def micros(value: bytes) -> int:
    """Return a time as a COPY tuple has it, in microseconds since 2000."""
    return int.from_bytes(value[-8:], "big", signed=True)
