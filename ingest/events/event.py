r"""One event as a client sends it: `event_name` and `event_params`, maybe `id` and `timestamp`.

`decode` accepts exactly what Postgres stores in a `jsonb` column and gives back unharmed, so that
one client's bad event is refused here and never costs a batch a second COPY. The parameters stay
the bytes that were sent: they are validated once and never rebuilt, so numbers keep every digit.

What the JSON grammar allows and this refuses, because Postgres refuses it or can't use it:
U+0000 (`\u0000`, but not `\\u0000`), invalid UTF-8, numbers outside a double's range or of more
than 400 digits (jsonb stores `1e131071` in a few bytes and prints it in 131,072), and more than 128
levels of nesting. The parser refuses lone surrogates and all malformed JSON itself.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from ingest.errors import Code, Refusal
from ingest.events.nesting import LEVELS_MAX, SHALLOW_BYTES_MAX, is_too_deep

DIGITS_MAX: Final = 400
UNUSUAL_NUMBERS_MAX: Final = 1_000
"""Numbers past 1e±299 or of many digits are checked one by one; this bounds the time it takes."""

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_FIELD_CHARS_SHOWN: Final = 64
_BACKSLASH: Final = 0x5C
_NUL_ESCAPE: Final = b"\\u0000"
_EMPTY_PARAMS: Final = b"{}"
_OBJECT_START: Final = 0x7B  # {
# Digits to 0, E to e, signs to 0: then 0e00 is in any text with an exponent worth a look, and a row
# of 200 in any with as many digits. A number with neither has 398 digits at most, and is in range.
# 0.15 µs for the documented example, where a search for the expression takes 0.35; of a megabyte
# of small numbers 4 ms, where walking it takes 54.
_NUMBER_SHAPE: Final = bytes.maketrans(b"123456789E+-", b"000000000e00")
_EXPONENT: Final = b"0e00"
_DIGITS_HARMLESS: Final = 200
_MANY_DIGITS: Final = b"0" * _DIGITS_HARMLESS

# These walk text, most of them what the parser has accepted. Every group is possessive: no
# backtracking.
_WITHOUT_NUL: Final = re.compile(rb"(?:[^\\]++|\\(?!u0000).)*+", re.DOTALL)
_USUAL: Final = re.compile(
    rb"""(?:
        "(?:[^"\\]++|\\.)*+"
        | [^"0-9]++
        | [0-9]{1,9}(?:\.[0-9]{1,20})?+[eE][+-]?0*+[12]?[0-9]{1,2}(?![0-9])
        | [0-9]{1,200}(?:\.[0-9]{1,200})?+(?![0-9.eE])
    )*+""",
    re.DOTALL | re.VERBOSE,
)
_HALF: Final = re.compile(rb"\\u[dD][89A-Fa-f][0-9A-Fa-f]{2}")
_PAIRED: Final = re.compile(
    rb"(?:[^\\]++|(?:\\[^u])++|%b|\\(?!u[dD][89A-Fa-f])u)*+"
    % rb"\\u[dD][89ABab][0-9A-Fa-f]{2}\\u[dD][C-Fc-f][0-9A-Fa-f]{2}",
    re.DOTALL,
)
_NUMBER: Final = re.compile(rb"([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")


class Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The top level of a request's body."""

    event_name: str
    event_params: msgspec.Raw = msgspec.Raw(_EMPTY_PARAMS)
    id: str | None = None
    timestamp: str | None = None


Decoded = tuple[str, bytes, Event | None]
"""A good event: its name, its parameters as they were sent, and the event itself if it has an `id`
or a `timestamp`, which `client_fields` reads."""

_TEXTS: Final = {"id": Code.INVALID_ID, "timestamp": Code.INVALID_TIMESTAMP}

