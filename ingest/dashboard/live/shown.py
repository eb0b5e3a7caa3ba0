"""What has come, as people see it: events and refusals. All of it is text, and none is markup."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import orjson

from ingest.dashboard import rows
from ingest.dashboard.live.advice import advice_of
from ingest.dashboard.text import pretty_json, shown
from ingest.insights.answers import Event
from ingest.share.refusals import NOBODYS, Refused
from ingest.store.latest import Row

_JSON_CHARS_MAX: Final = 64 * 1024
_NO_NAME: Final = "(no name)"


class ShownEvent(NamedTuple):
    """An event."""

    id: str
    at: str
    """When it came, in the app's zone; the day as well unless that is today."""
    time: str
    """When it came, in ISO 8601."""
    name: str
    pairs: Sequence[tuple[str, str]]
    """The first of its parameters."""
    more: int
    """How many others it has."""
    json: str
    """All of it, indented; empty where it is too long."""
    link: str
    """Where it is in full."""


class ShownRefusal(NamedTuple):
    """A refusal."""

    id: str
    at: str
    time: str
    code: str
    message: str
    advice: str
    """What else may be done; empty if the message says it all."""
    is_nobodys: bool
    """Whether its key was none of any app."""


def event(row: Row, app_id: int, zone: str, now: datetime) -> ShownEvent:
    """Return a stored event as it is shown."""
    stored = _stored(row)
    pairs, more = rows.pairs_of(stored)
    if row.params is None:
        pairs = [("", f"{row.size:,} bytes, too long to be shown here")]
    return ShownEvent(
        id=str(row.id),
        at=_clock(row.created_at, zone, now),
        time=row.created_at.isoformat(),
        name=shown(row.name) or _NO_NAME,
        pairs=[(shown(key), shown(value) or '""') for key, value in pairs],
        more=more,
        json="" if row.params is None else _json(stored),
        link=rows.path_of(app_id, stored),
    )


def refusal(slot: int, app_id: int, refused: Refused, zone: str, now: datetime) -> ShownRefusal:
    """Return a refusal as it is shown; `slot` is that of the process that refused."""
    at = datetime.fromtimestamp(refused.at_us / 1_000_000, UTC)
    return ShownRefusal(
        id=f"{slot}.{refused.at_us}.{refused.number}",
        at=_clock(at, zone, now),
        time=at.isoformat(),
        code=refused.code,
        message=shown(refused.message),
        advice=advice_of(refused.code),
        is_nobodys=app_id == NOBODYS,
    )


def parsed(params: str) -> Any:  # noqa: ANN401 - any JSON
    """Return what JSON says, with numbers as doubles; None for what can't be read so."""
    try:
        return orjson.loads(params)
    except orjson.JSONDecodeError:
        return None


def _stored(row: Row) -> Event:
    """Return an event as the query API has it."""
    return Event(
        id=row.id,
        at=row.timestamp or row.created_at,
        created_at=row.created_at,
        name=row.name,
        person=row.person,
        params=msgspec.Raw((row.params or "{}").encode()),
    )


def _json(stored: Event) -> str:
    return pretty_json(msgspec.json.encode(stored))[:_JSON_CHARS_MAX]


def _clock(time: datetime, zone: str, now: datetime) -> str:
    place = ZoneInfo(zone)
    local = time.astimezone(place)
    clock = f"{local:%H:%M:%S}.{local.microsecond // 1000:03}"
    return clock if local.date() == now.astimezone(place).date() else f"{local:%Y-%m-%d} {clock}"
