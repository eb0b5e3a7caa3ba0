"""A dialect: how a protocol's body is read, and what an event of it is."""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import msgspec

from ingest.errors import Code, Refusal
from ingest.events.foreign import Foreign

T = TypeVar("T")

ABSENT: Final = msgspec.Raw(b"")
"""A member that is not there."""
NOTHING: Final = (b"", b"null")
"""How a member is that says nothing."""
_QUOTE: Final = 0x22
_BACKSLASH: Final = 0x5C
_OBJECT: Final = b"{"
_ARRAY: Final = b"["
_TEXT_OR_NUMBER: Final = b'"-0123456789'


Read = Callable[[bytes], Foreign]
"""Understands one event; raises Refusal."""


class Envelope(NamedTuple):
    """A body that was taken apart."""

    key: str
    """The API key that it has; empty if none."""
    events: bytes
    """A JSON array of them, or one alone."""
    read: Read
    key_of: Callable[[bytes], str] | None = None
    """Looks for the key in an event, where the body has none."""


Dialect = Callable[[bytes], Envelope]
"""Takes a body of valid JSON apart; raises Refusal."""


def decoder_of(kind: type[T]) -> Callable[[bytes], T]:
    """Return what reads a body or an event of a kind; it raises Refusal."""
    decode = msgspec.json.Decoder(kind).decode

    def read(text: bytes) -> T:
        try:
            return decode(text)
        except msgspec.ValidationError as error:
            raise Refusal(Code.INVALID_JSON, f"Not what an SDK sends: {error}.") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refusal(Code.INVALID_JSON, f"Not valid JSON: {error}.") from None

    return read


def text_of(member: msgspec.Raw) -> str:
    """Return a JSON text; of a number what it is written as, and "" for anything else."""
    raw = bytes(member)
    if not raw or raw[0] not in _TEXT_OR_NUMBER:
        return ""
    if raw[0] != _QUOTE:
        return raw.decode()
    return str(msgspec.json.decode(raw)) if _BACKSLASH in raw else raw[1:-1].decode()


def array_of(member: msgspec.Raw) -> bytes:
    """Return a batch's events as a JSON array; raise Refusal for what is none."""
    if bytes(member)[:1] != _ARRAY:
        raise Refusal(Code.INVALID_JSON, "A batch is a list of events.")
    return bytes(member)


def is_object(member: msgspec.Raw) -> bool:
    """Whether a member is there and an object."""
    return bytes(member)[:1] == _OBJECT


def spliced(member: msgspec.Raw, *members: tuple[bytes, msgspec.Raw]) -> bytes:
    """Return a member as an object with further members behind them; absent ones are left out.

    Names are as JSON has them, with a colon. Nothing is parsed: numbers keep every digit. What is
    no object becomes one.
    """
    properties = bytes(member)
    added = [
        name + text
        for name, raw in members
        if raw is not ABSENT and (text := bytes(raw)) not in NOTHING
    ]
    if properties[:1] == _OBJECT:
        inner = properties[1:-1].strip()
        return b"{%b}" % b",".join([inner, *added] if inner else added)
    if properties not in NOTHING:
        added.insert(0, b'"$properties":' + properties)
    return b"{%b}" % b",".join(added)
