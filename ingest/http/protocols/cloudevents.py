"""CloudEvents 1.0 on `/event` and `/events`: another way to write our events, answered as ours are.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
In binary mode the attributes are headers `ce-…`, percent-encoded, and the body is the data; in
structured mode a JSON object has all of it, in batched mode an array of such objects.
"""

import base64
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import msgspec
import orjson

from ingest.errors import Code, Refusal
from ingest.events.event import require_utf8
from ingest.events.foreign import Foreign
from ingest.http.protocols.dialect import ABSENT, decoder_of, spliced, text_of
from ingest.http.responses import JSON

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
SPEC_VERSION: Final = "ce-specversion"
"""The header of binary mode."""
_PROTOCOL: Final = "cloudevents"
_PREFIX: Final = "ce-"
_VERSION: Final = "1.0"
_OWN: Final = frozenset({"specversion", "type", "time", "data", "data_base64", "datacontenttype"})
"""What is no parameter: all else is one, behind a `$`."""
_NAMES: Final[Mapping[str, str]] = {"id": "$message_id"}
_TEXT: Final = "text/"
_KIND_OF_JSON: Final = "+json"

_members = decoder_of(dict[str, msgspec.Raw])


def structured(text: bytes) -> Foreign:
    """Return an event of structured mode; raise Refusal."""
    if not text.isascii():
        require_utf8(text)
    members = _members(text)
    data = members.get("data", ABSENT)
    if not bytes(data) and "data_base64" in members:
        return _event(members, spliced(ABSENT, ("data_base64", members["data_base64"])))
    return _event(members, _params(data))


def binary(headers: Mapping[str, str], body: bytes, media_type: str) -> Foreign:
    """Return an event of binary mode; header names are small letters. Raise Refusal."""
    members = {
        name.removeprefix(_PREFIX): msgspec.Raw(orjson.dumps(unquote(value)))
        for name, value in headers.items()
        if name.startswith(_PREFIX)
    }
    return _event(members, _data(body, media_type))


def _event(members: Mapping[str, msgspec.Raw], params: bytes) -> Foreign:
    if text_of(members.get("specversion", ABSENT)) != _VERSION:
        raise Refusal(Code.INVALID_JSON, f"specversion must be {_VERSION}.")
    name, source, own_id = (text_of(members.get(each, ABSENT)) for each in ("type", "source", "id"))
    if not name:
        raise Refusal(Code.MISSING_EVENT_NAME, "A CloudEvent has a type, which is our event_name.")
    if not source or not own_id:
        raise Refusal(Code.INVALID_ID, "A CloudEvent has an id and a source.")
    further = [
        (_NAMES.get(each, f"${each}"), raw) for each, raw in members.items() if each not in _OWN
    ]
    moment = text_of(members.get("time", ABSENT)) or None
    return Foreign(_PROTOCOL, name, spliced(msgspec.Raw(params), *further), moment, own_id, source)


def _params(data: msgspec.Raw) -> bytes:
    """Return data as parameters: an object as it is, anything else inside of one."""
    if bytes(data)[:1] == b"{":
        return bytes(data)
    return spliced(ABSENT, ("data", data))


def _data(body: bytes, media_type: str) -> bytes:
    if not body:
        return b"{}"
    if media_type in ("", JSON) or media_type.endswith(_KIND_OF_JSON):
        try:
            require_utf8(body)
            return _params(msgspec.json.decode(body, type=msgspec.Raw))
        except (msgspec.DecodeError, RecursionError, Refusal):
            if media_type:
                raise Refusal(Code.INVALID_JSON, "The data is not valid JSON.") from None
    if media_type.startswith(_TEXT):
        try:
            return orjson.dumps({"data": body.decode()})
        except UnicodeDecodeError:
            pass
    return orjson.dumps({"data_base64": base64.b64encode(body).decode()})
