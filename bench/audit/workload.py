r"""What the clients send: good events of every shape, bad ones of every kind, and poison.

Each carries a token of its own in its parameters, so that a row, and an answer, can be traced to
what was sent. A good event must be acknowledged. A bad one must be refused with a code that is
known beforehand. A poison event passes the server's own checks and is refused by Postgres alone,
by an index that `POISON_INDEX` makes: so it is answered 400 `rejected_by_database`, or 202 and
then found in `rejected_events`.
"""

import json
import re
from random import Random
from typing import Final, NamedTuple

GOOD: Final = "good"
POISON: Final = "rejected_by_database"
TOKEN_FIELD: Final = "audit"  # noqa: S105 - a field, not a secret
TOKEN: Final = re.compile(rf'"{TOKEN_FIELD}": ?"([^"]+)"'.encode())
POISON_INDEX: Final = (
    "CREATE INDEX IF NOT EXISTS audit_poison ON events (((event_params->>'poison')::int))"
    " WHERE event_params ? 'poison'"
)
"""Its expression fails for {"poison": "yes"} with 22P02, by row and line, as a bad value does."""

_FILLERS: Final = 96
_LONG_TEXT_CHARS: Final = 3_000
_NAMES: Final = (
    "page_view",
    "button_click",
    "purchase",
    "Größe geändert",
    "购买",
    'say "hi"',
    "n" * 255,
)
_NUMBERS: Final = (
    "0", "-0", "1.10", "1e2", "0.1234567890123456789", "123456789012345678901234567890",
    "-9007199254740993", "2.5E-7", "1e300",
)  # fmt: skip
_TEXTS: Final = (
    '"/home"', '""', r'"a\\u0000b"', r'"tab\tquote\"slash\/"', '"naïve ☕ 😀"',
    r'"\u00e9\ud83d\ude00"', '"; DROP TABLE events; --"', '"COPY events, line 3"',
)  # fmt: skip


class SentEvent(NamedTuple):
    """One event, as it is sent and as it is to be answered."""

    token: str
    expected: str
    """GOOD, or the code of the 400 that it must get."""
    body: bytes
    """JSON without a tab or a line end."""
    echo: bytes
    """What a success must say between the id and `created_at`; empty for a bad event."""

    @property
    def is_json(self) -> bool:
        """Whether it may stand in an array without spoiling the others."""
        return self.expected != "invalid_json"


class Workload:
    """Makes the events of a run; the same for the same seed."""

    def __init__(self, run: str, seed: int) -> None:
        self._run = run
        random = Random(seed)  # noqa: S311 - repeatable, not secret
        self._fillers = [_filler(random) for _ in range(_FILLERS)]

    def good(self, client: int, number: int, random: Random) -> SentEvent:
        """Return an event that must be stored."""
        token = self._token(client, number)
        return _event(token, GOOD, random.choice(_NAMES), random.choice(self._fillers))

    def poison(self, client: int, number: int, random: Random) -> SentEvent:
        """Return an event that only Postgres refuses."""
        filler = f', "poison": "yes"{random.choice(self._fillers)}'
        return _event(self._token(client, number), POISON, "poison", filler)

    def bad(self, client: int, number: int, random: Random) -> SentEvent:
        """Return an event that the server itself refuses."""
        token = self._token(client, number)
        code, template = random.choice(_BAD)
        body = template.replace("TOKEN", f'"{TOKEN_FIELD}": "{token}"').encode()
        return SentEvent(token, code, body, b"")

    def _token(self, client: int, number: int) -> str:
        return f"{self._run}-{client}-{number}"


def _event(token: str, expected: str, name: str, filler: str) -> SentEvent:
    shown = json.dumps(name, ensure_ascii=False)
    params = f'{{"{TOKEN_FIELD}": "{token}"{filler}}}'
    body = f'{{"event_name": {shown}, "event_params": {params}}}'
    echo = f'","event_name":{shown},"event_params":{params},"created_at":"'
    return SentEvent(token, expected, body.encode(), echo.encode())


def _filler(random: Random) -> str:
    """Return some more members of an object, as JSON text after the first one."""
    values = [_value(random, depth=0) for _ in range(random.randrange(6))]
    text = "".join(f', "k{number}": {value}' for number, value in enumerate(values))
    if random.random() < 0.05:  # noqa: PLR2004 - a few long ones
        text += f', "long": "{"0123456789é" * (_LONG_TEXT_CHARS // 11)}"'
    return text


def _value(random: Random, depth: int) -> str:
    kind = random.randrange(4 if depth else 6)
    if kind == 0:
        return random.choice(_NUMBERS)
    if kind == 1:
        return random.choice(_TEXTS)
    if kind in {2, 3}:
        return random.choice(("true", "false", "null", "[]", "{}"))
    inner = [_value(random, depth + 1) for _ in range(random.randrange(4))]
    if kind == 4:  # noqa: PLR2004 - an array; the rest are objects
        return f"[{', '.join(inner)}]"
    members = (f'"m{number}": {value}' for number, value in enumerate(inner))
    return "{" + ", ".join(members) + "}"


_BAD: Final = (
    ("invalid_json", '{"event_name": "bad", "event_params": {TOKEN}'),
    ("invalid_json", '{"event_name": "bad", "event_params": {TOKEN,}}'),
    ("missing_event_name", '{"event_params": {TOKEN}}'),
    ("invalid_event_name", '{"event_name": "", "event_params": {TOKEN}}'),
    ("invalid_event_name", '{"event_name": 5, "event_params": {TOKEN}}'),
    ("invalid_event_name", r'{"event_name": "a\u0000", "event_params": {TOKEN}}'),
    ("invalid_event_name", f'{{"event_name": "{"n" * 256}", "event_params": {{TOKEN}}}}'),
    ("invalid_event_params", '{"event_name": "bad", "event_params": [{TOKEN}]}'),
    ("invalid_event_params", r'{"event_name": "bad", "event_params": {TOKEN, "x": "\u0000"}}'),
    ("invalid_event_params", '{"event_name": "bad", "event_params": {TOKEN, "x": 1e999}}'),
    ("unknown_field", '{"event_name": "bad", "event_parms": {TOKEN}}'),
)
