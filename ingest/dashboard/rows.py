"""Events as rows: when, what, who, and the beginning of their parameters."""

import json
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from ingest.dashboard.query import address
from ingest.dashboard.routes import Visit
from ingest.dashboard.text import cut
from ingest.insights.answers import Event
from ingest.insights.questions import Cursor

_PAIRS: Final = 6
_VALUE_CHARS: Final = 60
_WHOLE_BYTES: Final = 4_096
"""Longer parameters are shown as they begin."""
_TEXT_CHARS: Final = 200


class Row(NamedTuple):
    """One event."""

    at: datetime
    name: str
    person: str | None
    pairs: list[tuple[str, str]]
    """The first of its parameters."""
    more: int
    """How many others it has; of long ones that is not counted."""
    link: str
    """Where it is in full."""


def of(visit: Visit, event: Event) -> Row:
    """Return the row of an event."""
    but = None if event.person is None else visit.app.user_field
    pairs, more = pairs_of(event, but)
    return Row(event.at, event.name, event.person, pairs, more, path_of(visit.app.id, event))


def path_of(app_id: int, event: Event) -> str:
    """Return where an event is in full; the address says when it was, as that finds it sooner."""
    return address(f"/apps/{app_id}/events/{event.id}", [("at", in_utc(event.at))])


def person_path(visit: Visit, person: str) -> str:
    """Return where somebody's events are."""
    return address(f"/apps/{visit.app.id}/person", [("id", person)])


def cursor(before: Cursor) -> str:
    """Return a place in a list as an address has it."""
    return f"{in_utc(before.at)},{before.id}"


def in_utc(moment: datetime) -> str:
    """Return a time as an address has it, whatever the zone."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def pairs_of(event: Event, but: str | None = None) -> tuple[list[tuple[str, str]], int]:
    """Return what is shown of its parameters, and how many more there are.

    `but` has a place of its own, as has whose it is.
    """
    raw = bytes(event.params)
    if len(raw) > _WHOLE_BYTES:
        return [("", cut(raw[: 4 * _TEXT_CHARS].decode(errors="ignore"), _TEXT_CHARS))], 0
    params = json.loads(raw)
    if not isinstance(params, dict):
        return [("", cut(_text(params), _TEXT_CHARS))], 0
    if but is not None:
        params.pop(but, None)
    shown = islice(params.items(), _PAIRS)
    pairs = [(cut(key, _VALUE_CHARS), cut(_text(value), _VALUE_CHARS)) for key, value in shown]
    return pairs, len(params) - len(pairs)


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
