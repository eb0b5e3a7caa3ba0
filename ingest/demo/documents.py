"""What the shop posts: events of the past with an id and their time, those of now without.

The ids come from the seed as well: a filling that was broken off is sent again as a whole, and
whatever of it is stored already stays as it is.
"""

import itertools
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from ingest.demo.visits import Event

EVENTS_MAX: Final = 2_000
"""In one batch: less than 1 MiB."""
_RANDOM_BITS: Final = 74
_VERSION: Final = 7 << 76
_VARIANT: Final = 2 << 62
_LOW_BITS: Final = 62

MISTAKES: Final = (
    b'{"event_params": {"page": "/checkout"}}',
    b'{"event_name": "add_to_cart", "event_params": ["Plush fox"]}',
    b'{"event_name": "search", "event_params": {"query": "m\xfcsli"}}',
    b'{"event_name": "page_view", "timestamp": "yesterday"}',
)
"""What an old page of the shop sends now and then, which is refused."""


class Batch(NamedTuple):
    """Events of the past."""

    document: bytes
    events: int
    end_ms: int
    """When the last of them was."""


def batches(chance: random.Random, events: Iterable[Event]) -> Iterator[Batch]:
    """Yield events in batches, as they are; `chance` makes the ids."""
    rest = iter(events)
    while some := list(itertools.islice(rest, EVENTS_MAX)):
        document = orjson.dumps([_past(chance, each) for each in some])
        yield Batch(document, len(some), some[-1].at_ms)


def now(event: Event) -> bytes:
    """Return an event that happens just now."""
    return orjson.dumps({"event_name": event.name, "event_params": event.params})


def _past(chance: random.Random, event: Event) -> dict[str, Any]:
    moment = datetime.fromtimestamp(event.at_ms / 1000, UTC)
    return {
        "id": str(_uuid7(chance, event.at_ms)),
        "timestamp": moment.isoformat(timespec="milliseconds"),
        "event_name": event.name,
        "event_params": event.params,
    }


def _uuid7(chance: random.Random, at_ms: int) -> UUID:
    high, low = divmod(chance.getrandbits(_RANDOM_BITS), 1 << _LOW_BITS)
    return UUID(int=at_ms << 80 | _VERSION | high << 64 | _VARIANT | low)
