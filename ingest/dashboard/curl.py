"""An event as a command: `curl` with what would send it again."""

import shlex
from typing import Final

import msgspec

from ingest.dashboard.text import shown_json
from ingest.insights.answers import Event

_BYTES_MAX: Final = 20_000
"""Nobody pastes more, and as escapes it is 80,000 at most: a command of 131,072 no shell takes."""
_KEY: Final = "your-api-key"


def of(event: Event, address: str) -> str | None:
    """Return a command for a POSIX shell; None of an event that is too long for one.

    `address` is where events are sent: scheme and host.

    Whatever is in the event is within single quotes, and has no control characters: pasted into a
    terminal it is one command, and nothing of it acts.
    """
    body: dict[str, object] = {"event_name": event.name, "event_params": event.params}
    if event.at != event.created_at:
        body["timestamp"] = event.at
    raw = msgspec.json.encode(body)
    if len(raw) > _BYTES_MAX:
        return None
    text = shown_json(raw.decode())
    lines = (
        f"curl -X POST {shlex.quote(address)}/event",
        '-H "Content-Type: application/json"',
        f'-H "X-API-Key: {_KEY}"',
        f"-d {shlex.quote(text)}",
    )
    return " \\\n  ".join(lines)