_decode = msgspec.json.Decoder(Event).decode
_decode_array = msgspec.json.Decoder(list[Event]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Events(NamedTuple):
    """Events that were decoded together, and what each of them has to be searched for."""

    events: Sequence[Event]
    may_escape: bool
    """Whether any has a backslash."""
    may_exceed: bool
    """Whether any may have a number near a limit."""
    may_claim: bool
    """Whether any has an `id` or a `timestamp`."""

    @property
    def may_be_costly(self) -> bool:
        """Whether more may be to be done for each than to make a row of it."""
        return self.may_exceed or self.may_claim

    def cut(self, events_max: int) -> Iterator["Events"]:
        """Yield these events, so many at a time."""
        for start in range(0, len(self.events), events_max):
            yield self._replace(events=self.events[start : start + events_max])


def decode_array(array: bytes) -> Events | None:
    """Return the events of a JSON array; None if any is no event, or the array malformed.

    Parsed and searched as one, for less than half of what `decode` costs for each. What is returned
    holds the array; `unusual` tells which events may yet be bad ones.
    """
    try:
        events = _decode_array(array)
        array.isascii() or array.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    claiming = [each for each in events if each.id is not None or each.timestamp is not None]
    return Events(
        events,
        may_escape=_BACKSLASH in array,
        may_exceed=_may_exceed(array),
        may_claim=bool(claiming),
    )


def unusual(
    found: Events, names: Sequence[str], params: Sequence[bytes], name_chars_max: int
) -> Sequence[int]:
    """Return the indices of all events that have more than a name and harmless parameters.

    Those that are left are as `check` would return them.
    """
    are_good = all(_is_good(name, name_chars_max) for name in set(names))
    if found.may_claim or not are_good:
        return range(len(params))
    return [
        index
        for index, each in enumerate(params)
        if each[0] != _OBJECT_START
        or (found.may_escape and _BACKSLASH in each)
        or (found.may_exceed and _may_exceed(each))
        or (len(each) > SHALLOW_BYTES_MAX and is_too_deep(each))
    ]


def decode(body: bytes, name_chars_max: int) -> Decoded:
    """Return an event; raise Refusal for a bad one."""
    try:
        event = _decode(body)
    except _MALFORMED:
        event = _decode_marked(body)
    if not body.isascii():
        require_utf8(body)
    return check(event, bytes(event.event_params), name_chars_max)


def _decode_marked(body: bytes) -> Event:
    """Return the event behind a byte order mark; raise Refusal if there is none (RFC 8259, 8.1)."""
    text = body.removeprefix(BYTE_ORDER_MARK)
    try:
        if text is not body:
            return _decode(text)
    except _MALFORMED:
        pass
    raise _diagnose(text)


def check(event: Event, params: bytes, name_chars_max: int) -> Decoded:
    """Return an event in valid UTF-8 that was parsed and has these parameters; raise Refusal."""
    name = event.event_name
    if not _is_good(name, name_chars_max):
        raise _refuse_name(name_chars_max)
    uncommon = None if event.id is None and event.timestamp is None else event
    if params[0] != _OBJECT_START:
        return name, _absent(params), uncommon
    # find, as `in` takes bytes for a number first: the exception it makes and drops costs 0.2 µs.
    if _BACKSLASH in params and params.find(_NUL_ESCAPE) >= 0:
        _check_nul(params)
    if _may_exceed(params):
        _check_numbers(params)
    if len(params) > SHALLOW_BYTES_MAX and is_too_deep(params):
        raise _refuse_depth()
    return name, params, uncommon


def _is_good(name: str, chars_max: int) -> bool:
    return 0 < len(name) <= chars_max and "\0" not in name


def _absent(params: bytes) -> bytes:
    if params == b"null":
        return _EMPTY_PARAMS
    raise Refusal(Code.INVALID_EVENT_PARAMS, "event_params must be a JSON object, or left out.")


def _refuse_name(name_chars_max: int) -> Refusal:
    return Refusal(
        Code.INVALID_EVENT_NAME,
        f"event_name must be a string of 1 to {name_chars_max} characters without U+0000.",
    )


def require_utf8(body: bytes) -> None:
    """Raise Refusal for a body that is not valid UTF-8."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Refusal(
            Code.INVALID_JSON, f"The body is not valid UTF-8 at byte {error.start}."
        ) from None


def _check_nul(params: bytes) -> None:
    match = _WITHOUT_NUL.match(params)
    if match is None or match.end() != len(params):
        raise Refusal(
            Code.INVALID_EVENT_PARAMS,
            "event_params contains the character U+0000, which can't be stored; remove it.",
        )


def _refuse_depth() -> Refusal:
    return Refusal(
        Code.INVALID_EVENT_PARAMS,
        f"The event is nested too deeply; event_params may have {LEVELS_MAX} levels at most.",
    )


def _may_exceed(text: bytes) -> bool:
    """Return whether there may be a number near a limit in it: or a text that looks like one."""
    shape = text.translate(_NUMBER_SHAPE)
    if shape.find(_EXPONENT) >= 0:
        return True
    return len(text) > _DIGITS_HARMLESS and shape.find(_MANY_DIGITS) >= 0


def _check_numbers(params: bytes) -> None:
    end = len(params)
    position = 0
    for _ in range(UNUSUAL_NUMBERS_MAX):
        usual = _USUAL.match(params, position)
        position = usual.end() if usual else position
        if position == end:
            return
        number = _NUMBER.match(params, position)
        if number is None or not _is_storable(number):
            raise _refuse_numbers(f"a number that starts at byte {position} of it")
        position = number.end()
    raise _refuse_numbers(f"more than {UNUSUAL_NUMBERS_MAX} numbers near a limit")


def _refuse_numbers(what: str) -> Refusal:
    return Refusal(
        Code.INVALID_EVENT_PARAMS,
        f"event_params has {what}; numbers must fit a double's range and have at most "
        f"{DIGITS_MAX} digits. Send it as a string to keep it.",
    )


def _is_storable(number: re.Match[bytes]) -> bool:
    whole, fraction, exponent = (part or b"" for part in number.groups())
    digits = whole + fraction
    if len(digits) > DIGITS_MAX or len(exponent.lstrip(b"+-0")) > len(str(DIGITS_MAX)):
        return False
    value = float(number.group())
    is_zero = not digits.strip(b"0")
    return value != float("inf") and (is_zero or value > 0)


def _diagnose(body: bytes) -> Refusal:
    """Say what is wrong with a body that did not decode; only refused bodies pay for this."""
    if not body.strip():
        return Refusal(Code.INVALID_JSON, "The body is empty; send a JSON object.")
    try:
        fields = _decode_fields(body)
    except msgspec.ValidationError:
        return Refusal(Code.INVALID_JSON, "The body must be a JSON object.")
    except msgspec.DecodeError as error:
        return _refuse_half(body) or Refusal(
            Code.INVALID_JSON, f"The body is not valid JSON: {error}."
        )
    except UnicodeDecodeError:
        return Refusal(Code.INVALID_JSON, "The body is not valid UTF-8.")
    except RecursionError:
        return _refuse_depth()  # so deep that nobody knows what follows
    return _diagnose_fields(fields)


def _refuse_half(body: bytes) -> Refusal | None:
    """Return the refusal of a body with half of a surrogate pair; the parser calls it cut off."""
    paired = _PAIRED.match(body)
    half = paired and _HALF.match(body, paired.end())
    if not half or not body.rstrip().endswith(b"}"):
        return None
    return Refusal(
        Code.INVALID_JSON,
        f"The body has {half[0].decode()} alone at byte {half.start()}, half of a surrogate pair: "
        "a character was cut in two.",
    )


def _diagnose_fields(fields: dict[str, msgspec.Raw]) -> Refusal:
    if "event_name" not in fields:
        return Refusal(Code.MISSING_EVENT_NAME, 'event_name is missing; send {"event_name": "…"}.')
    for name in fields:
        if name not in Event.__struct_fields__:
            shown = name[:_FIELD_CHARS_SHOWN].encode("utf-8", "replace").decode()
            return Refusal(
                Code.UNKNOWN_FIELD,
                f'"{shown}" is no field of an event; put it inside event_params.',
            )
    for name, code in _TEXTS.items():
        if name in fields and not _is_text(fields[name]):
            return Refusal(code, f"{name} must be a string, or left out.")
    return Refusal(Code.INVALID_EVENT_NAME, "event_name must be a string in valid UTF-8.")


def _is_text(field: msgspec.Raw) -> bool:
    try:
        return isinstance(msgspec.json.decode(field), str | None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
