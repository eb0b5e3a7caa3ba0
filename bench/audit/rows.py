"""A stored row beside what was sent, and beside what a retry was told is stored."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple

from bench.audit.history import Record

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NAME_START: Final = b'{"event_name"'
"""How a body begins whose client says nothing of its event."""
_KNOWN_MAX: Final = 20_000
_SHORT_CHARS: Final = 1 << 20
"""A retry is told parameters up to this size; longer ones may be left out."""
_load: Final = partial(json.loads, parse_float=Decimal)  # every digit counts


class StoredEvent(NamedTuple):
    """One stored event."""

    app: int
    """Which of the audit's apps, from 0; -1 for one of nobody's."""
    id: str
    name: str
    params: str
    """JSON as Postgres prints it."""
    created_us: int
    """Microseconds since 1970."""
    timestamp_us: int | None = None


class AsSent:
    """Compares rows with what was sent, and remembers: what clients send repeats but for tokens."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, str, str], bool] = {}

    def __call__(self, token: str, record: Record, row: StoredEvent) -> bool:
        """Whether the row has the event's name, parameters and timestamp."""
        body = record.body
        said = _load(body) if not body.startswith(_NAME_START) else {}
        if row.timestamp_us != (microseconds(said["timestamp"]) if "timestamp" in said else None):
            return False
        content = body[body.find(_NAME_START[1:]) :].replace(token.encode(), b"")
        key = (content, row.name, row.params.replace(token, ""))
        if (is_same := self._known.get(key)) is None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            sent = _load(body)
            is_same = (row.name, _load(row.params)) == (sent["event_name"], sent["event_params"])
            self._known[key] = is_same
        return is_same


def is_told(told: bytes, row: StoredEvent) -> bool:
    """Whether a row that a client was told of is the stored one."""
    found: dict[str, Any] = _load(told)
    may_lack = "event_params" not in found and len(row.params) > _SHORT_CHARS
    if not may_lack and found.get("event_params") != _load(row.params):
        return False
    timestamp = found.get("timestamp")
    return (
        (found.get("id"), found.get("event_name")) == (row.id, row.name)
        and microseconds(found.get("created_at")) == row.created_us
        and (None if timestamp is None else microseconds(timestamp)) == row.timestamp_us
    )


def microseconds(text: object) -> int:
    """Return an RFC 3339 time as microseconds since 1970; -1 when it is none."""
    try:
        return (datetime.fromisoformat(str(text)) - _EPOCH) // _MICROSECOND
    except (ValueError, TypeError):
        return -1
