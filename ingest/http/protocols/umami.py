"""Umami: `/api/send`, with one page view, event or identity, which has no id."""

from typing import Final

import msgspec

from ingest.events.foreign import Foreign
from ingest.http.protocols.dialect import ABSENT, Envelope, decoder_of, spliced, text_of

_PROTOCOL: Final = "umami"
_VIEW: Final = "$pageview"
_IDENTIFY: Final = "$identify"


class _Payload(msgspec.Struct, gc=False):
    website: msgspec.Raw = ABSENT
    name: msgspec.Raw = ABSENT
    data: msgspec.Raw = ABSENT
    id: msgspec.Raw = ABSENT
    url: msgspec.Raw = ABSENT
    title: msgspec.Raw = ABSENT
    referrer: msgspec.Raw = ABSENT
    hostname: msgspec.Raw = ABSENT
    language: msgspec.Raw = ABSENT
    screen: msgspec.Raw = ABSENT
    tag: msgspec.Raw = ABSENT


class _Body(msgspec.Struct, gc=False):
    payload: _Payload
    type: str = "event"


_body = decoder_of(_Body)


def take(body: bytes) -> Envelope:
    """Take a body apart."""
    found = _body(body)
    return Envelope(text_of(found.payload.website), body, item)


def item(text: bytes) -> Foreign:
    """Understand an event."""
    body = _body(text)
    payload = body.payload
    params = spliced(
        payload.data,
        (b'"$distinct_id":', payload.id),
        (b'"$url":', payload.url),
        (b'"$title":', payload.title),
        (b'"$referrer":', payload.referrer),
        (b'"$hostname":', payload.hostname),
        (b'"$language":', payload.language),
        (b'"$screen":', payload.screen),
        (b'"$tag":', payload.tag),
    )
    name = _IDENTIFY if body.type == "identify" else text_of(payload.name) or _VIEW
    return Foreign(_PROTOCOL, name, params, None, "")
