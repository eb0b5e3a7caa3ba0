"""What the audit's clients send: each event is what it is meant to be."""

import json
from random import Random

import pytest

from bench.audit.workload import Workload
from ingest.errors import Code, Refusal
from ingest.events import event

WORKLOAD = Workload("run", 1)


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
    assert codes >= {
        Code.INVALID_JSON,
        Code.MISSING_EVENT_NAME,
        Code.INVALID_EVENT_NAME,
        Code.INVALID_EVENT_PARAMS,
        Code.UNKNOWN_FIELD,
    }
