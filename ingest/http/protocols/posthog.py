"""PostHog: `/batch`, `/capture`, `/e` and `/i/…`, with one event or many."""

from typing import Final

import msgspec

from ingest.errors import Code, Refusal
from ingest.events.foreign import Foreign
from ingest.http.protocols.dialect import (
    ABSENT,
    Envelope,
    array_of,
    decoder_of,
    is_object,
    spliced,
    text_of,
)
from ingest.store.api_keys import Kind

_PROTOCOL: Final = "posthog"
_ARRAY: Final = b"["


class _Body(msgspec.Struct, gc=False):
    """A batch, or one event, which may have the key in its properties."""

    api_key: msgspec.Raw = ABSENT
    token: msgspec.Raw = ABSENT
    batch: msgspec.Raw = ABSENT
    event: msgspec.Raw = ABSENT
    properties: msgspec.Raw = ABSENT


class _Properties(msgspec.Struct, gc=False):
    token: msgspec.Raw = ABSENT
    distinct_id: msgspec.Raw = ABSENT


class _Event(msgspec.Struct, gc=False):
    event: msgspec.Raw = ABSENT
    properties: msgspec.Raw = ABSENT
    distinct_id: msgspec.Raw = ABSENT
    timestamp: msgspec.Raw = ABSENT
    uuid: msgspec.Raw = ABSENT
    set_: msgspec.Raw = msgspec.field(name="$set", default=ABSENT)
    set_once: msgspec.Raw = msgspec.field(name="$set_once", default=ABSENT)


_body = decoder_of(_Body)
_event = decoder_of(_Event)
_properties = decoder_of(_Properties)
_members = decoder_of(dict[str, msgspec.Raw])


def take(body: bytes) -> Envelope:
    """Take a body apart: `{"batch": […]}`, a list of events, or one."""
    if body.lstrip()[:1] == _ARRAY:
        return Envelope("", body, item, _key_of)
    found = _body(body)
    key = text_of(found.api_key) or text_of(found.token)
    if bytes(found.batch):
        return Envelope(key, array_of(found.batch), item, _key_of)
    if not bytes(found.event):
        raise Refusal(Code.INVALID_JSON, "Send an event, or a batch of them.")
    return Envelope(key, body, item, _key_of)


def item(text: bytes) -> Foreign:
    """Understand an event."""
    event = _event(text)
    subject = event.distinct_id
    if not bytes(subject) and is_object(event.properties):
        subject = _properties(bytes(event.properties)).distinct_id
    params = spliced(
        _without_key(event.properties),
        (b'"$set":', event.set_),
        (b'"$set_once":', event.set_once),
        (b'"distinct_id":', event.distinct_id),
        (b'"$message_id":', event.uuid),
    )
    moment = text_of(event.timestamp) or None
    return Foreign(
        _PROTOCOL, text_of(event.event), params, moment, text_of(event.uuid), text_of(subject)
    )


def _without_key(properties: msgspec.Raw) -> msgspec.Raw:
    """Return properties without the key, which is nobody's business who reads events."""
    if b'"token"' not in bytes(properties) or not is_object(properties):
        return properties
    members = _members(bytes(properties))
    token = text_of(members["token"]) if "token" in members else ""
    if not token.startswith(Kind.WRITE.start):
        return properties
    del members["token"]
    return msgspec.Raw(msgspec.json.encode(members))


def _key_of(text: bytes) -> str:
    """Return the key that the browser's SDK has in each event's properties."""
    try:
        properties = _event(text).properties
        return text_of(_properties(bytes(properties)).token) if is_object(properties) else ""
    except Refusal:
        return ""
