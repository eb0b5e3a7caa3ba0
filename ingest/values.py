"""Values as people write them in a configuration: `yes`, `INFO`, `1GiB`, `30s`.

A setting's name says its unit (`bytes_max`, `memory_max`, `idle_timeout_s`, `past_days_max`), and
so which units may stand behind its number. A number alone has the unit of the name.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal, Union, get_args, get_origin

_SWITCHES: Final = dict.fromkeys(("yes", "on", "true", "1"), True) | dict.fromkeys(
    ("no", "off", "false", "0"), False
)
# No bare K, M and G: of the tools around us half mean 1000 by them, and half 1024.
_BYTES: Final = {"b": 1} | {
    name.lower(): base**power
    for power, prefix in enumerate("KMGT", 1)
    for name, base in ((f"{prefix}B", 1000), (f"{prefix}iB", 1024), (f"{prefix}i", 1024))
}
_SECONDS: Final[Mapping[str, int | Decimal]] = {
    "ms": Decimal("0.001"),
    "s": 1,
    "m": 60,
    "min": 60,
    "h": 3600,
    "d": 86_400,
}
_UNITS: Final[Mapping[str, tuple[Mapping[str, int | Decimal], str]]] = {
    "bytes": (_BYTES, "a number of bytes, or with a unit, as 64MiB"),
    "memory": (_BYTES, "a number of bytes, or with a unit, as 256MiB"),
    "s": (_SECONDS, "a number of seconds, or with a unit, as 500ms, 30s, 5m, 1h"),
    "days": ({"d": 1}, "a number of days, as 30 or 30d"),
}
_QUANTITY: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]+)", re.ASCII)


def read(text: str, key: str, kind: Any) -> object:  # noqa: ANN401 - a type, as annotations have it
    """Return what a text means for the setting `key` of a type; the text where it means no more."""
    if kind is bool:
        return _SWITCHES.get(text.lower(), text)
    if get_origin(kind) is Literal:
        return text.lower()
    if get_origin(kind) is list:
        return text.replace(",", " ").split()
    if get_origin(kind) is Union and text.isascii() and text.isdigit():
        return int(text)  # a number, or a word
    return _quantity(text, _units(key))


def allowed(key: str, kind: Any) -> str:  # noqa: ANN401 - as above
    """Return what may be written for a setting, empty where its type says enough."""
    if kind is bool:
        return "yes or no"
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if get_origin(kind) is Union:
        return "a number, or auto"
    if get_origin(kind) is list:
        (item,) = get_args(kind)
        of = f" of {', '.join(get_args(item))}" if get_origin(item) is Literal else ""
        return f"a list{of}, or a text with commas"
    return next((told for unit, (_, told) in _UNITS.items() if unit in _words(key)), "")


def _quantity(text: str, units: Mapping[str, int | Decimal]) -> object:
    found = _QUANTITY.fullmatch(text)
    unit = units.get(found[2].lower()) if found else None
    if found is None or unit is None:
        return text
    value = Decimal(found[1]) * unit
    return int(value) if value == value.to_integral_value() else float(value)


def _units(key: str) -> Mapping[str, int | Decimal]:
    return next((units for unit, (units, _) in _UNITS.items() if unit in _words(key)), {})


def _words(key: str) -> list[str]:
    return re.split(r"[._]", key)
