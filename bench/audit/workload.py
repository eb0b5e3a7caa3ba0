r"""What the clients send: good events of every shape, bad ones of every kind, and poison.

Each carries a token of its own in its parameters, so that a row, and an answer, can be traced to
what was sent. A good event must be acknowledged; so must a guarded one, but for a while an operator
may have a rule against its kind. A bad one must be refused with a code that is known beforehand. A
poison event passes the server's own checks and is refused by Postgres alone, by an index that
`POISON_INDEX` makes: so it is answered 400 `rejected_by_database`, or 202 and then found in
`rejected_events`.

An event may have a claim: the id or the Idempotency-Key that its client gave it. All events of an
app with the same claim are one, whatever else they say. It may be sent again, as another attempt.
"""

import json
import re
import time
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Final, NamedTuple

from bench.load.ids import uuid7

GOOD: Final = "good"
GUARDED: Final = "guarded"
POISON: Final = "rejected_by_database"
TOKEN_FIELD: Final = "audit"  # noqa: S105 - a field, not a secret
TOKEN: Final = re.compile(rf'"{TOKEN_FIELD}": ?"([^"]+)"'.encode())
POISON_INDEX: Final = (
    "CREATE INDEX IF NOT EXISTS audit_poison ON events (((event_params->>'poison')::int))"
    " WHERE event_params ? 'poison'"
)
"""Its expression fails for {"poison": "yes"} with 22P02, by row and line, as a bad value does."""
APPS: Final = 2
"""Clients of two apps send the same claims: each app's are its own."""
GUARDED_NAME: Final = "guarded"
"""The `event_name` of the kind that operators' rules are about; no other event has it."""
KEY: Final = "key "
ID: Final = "id "
"""How a claim begins: by which of the two the event is known."""

_FILLERS: Final = 96
_LONG_TEXT_CHARS: Final = 3_000
_SLOTS: Final = 20
_CLIENTS_OF_ONE_APP: Final = 8
_PAST_DAYS_MAX: Final = 60
_PAST_IDS: Final = 0.1
_OFFSET: Final = timezone(timedelta(hours=2))
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
    """One event as it goes over the wire, and what must come of it."""

    token: str
    expected: str
    """GOOD, GUARDED, POISON, or the code of the 400 that it must get."""
    body: bytes
    """JSON without a tab or a line end."""
    echo: bytes
    """What a success must say between the id and `created_at`; empty for a bad event."""
    said: bytes = b""
    """What a success must say behind `created_at`: the client's own timestamp."""
    claim: str = ""
    """ID and the id, or KEY and the key, by which the client will know it again."""
    attempt: int = 0
    """0 for the first time that it is sent; unique for each further one."""

    @property
    def label(self) -> str:
        """What this attempt is called in the history."""
        return f"{self.token}.{self.attempt}" if self.attempt else self.token

    @property
    def id(self) -> str:
        """The id that its client has given it; empty if it hasn't."""
        return self.claim.removeprefix(ID) if self.claim.startswith(ID) else ""

    @property
    def key(self) -> str:
        """The Idempotency-Key that it is sent with; empty for none."""
        return self.claim.removeprefix(KEY) if self.claim.startswith(KEY) else ""

    @property
    def is_json(self) -> bool:
        """Whether it may stand in an array without spoiling the others."""
        return self.expected != "invalid_json"


class Request(NamedTuple):
    """What one HTTP request carries."""

    events: tuple[SentEvent, ...]
    """One, or several as a batch."""
    is_async: bool = False
    """Whether it asks to be answered before it is stored (`Prefer: respond-async`)."""


class Workload:
    """Makes the events of a run; the same for the same seed, but for times of the clients'."""

    def __init__(self, run: str, seed: int) -> None:
        self._run = run
        random = Random(seed)  # noqa: S311 - repeatable, not secret
        self._fillers = [_filler(random) for _ in range(_FILLERS)]

    def good(
        self, client: int, number: int, random: Random, claim: str = "", happened: str = ""
    ) -> SentEvent:
        """Return an event that must be stored; `happened` is its timestamp."""
        token = self._token(client, number)
        made = _event(token, GOOD, random.choice(_NAMES), random.choice(self._fillers))
        return _claiming(made, claim, happened)

    def guarded(
        self, client: int, number: int, random: Random, claim: str = "", happened: str = ""
    ) -> SentEvent:
        """Return an event of the kind that an operator may have a rule against."""
        filler = f', "slot": {random.randrange(_SLOTS)}{random.choice(self._fillers)}'
        made = _event(self._token(client, number), GUARDED, GUARDED_NAME, filler)
        return _claiming(made, claim, happened)

    def claim(self, client: int, number: int, random: Random, *, is_key: bool) -> str:
        """Return a new id or key of the client's; a few ids are of long ago."""
        if is_key:
            return f"{KEY}{self._token(client, number)} order"
        past_days = random.uniform(0, _PAST_DAYS_MAX) if random.random() < _PAST_IDS else 0
        return ID + str(uuid7(time.time() - past_days * 86_400, random))

    def happened(self, random: Random) -> str:
        """Return a timestamp of the last weeks, to the millisecond or the microsecond."""
        past = timedelta(days=random.uniform(0, _PAST_DAYS_MAX))
        moment = datetime.now(UTC) - past
        if random.random() < 0.5:  # noqa: PLR2004 - half of them
            return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        exact = moment.replace(microsecond=moment.microsecond | 1)
        return exact.astimezone(_OFFSET).isoformat(timespec="microseconds")

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


def _claiming(event: SentEvent, claim: str, happened: str) -> SentEvent:
    """Return the event with what its client says of it, in front of the rest."""
    if not claim and not happened:
        return event
    members = f'"timestamp": "{happened}", ' if happened else ""
    if claim.startswith(ID):
        members += f'"id": "{claim.removeprefix(ID)}", '
    said = f',"timestamp":"{_in_utc(happened)}"'.encode() if happened else b""
    return event._replace(
        body=b"{%b%b" % (members.encode(), event.body[1:]), claim=claim, said=said
    )


def _in_utc(time_text: str) -> str:
    """Return a time as an answer has it: to the millisecond, if that is exact."""
    moment = datetime.fromisoformat(time_text).astimezone(UTC)
    precision = "microseconds" if moment.microsecond % 1000 else "milliseconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def app_of(client: int) -> int:
    """Return which app's key a client has, from 0; clients of every kind are in each."""
    return client // _CLIENTS_OF_ONE_APP % APPS


def app_of_token(token: str) -> int:
    """Return the app whose client has sent an event."""
    return app_of(int(token.split("-")[1]))


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
