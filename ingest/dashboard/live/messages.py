"""What a stream of server-sent events holds: JSON on one line, of a kind."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from ingest.dashboard.text import count_of

HEARTBEAT: Final = b": \n\n"
BEGIN: Final = b"retry: 2000\n\n"
"""What a browser is told first: how soon to come again when the stream ends, in milliseconds."""
FINE: Final = b"event: fine\ndata: {}\n\n"
"""The trouble is over."""


def encode(kind: str, values: Mapping[str, Any]) -> bytes:
    """Return a message."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(values))


def trouble(text: str) -> bytes:
    """Return what says why nothing comes just now."""
    return encode("trouble", {"text": text})


def left_out(seconds: int) -> bytes:
    """Return what says that a viewer has missed something."""
    told = f"{count_of(seconds, 'second')} left out here: this browser did not read in time."
    return encode("left_out", {"text": told})


def over(text: str) -> bytes:
    """Return what says that the stream ends, and is not to be asked for again."""
    return encode("over", {"text": text})
