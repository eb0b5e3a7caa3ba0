"""What clients post, a hundred events at a time: to `/events`, and as the SDKs of others do it.

All have the documented example in them, spaced as Python's `json.dumps` does it. What makes an
event one of its own, its id and whose it is, differs from event to event, as a second event with
the same id is a duplicate and no event. The SDKs' are as `tests/data/sdks/` has them recorded.
"""

import base64
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from random import SystemRandom
from typing import Any, Final, NamedTuple

from bench.load import http, payloads
from bench.load.forms import JSON, MINIMAL_BATCH
from bench.load.ids import uuid7

EVENTS: Final = 100
"""In each document: what Segment's and PostHog's SDKs send at most."""
EXAMPLE: Final = payloads.example()
_PARAMS: Final[dict[str, Any]] = json.loads(EXAMPLE.params)
_RANDOM: Final = SystemRandom()
_LIBRARY: Final = {"library": {"name": "analytics-python", "version": "2.4.0"}}
_OF_POSTHOG: Final = {
    "$python_runtime": "CPython",
    "$python_version": "3.11.7",
    "$os": "Linux",
    "$os_version": "12",
    "$os_distro": "Debian GNU/Linux",
    "$lib": "posthog-python",
    "$lib_version": "7.91.1",
    "$geoip_disable": True,
    "$is_server": True,
}


class Kind(NamedTuple):
    """A way to post events."""

    name: str
    path: str
    headers: Callable[[str], Mapping[str, str]]
    """By the API key."""
    document: Callable[[str], bytes]
    """By the API key; each is another one."""
    has_times: bool = True
    """Whether its events say when they happened."""

    def request(self, host: str, key: str) -> bytes:
        """Return a request whose events were in none before."""
        return http.post(host, self.path, self.headers(key), self.document(key))


def segment_event() -> dict[str, Any]:
    """Return an event as Segment's SDK for Python sends it."""
    return {
        "integrations": {},
        "anonymousId": str(uuid.uuid4()),
        "properties": _PARAMS,
        "timestamp": _now("milliseconds"),
        "context": _LIBRARY,
        "userId": _person(),
        "type": "track",
        "event": EXAMPLE.name,
        "messageId": str(uuid.uuid4()),
    }


def posthog_event() -> dict[str, Any]:
    """Return an event as PostHog's SDK for Python sends it."""
    return {
        "properties": _PARAMS | _OF_POSTHOG,
        "timestamp": _now("microseconds"),
        "distinct_id": _person(),
        "event": EXAMPLE.name,
        "uuid": str(uuid.uuid4()),
    }


def _event_with_id() -> dict[str, Any]:
    return {
        "id": str(uuid7(time.time(), _RANDOM)),
        "timestamp": _now("milliseconds"),
        "event_name": EXAMPLE.name,
        "event_params": _PARAMS,
    }


def _plain(_key: str) -> bytes:
    return b"[%b]" % b", ".join([EXAMPLE.body] * EVENTS)


def _with_ids(_key: str) -> bytes:
    return _json([_event_with_id() for _ in range(EVENTS)])


def _segment(key: str) -> bytes:
    batch = [segment_event() for _ in range(EVENTS)]
    return _json({"batch": batch, "sentAt": _now("microseconds"), "writeKey": key})


def _posthog(key: str) -> bytes:
    batch = [posthog_event() for _ in range(EVENTS)]
    sent_at = _now("microseconds")
    return _json(
        {"batch": batch, "historical_migration": False, "sent_at": sent_at, "api_key": key}
    )


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def _now(precision: str) -> str:
    return datetime.now(UTC).isoformat(timespec=precision)


def _person() -> str:
    return f"user-{os.urandom(3).hex()}"


def _own(key: str) -> dict[str, str]:
    return {"X-API-Key": key, "Content-Type": JSON}


def _counted(key: str) -> dict[str, str]:
    return {"X-API-Key": key} | MINIMAL_BATCH.headers


def _of_segment(key: str) -> dict[str, str]:
    user = base64.b64encode(f"{key}:".encode()).decode()
    return {"Content-Type": JSON, "Authorization": f"Basic {user}"}


def _of_posthog(_key: str) -> dict[str, str]:
    return {"Content-Type": JSON}  # its key is in the body alone


PLAIN: Final = Kind("events", "/events", _own, _plain, has_times=False)
WITH_IDS: Final = Kind("events-with-ids", "/events", _own, _with_ids)
COUNTED: Final = Kind("events-with-ids-minimal", "/events", _counted, _with_ids)
SEGMENT: Final = Kind("segment", "/v1/batch", _of_segment, _segment)
POSTHOG: Final = Kind("posthog", "/batch/", _of_posthog, _posthog)
KINDS: Final = (PLAIN, WITH_IDS, COUNTED, SEGMENT, POSTHOG)
