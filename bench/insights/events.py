"""The events that questions are asked about, made up: few names, many people, late ones, batches.

A few people do most (Zipf), and what is sent together was received together. Some events say when
they happened, a few of them days before they were received. The same numbers make the same events.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

NAMES: Final = {
    "page_view": 0.55,
    "button_click": 0.22,
    "app_open": 0.12,
    "purchase": 0.05,
    "user_signup": 0.03,
    "error": 0.03,
}
"""How often each is."""
PEOPLE: Final = 200_000
DAYS: Final = 60
TAIL: Final = 5_000
_TAIL_SHARE: Final = 10
CHUNK: Final = 50_000
"""Events in a COPY."""

_ZIPF: Final = 1.1
_TOGETHER: Final = 0.3
"""Of the events came in the document of the one before."""
_TIMED: Final = 0.3
"""Say when they happened: a little earlier, most of them."""
_LATE: Final = 0.05
_LATE_DAYS: Final = 5.0
_PROMPT_S: Final = 30.0
_NOBODY: Final = 0.01
"""Have no user_id."""
_NO_PLAN: Final = 0.1

_PAGES: Final = (
    "/home", "/pricing", "/docs/quick-start", "/dashboard", "/login", "/signup", "/blog",
    "/settings/profile", "/checkout", "/docs/api/events", "/cart", "/account/billing", "/search",
    "/products/espresso-machine", "/help/contact", "/products/moka-pot", "/about", "/careers",
)  # fmt: skip
_REFERRERS: Final = ("", "https://www.google.com/", "https://t.co/Xy7Qz1AbCd", "https://news.site/")
_BUTTONS: Final = ("signup_btn", "add_to_cart", "buy_now", "menu_open", "play_video")
_DEVICES: Final = ("iPhone 17 Pro", "Pixel 10", "Galaxy S26", "iPad Air", "Xiaomi 15T")
_PLANS: Final = ("free", "premium", "team", "enterprise")
_SOURCES: Final = ("google_ads", "organic", "referral", "newsletter", "partner:café-zürich")
_WIDTHS: Final = (1440, 390, 1920, 768)
_CODES: Final = ("500", '"E_TIMEOUT"', "404")

Numbers = NDArray[np.int64]
Seconds = NDArray[np.float64]


class Period(NamedTuple):
    """When the events are received."""

    start: datetime
    end: datetime

    @classmethod
    def up_to(cls, end: datetime) -> "Period":
        """Return the days before an instant."""
        return cls(end - timedelta(days=DAYS), end)

    def cut(self, pieces: int) -> Iterator["Period"]:
        """Yield it in pieces of one length."""
        length = (self.end - self.start) / pieces
        for number in range(pieces):
            yield Period(self.start + number * length, self.start + (number + 1) * length)


def tail_of(count: int) -> int:
    """Return how many of so many events are not in the archive, at least."""
    return min(TAIL, count // _TAIL_SHARE)


def person(rank: int) -> str:
    """Return who is at a place of the list of those who do most, from 0."""
    return f"u_{rank:06d}"


def chunk(app_id: int, period: Period, count: int, seed: int) -> bytes:
    """Return so many events of a period as `COPY events` takes them as text: see COLUMNS."""
    return _Chunk(app_id, period, count, np.random.default_rng(seed)).text()


COLUMNS: Final = ("app_id", "id", "event_name", "event_params", "created_at", "timestamp")


class _Chunk:
    """Some events, column by column."""

    def __init__(
        self, app_id: int, period: Period, count: int, random: np.random.Generator
    ) -> None:
        self._app_id = app_id
        self._random = random
        self._count = count
        self._created_us = self._received(period)

    def text(self) -> bytes:
        """Return a line for each."""
        ids = self._ids()
        names = self._random.choice(list(NAMES), self._count, p=list(NAMES.values()))
        params = self._params()
        created, happened = _times(self._created_us), self._happened()
        lines = (
            f"{self._app_id}\t{event_id}\t{name}\t{params[name](at)}\t{created[at]}\t{when}\n"
            for at, (event_id, name, when) in enumerate(
                zip(ids, names.tolist(), happened, strict=True)
            )
        )
        return "".join(lines).encode()

    def _received(self, period: Period) -> Numbers:
        """Return when each was received, in microseconds; many at the time of the one before."""
        start_us, end_us = (round(each.timestamp() * 1e6) for each in period)
        times = np.sort(self._random.integers(start_us, end_us, self._count))
        is_together = self._random.random(self._count) < _TOGETHER
        is_together[:1] = False
        return np.maximum.accumulate(np.where(is_together, 0, times))

    def _ids(self) -> list[str]:
        """Return UUIDs of version 7."""
        digits = self._random.bytes(10 * self._count).hex()
        variants = self._picks(4)
        return [
            f"{ms:012x}7{digits[at : at + 3]}{'89ab'[variant]}{digits[at + 3 : at + 18]}"
            for ms, variant, at in zip(
                (self._created_us // 1000).tolist(),
                variants,
                range(0, 20 * self._count, 20),
                strict=True,
            )
        ]

    def _happened(self) -> list[str]:
        """Return what each says of when it happened; most say nothing."""
        chance = self._random.random(self._count)
        earlier_s = np.where(
            chance < _LATE,
            self._random.random(self._count) * _LATE_DAYS * 86_400,
            self._random.random(self._count) * _PROMPT_S,
        )
        times = _times((self._created_us - (earlier_s * 1e6).astype(np.int64)) // 1000 * 1000)
        return [
            time if is_timed else "\\N"
            for time, is_timed in zip(times, (chance < _TIMED).tolist(), strict=True)
        ]

    def _params(self) -> dict[str, Callable[[int], str]]:
        """Return for each name what makes the parameters of the event at a place."""
        users, ends = self._people()
        pages, some = self._texts(_PAGES), self._texts(_SOURCES)
        referrers, buttons = self._texts(_REFERRERS), self._texts(_BUTTONS)
        devices, widths = self._texts(_DEVICES), self._picks(len(_WIDTHS))
        amounts = np.round(self._random.lognormal(3.5, 1.0, self._count), 2).tolist()
        codes = self._picks(len(_CODES))
        return {
            "page_view": lambda at: (
                f'{{"page":"{pages[at]}","referrer":"{referrers[at]}",'
                f'"width":{_WIDTHS[widths[at]]}{ends[at]}'
            ),
            "button_click": lambda at: (
                f'{{"button_id":"{buttons[at]}","page":"{pages[at]}"{ends[at]}'
            ),
            "app_open": lambda at: (
                f'{{"device":"{devices[at]}","is_first":{"true" if users[at] % 7 else "false"},'
                f'"version":"{1 + widths[at]}.{users[at] % 20}.0"{ends[at]}'
            ),
            "purchase": lambda at: (
                f'{{"amount":{amounts[at]},"product_id":"p_{users[at] % 5_000}",'
                f'"utm":{{"source":"{some[at]}"}}{ends[at]}'
            ),
            "user_signup": lambda at: f'{{"source":"{some[at]}"{ends[at]}',
            "error": lambda at: (
                f'{{"message":"Failed to fetch","code":{_CODES[codes[at]]}{ends[at]}'
            ),
        }

    def _people(self) -> tuple[list[int], list[str]]:
        """Return everybody's place in the list, and with what their events' parameters end."""
        users = self._zipf(PEOPLE).tolist()
        chance = self._random.random(self._count).tolist()
        ends = [
            (f',"plan":"{_PLANS[user % len(_PLANS)]}"' if user % 100 >= _NO_PLAN * 100 else "")
            + (f',"user_id":"{person(user)}"}}' if one >= _NOBODY else "}")
            for user, one in zip(users, chance, strict=True)
        ]
        return users, ends

    def _texts(self, choices: tuple[str, ...]) -> list[str]:
        return [choices[at] for at in self._picks(len(choices))]

    def _picks(self, count: int) -> list[int]:
        picked: list[int] = self._zipf(count).tolist()
        return picked

    def _zipf(self, count: int) -> Numbers:
        """Return numbers below `count`, the first ones by far the likeliest."""
        power = 1 - _ZIPF
        spread = (count + 1) ** power - 1
        drawn: Seconds = (1 + self._random.random(self._count) * spread) ** (1 / power)
        return np.minimum(drawn.astype(np.int64) - 1, count - 1)


def _times(unix_us: NDArray[Any]) -> list[str]:
    """Return times as Postgres reads them."""
    texts = np.datetime_as_string(unix_us.astype("datetime64[us]"))
    return [f"{text}+00" for text in texts.tolist()]


def midnight() -> datetime:
    """Return when today began."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
