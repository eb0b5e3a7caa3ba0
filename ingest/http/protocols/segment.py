"""Segment and RudderStack: `/v1/batch` and one path for each kind of event.

An event happened at its `timestamp`, which in RudderStack's Node SDK is there where the caller has
said so; else at its `originalTimestamp`. That of the batch is when it was sent.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

import msgspec

from ingest.errors import Code, Refusal
from ingest.events.foreign import Foreign
from ingest.http.protocols.dialect import (
    ABSENT,
    Dialect,
    Envelope,
    array_of,
    decoder_of,
    is_object,
    spliced,
    text_of,
)

_PROTOCOL: Final = "segment"
_NAMES: Final[Mapping[str, str]] = {
    "identify": "$identify",
    "page": "$pageview",
    "screen": "$screen",
    "group": "$groupidentify",
    "alias": "$create_alias",
}
"""Of what is no `track`, which has a name of its own."""
KINDS: Final = ("track", *_NAMES)
_OF_TRAITS: Final = ("identify", "group")
"""These have `traits` where the others have `properties`."""


class _Batch(msgspec.Struct, gc=False, rename="camel"):
    batch: msgspec.Raw
    write_key: msgspec.Raw = ABSENT


class _Event(msgspec.Struct, gc=False, rename="camel"):
    type: msgspec.Raw = ABSENT
    event: msgspec.Raw = ABSENT
    name: msgspec.Raw = ABSENT
    category: msgspec.Raw = ABSENT
    properties: msgspec.Raw = ABSENT
    traits: msgspec.Raw = ABSENT
    user_id: msgspec.Raw = ABSENT
    anonymous_id: msgspec.Raw = ABSENT
    group_id: msgspec.Raw = ABSENT
    previous_id: msgspec.Raw = ABSENT
    context: msgspec.Raw = ABSENT
    timestamp: msgspec.Raw = ABSENT
    original_timestamp: msgspec.Raw = ABSENT
    message_id: msgspec.Raw = ABSENT
    write_key: msgspec.Raw = ABSENT


class _Context(msgspec.Struct, gc=False):
    traits: msgspec.Raw = ABSENT


_batch = decoder_of(_Batch)
_event = decoder_of(_Event)
_context = decoder_of(_Context)


def batch(body: bytes) -> Envelope:
    """Take a body of `/v1/batch` apart."""
    found = _batch(body)
    return Envelope(text_of(found.write_key), array_of(found.batch), partial(_item, ""))


def single(kind: str) -> Dialect:
    """Return what takes a body of the path of one kind apart: an event."""

    def take(body: bytes) -> Envelope:
        key = text_of(_event(body).write_key)
        return Envelope(key, body, partial(_item, kind))

    return take


def _item(kind: str, text: bytes) -> Foreign:
    event = _event(text)
    kind = text_of(event.type) or kind
    if kind not in KINDS:
        raise Refusal(Code.INVALID_EVENT_NAME, f"type must be one of {', '.join(KINDS)}.")
    params = spliced(
        _traits(event) if kind in _OF_TRAITS else event.properties,
        (b'"$name":', event.name),
        (b'"$category":', event.category),
        (b'"$group_id":', event.group_id),
        (b'"$previous_id":', event.previous_id),
        (b'"$user_id":', event.user_id),
        (b'"$anonymous_id":', event.anonymous_id),
        (b'"$message_id":', event.message_id),
        (b'"$context":', event.context),
    )
    name = _NAMES.get(kind) or text_of(event.event)
    return Foreign(_PROTOCOL, name, params, _moment(event), text_of(event.message_id))


def _traits(event: _Event) -> msgspec.Raw:
    """Return what is said of a person or a group; RudderStack has a person's in the context."""
    if is_object(event.traits) or not is_object(event.context):
        return event.traits
    return _context(bytes(event.context)).traits


def _moment(event: _Event) -> str | None:
    return text_of(event.timestamp) or text_of(event.original_timestamp) or None
