"""OpenPanel: `/track`, with one event of several kinds, which has no id."""

from collections.abc import Mapping
from typing import Final

import msgspec

from ingest.errors import Code, Refusal
from ingest.events.foreign import Foreign
from ingest.http.protocols.dialect import (
    ABSENT,
    Envelope,
    decoder_of,
    is_object,
    spliced,
    text_of,
)

_PROTOCOL: Final = "openpanel"
_NAMES: Final[Mapping[str, str]] = {
    "identify": "$identify",
    "group": "$groupidentify",
    "assign_group": "$groupidentify",
    "increment": "$increment",
    "decrement": "$decrement",
    "alias": "$create_alias",
}
"""Of what is no `track`, which has a name of its own."""


class _Body(msgspec.Struct, gc=False):
    type: str
    payload: msgspec.Raw


class _Track(msgspec.Struct, gc=False, rename="camel"):
    name: msgspec.Raw = ABSENT
    properties: msgspec.Raw = ABSENT
    profile_id: msgspec.Raw = ABSENT
    groups: msgspec.Raw = ABSENT


class _Properties(msgspec.Struct, gc=False):
    timestamp: msgspec.Raw = msgspec.field(name="__timestamp", default=ABSENT)


_body = decoder_of(_Body)
_track = decoder_of(_Track)
_properties = decoder_of(_Properties)
_members = decoder_of(dict[str, msgspec.Raw])


def take(body: bytes) -> Envelope:
    """Take a body apart; its key is in a header."""
    _body(body)
    return Envelope("", body, item)


def item(text: bytes) -> Foreign:
    """Understand an event."""
    body = _body(text)
    if body.type != "track":
        if body.type not in _NAMES:
            known = ", ".join(("track", *_NAMES))
            raise Refusal(Code.INVALID_EVENT_NAME, f"type must be one of {known}.")
        return Foreign(_PROTOCOL, _NAMES[body.type], _other(body.payload), None, "")
    track = _track(bytes(body.payload))
    params = spliced(
        track.properties, (b'"$profile_id":', track.profile_id), (b'"$groups":', track.groups)
    )
    moment = None
    if is_object(track.properties):
        moment = text_of(_properties(bytes(track.properties)).timestamp)
    return Foreign(_PROTOCOL, text_of(track.name), params, moment or None, "")


def _other(payload: msgspec.Raw) -> bytes:
    """Return what is no track: its properties, and beside them what else it says of whom."""
    members = _members(bytes(payload))
    properties = members.pop("properties", ABSENT)
    who = members.pop("profileId", ABSENT)
    said = [(msgspec.json.encode(name) + b":", value) for name, value in members.items()]
    return spliced(properties, *said, (b'"$profile_id":', who))
