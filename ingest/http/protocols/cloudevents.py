"""CloudEvents 1.0 on `/event` and `/events`: another way to write our events, answered as ours are.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
In binary mode the attributes are headers `ce-…`, percent-encoded, and the body is the data; in
structured mode a JSON object has all of it, in batched mode an array of such objects.
"""

import base64
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import msgspec
import orjson

from ingest.errors import Code, Refusal
from ingest.events.event import require_utf8
from ingest.events.foreign import Foreign
from ingest.http.protocols.dialect import ABSENT, NOTHING, decoder_of, spliced, text_of
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
_NAME: Final = re.compile(r"[a-z0-9]{1,100}")
_ESCAPED: Final = re.compile(r"\\(.)")
_TEXT: Final = "text/"
_KIND_OF_JSON: Final = "+json"

_members = decoder_of(dict[str, msgspec.Raw])


def structured(text: bytes) -> Foreign:
    """Return an event of structured mode; raise Refusal."""
    if not text.isascii():
        require_utf8(text)
    members = _members(text)
    data = members.get("data", ABSENT)
    if bytes(data) in NOTHING and "data_base64" in members:
        return _event(members, spliced(ABSENT, (b'"data_base64":', members["data_base64"])))
    return _event(members, _params(data))


def binary(headers: Mapping[str, str], body: bytes, media_type: str) -> Foreign:
    """Return an event of binary mode; header names are small letters. Raise Refusal."""
    members = {
        name.removeprefix(_PREFIX): _decoded(name, value)
        for name, value in headers.items()
        if name.startswith(_PREFIX)
    }
    return _event(members, _data(body, media_type))


def none() -> Refusal:
    """Return the refusal of what is no CloudEvent."""
    return Refusal(Code.INVALID_JSON, f"A CloudEvent has specversion {_VERSION}.")


def _decoded(name: str, value: str) -> msgspec.Raw:
    """Return the value of a header, section 3.1.3.2: out of its quotes, and percent-decoded."""
    if value[:1] == value[-1:] == '"' and len(value) > 1:
        value = _ESCAPED.sub(r"\1", value[1:-1])
    try:
        return msgspec.Raw(orjson.dumps(unquote(value, errors="strict")))
    except (UnicodeDecodeError, TypeError):
        raise Refusal(Code.BAD_REQUEST, f"{name} is not valid UTF-8, percent-encoded.") from None


def _event(members: Mapping[str, msgspec.Raw], params: bytes) -> Foreign:
    if text_of(members.get("specversion", ABSENT)) != _VERSION:
        raise none()
    name, source, own_id = (text_of(members.get(each, ABSENT)) for each in ("type", "source", "id"))
    if not name:
        raise Refusal(Code.MISSING_EVENT_NAME, "A CloudEvent has a type, which is our event_name.")
    if not source or not own_id:
        raise Refusal(Code.INVALID_ID, "A CloudEvent has an id and a source.")
    if not all(map(_NAME.fullmatch, members.keys() - _OWN)):
        raise Refusal(Code.INVALID_JSON, "Attributes have names of small letters and digits.")
    further = [
        (f'"{_NAMES.get(each, f"${each}")}":'.encode(), raw)
        for each, raw in members.items()
        if each not in _OWN
    ]
    moment = text_of(members.get("time", ABSENT)) or None
    return Foreign(_PROTOCOL, name, spliced(msgspec.Raw(params), *further), moment, own_id, source)


def _params(data: msgspec.Raw) -> bytes:
    """Return data as parameters: an object as it is, anything else inside of one."""
    if bytes(data)[:1] == b"{":
        return bytes(data)
    return spliced(ABSENT, (b'"data":', data))


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
