"""What the load client sends: the documented example, a mix of the common events, or a file's.

Payloads are made before the run and reused, so that making them costs the run nothing. The mix is
the same in every run: its random numbers have a fixed seed.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import orjson

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = "example"
MIX = "mix"
MIX_EVENTS = 4_096
FILE_EVENTS_MAX = 100_000
_SEED = 7
_USERS = 100_000
_ZIPF_EXPONENT = 1.1

_PAGES = (
    "/home", "/pricing", "/docs/quick-start", "/dashboard", "/login", "/signup", "/blog",
    "/settings/profile", "/checkout", "/docs/api/events", "/cart", "/account/billing", "/search",
    "/products/espresso-machine", "/help/contact", "/products/moka-pot", "/about", "/careers",
)  # fmt: skip
_REFERRERS = (
    "", "https://www.google.com/", "https://news.ycombinator.com/item?id=41234567",
    "https://t.co/Xy7Qz1AbCd", "https://www.linkedin.com/feed/", "android-app://com.slack/",
)  # fmt: skip
_BUTTONS = ("signup_btn", "add_to_cart", "buy_now", "menu_open", "play_video", "newsletter_ok")
_PLANS = ("free", "premium", "team", "enterprise")
_SOURCES = ("google_ads", "organic", "referral", "newsletter", "tiktok", "partner:café-zürich")
_DEVICES = ("iPhone 17 Pro", "Pixel 10", "Galaxy S26", "iPad Air", "Xiaomi 15T", "Moto G86")
_ERRORS = (
    ("TypeError", "Cannot read properties of undefined (reading 'id')"),
    ("NetworkError", "Failed to fetch"),
    ("RangeError", "Maximum call stack size exceeded"),
    ("SyntaxError", "Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON"),
)
_SHARES = {
    "page_view": 0.55,
    "button_click": 0.25,
    "app_open": 0.12,
    "purchase": 0.03,
    "user_signup": 0.02,
    "error": 0.03,
}


class PayloadError(BenchError):
    """A file of payloads can't be used; the message says why."""


class Payload(NamedTuple):
    """One event, as it is sent and as it is compared with its row."""

    body: bytes
    """The request's body, JSON."""
    name: str
    params: str
    """The event's parameters, JSON as sent."""


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    event_name: str
    event_params: msgspec.Raw = msgspec.Raw(b"{}")


def load(source: str) -> list[Payload]:
    """Return the payloads of `example`, `mix`, or an NDJSON file; raise PayloadError."""
    if source == EXAMPLE:
        return [example()]
    if source == MIX:
        return mix(MIX_EVENTS)
    return read(Path(source))


def example() -> Payload:
    """Return the documented example, spaced as `json.dumps` and `requests` do it."""
    body = (
        b'{"event_name": "button_click", "event_params": '
        b'{"user_id": "12345", "button_id": "signup_btn", "page": "/home"}}'
    )
    return parse(body)


def parse(body: bytes) -> Payload:
    """Return the payload of one body; raise PayloadError."""
    try:
        line = msgspec.json.decode(body, type=_Line)
        params = bytes(line.event_params).decode()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayloadError(str(error)) from error
    return Payload(body, line.event_name, "{}" if params == "null" else params)


def read(path: Path) -> list[Payload]:
    """Return the events of an NDJSON file, one `{"event_name", "event_params"}` a line."""
    payloads: list[Payload] = []
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if len(payloads) == FILE_EVENTS_MAX:
                    raise PayloadError(f"{path}: more than {FILE_EVENTS_MAX:,} events")
                if text := line.strip():
                    payloads.append(_parse_line(path, number, text))
    except OSError as error:
        raise PayloadError(f"{path}: {error.strerror}") from error
    if not payloads:
        raise PayloadError(f"{path}: no events")
    return payloads


def _parse_line(path: Path, number: int, text: bytes) -> Payload:
    try:
        return parse(text)
    except PayloadError as error:
        raise PayloadError(f"{path}, line {number}: {error}") from error


def mix(events: int) -> list[Payload]:
    """Return that many of the six common events; a few users and pages make most of them."""
    maker = _Maker(np.random.default_rng(_SEED))
    makers: dict[str, Callable[[], dict[str, object]]] = {
        "page_view": maker.page_view,
        "button_click": maker.button_click,
        "app_open": maker.app_open,
        "purchase": maker.purchase,
        "user_signup": maker.user_signup,
        "error": maker.error,
    }
    names = maker.random.choice(list(_SHARES), events, p=list(_SHARES.values()))
    return [
        parse(orjson.dumps({"event_name": name, "event_params": makers[name]()}))
        for name in map(str, names)
    ]


class _Maker:
    """Makes the parameters of each common event."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random

    def page_view(self) -> dict[str, object]:
        page, referrer = self._pick(_PAGES), self._pick(_REFERRERS)
        return {"page": page, "referrer": referrer, "user_id": self._user()}

    def button_click(self) -> dict[str, object]:
        button, page = self._pick(_BUTTONS), self._pick(_PAGES)
        return {"button_id": button, "page": page, "user_id": self._user()}

    def app_open(self) -> dict[str, object]:
        major, minor = self.random.integers(1, 5), self.random.integers(0, 20)
        version = f"{major}.{minor}.0"
        return {"device": self._pick(_DEVICES), "version": version, "user_id": self._user()}

    def purchase(self) -> dict[str, object]:
        amount = round(float(self.random.lognormal(3.5, 1.0)), 2)
        product = f"p_{self._zipf(5_000)}"
        return {"user_id": self._user(), "amount": amount, "product_id": product}

    def user_signup(self) -> dict[str, object]:
        return {
            "user_id": self._user(),
            "plan": self._pick(_PLANS),
            "source": self._pick(_SOURCES),
        }

    def error(self) -> dict[str, object]:
        kind, message = _ERRORS[self._zipf(len(_ERRORS))]
        frames = (
            f"    at fn{self.random.integers(100)} (https://app.example.org/static/main."
            f"{self.random.integers(1 << 32):08x}.js:{line}:{line * 7 % 120})"
            for line in self.random.integers(1, 5_000, self.random.integers(2, 8))
        )
        stack = "\n".join((f"{kind}: {message}", *frames))
        return {"message": message, "stack": stack, "user_id": self._user()}

    def _user(self) -> str:
        return f"u_{self._zipf(_USERS):06d}"

    def _pick(self, choices: tuple[str, ...]) -> str:
        return choices[self._zipf(len(choices))]

    def _zipf(self, count: int) -> int:
        """Return an index below `count`, the first ones by far the likeliest."""
        # The inverse of the continuous distribution with the same tail; exact enough for a load.
        power = 1 - _ZIPF_EXPONENT
        spread = (count + 1) ** power - 1
        return min(int((1 + self.random.random() * spread) ** (1 / power)) - 1, count - 1)
