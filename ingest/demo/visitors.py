"""Visitors: each is made from the seed and a number alone, so that nobody has to be remembered."""

import random
from typing import Final, NamedTuple

REGULAR_EVERY: Final = 61
"""One out of so many comes again and again, and looks at far more."""

_FIRST_NUMBER: Final = 1_000
_KNOWN_SHARE: Final = 0.88  # the others let no cookie say who they are
_NAMES: Final = (
    "anna", "jörg", "zoë", "łukasz", "maría", "françois", "søren", "ella", "noah", "mia", "günther",
    "chloé", "piotr", "lena", "tom", "ayşe", "björn", "ines", "yuki", "daniel", "sofia", "håkan",
)  # fmt: skip


class _Place(NamedTuple):
    country: str
    language: str
    currency: str
    cities: tuple[str, ...]


class _Device(NamedTuple):
    kind: str
    os: str
    browser: str


_PLACES: Final = {
    _Place("DE", "de", "EUR", ("Berlin", "Köln", "München", "Hamburg", "Leipzig")): 52,
    _Place("AT", "de", "EUR", ("Wien", "Graz")): 9,
    _Place("CH", "de", "CHF", ("Zürich", "Genève")): 9,
    _Place("FR", "fr", "EUR", ("Paris", "Orléans")): 8,
    _Place("NL", "nl", "EUR", ("Amsterdam", "Utrecht")): 7,
    _Place("PL", "pl", "EUR", ("Kraków", "Łódź")): 6,
    _Place("GB", "en", "GBP", ("London", "Leeds")): 6,
    _Place("US", "en", "EUR", ("New York", "Portland")): 3,
}
_DEVICES: Final = {
    _Device("mobile", "iOS", "Safari"): 26,
    _Device("mobile", "Android", "Chrome"): 25,
    _Device("mobile", "Android", "Samsung Internet"): 4,
    _Device("desktop", "Windows", "Chrome"): 17,
    _Device("desktop", "Windows", "Edge"): 7,
    _Device("desktop", "macOS", "Safari"): 7,
    _Device("desktop", "macOS", "Chrome"): 5,
    _Device("desktop", "Linux", "Firefox"): 4,
    _Device("tablet", "iPadOS", "Safari"): 5,
}
_VARIANTS: Final = ("steps", "one_page")


class Visitor(NamedTuple):
    """Somebody who visits the shop."""

    user_id: str | None
    """None of somebody whom no two visits are known of."""
    device: str
    os: str
    browser: str
    country: str
    city: str
    language: str
    currency: str
    variant: str
    """Which checkout the experiment gives them."""
    eagerness: float
    """How much they look at and buy, 1 on average."""


def visitor(seed: int, number: int) -> Visitor:
    """Return the visitor of a number, from 0: the same one at any time."""
    chance = random.Random(f"visitor {seed} {number}")
    (place,) = chance.choices(tuple(_PLACES), tuple(_PLACES.values()))
    (device,) = chance.choices(tuple(_DEVICES), tuple(_DEVICES.values()))
    name = f"{chance.choice(_NAMES)}-{_FIRST_NUMBER + number}"
    is_regular = number % REGULAR_EVERY == 0
    return Visitor(
        user_id=name if is_regular or chance.random() < _KNOWN_SHARE else None,
        device=device.kind,
        os=device.os,
        browser=device.browser,
        country=place.country,
        city=chance.choice(place.cities),
        language=place.language,
        currency=place.currency,
        variant=chance.choice(_VARIANTS),
        eagerness=chance.uniform(2.0, 3.0) if is_regular else chance.uniform(0.4, 1.5),
    )
