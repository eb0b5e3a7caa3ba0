"""What the tests of documents share: ways to split one, whole or in pieces of any length."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ingest.errors import Code, Refusal
from ingest.events import document
from ingest.events.document import body as module
from ingest.events.document import bounds
from ingest.events.event import Events

MIB = 1024 * 1024
EVENT = b'{"event_name": "page_view", "event_params": {"page": "/home"}}'


@contextmanager
def in_pieces(piece_bytes: int = bounds.PIECE_BYTES) -> Iterator[pytest.MonkeyPatch]:
    """Split documents of any length as if they were long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "WHOLE_BYTES_MAX", -1)
        patch.setattr(bounds, "PIECE_BYTES", piece_bytes)
        yield patch


def split(
    body: bytes, *, is_ndjson: bool = False, events_max: int = 1000, event_bytes_max: int = MIB
) -> list[bytes] | Code:
    """Return the bytes of all events, or the code of the refusal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "decode_array", lambda _: None)  # as if each piece had a bad one
        try:
            parts = asyncio.run(
                document.split(
                    body,
                    is_ndjson=is_ndjson,
                    events_max=events_max,
                    event_bytes_max=event_bytes_max,
                )
            )
        except Refusal as refusal:
            return refusal.code
    return [each for part in parts if not isinstance(part, Events) for each in part]


def refused(body: bytes) -> str:
    """Return the message of the refusal."""
    with pytest.raises(Refusal) as caught:
        asyncio.run(document.split(body, is_ndjson=False, events_max=9, event_bytes_max=MIB))
    return caught.value.message
