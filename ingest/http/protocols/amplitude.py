"""Amplitude: `/2/httpapi` and `/batch`, with a list of events."""

from typing import Final

import msgspec

from ingest.events.fields import rfc3339
from ingest.events.foreign import Foreign
from ingest.http.protocols.dialect import ABSENT, Envelope, array_of, decoder_of, spliced, text_of

_PROTOCOL: Final = "amplitude"
_EPOCH_MS: Final = 946_684_800_000  # 2000-01-01 in Unix milliseconds


class _Body(msgspec.Struct, gc=False):
    events: msgspec.Raw
    api_key: msgspec.Raw = ABSENT


class _Event(msgspec.Struct, gc=False):
    event_type: msgspec.Raw = ABSENT
    event_properties: msgspec.Raw = ABSENT
    user_properties: msgspec.Raw = ABSENT
    group_properties: msgspec.Raw = ABSENT
    groups: msgspec.Raw = ABSENT
    user_id: msgspec.Raw = ABSENT
    device_id: msgspec.Raw = ABSENT
    session_id: msgspec.Raw = ABSENT
    insert_id: msgspec.Raw = ABSENT
    time: msgspec.Raw = ABSENT


_body = decoder_of(_Body)
_event = decoder_of(_Event)


def take(body: bytes) -> Envelope:
    """Take a body apart."""
    found = _body(body)
    return Envelope(text_of(found.api_key), array_of(found.events), item)


def item(text: bytes) -> Foreign:
    """Understand an event."""
    event = _event(text)
    params = spliced(
        event.event_properties,
        (b'"$user_properties":', event.user_properties),
        (b'"$group_properties":', event.group_properties),
        (b'"$groups":', event.groups),
        (b'"$user_id":', event.user_id),
        (b'"$device_id":', event.device_id),
        (b'"$session_id":', event.session_id),
        (b'"$message_id":', event.insert_id),
    )
    return Foreign(
        _PROTOCOL,
        text_of(event.event_type),
        params,
        _moment(text_of(event.time)),
        text_of(event.insert_id),
        text_of(event.user_id) or text_of(event.device_id),
    )


def _moment(unix_ms: str) -> str | None:
    """Return milliseconds since 1970 as RFC 3339; what is none is left as it is."""
    try:
        return rfc3339((int(unix_ms) - _EPOCH_MS) * 1000)
    except ValueError:
        return unix_ms or None
