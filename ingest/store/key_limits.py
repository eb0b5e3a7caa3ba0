"""What a key that writes may be limited to: pages of some origins, and events of some names.

An origin is what a browser says in `Origin`: scheme, host, and a port that is not the usual one.
`https://*.shop.example` stands for every host below that one, and not for itself. It keeps the
pages of others out; a program can say what it likes.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

EACH_MAX: Final = 20
"""So many origins, and so many names, a key may be limited to."""
CHARS_MAX: Final = 255
"""Of each of them."""

_LABELS: Final = r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*"
_BELOW: Final = re.compile(_LABELS)
_ORIGIN: Final = re.compile(
    rf"([a-z][a-z0-9+.-]*)://((?:\*\.)?{_LABELS}|\[[0-9a-f:.]+\])(?::([0-9]{{1,5}}))?"
)
_USUAL_PORTS: Final = {"http": 80, "https": 443}
_PORT_MAX: Final = 65_535
_CHARS_SHOWN: Final = 60


class BadLimit(ValueError):  # noqa: N818 - a mistake of whoever wrote it
    """What was written is no limit; says why, in one sentence."""


class KeyLimits(NamedTuple):
    """What a key may do no more than."""

    origins: tuple[str, ...] = ()
    """Empty for any, and for none."""
    event_names: tuple[str, ...] = ()
    """Empty for all."""

    def allow_origin(self, origin: str) -> bool:
        """Return whether a page of this origin may use the key."""
        return not self.origins or any(_is_of(origin, each) for each in self.origins)

    def allow_event(self, name: str) -> bool:
        """Return whether an event of this name may be sent with the key."""
        return not self.event_names or name in self.event_names


def kept(origins: Sequence[str], event_names: Sequence[str]) -> KeyLimits | None:
    """Return limits as they are kept; None for none."""
    if not origins and not event_names:
        return None
    return KeyLimits(tuple(origins), tuple(event_names))


def read(origins: Iterable[str], event_names: Iterable[str]) -> KeyLimits | None:
    """Return limits as people write them, each once; None for none. Raises BadLimit."""
    made = kept(
        list(dict.fromkeys(map(_read_origin, origins))),
        list(dict.fromkeys(map(_read_name, event_names))),
    )
    if made is not None and max(map(len, made)) > EACH_MAX:
        raise BadLimit(f"A key may have {EACH_MAX} origins and {EACH_MAX} event names at most.")
    return made


def _read_origin(text: str) -> str:
    found = _ORIGIN.fullmatch(text.strip().lower().removesuffix("/"))
    if found is None or len(text) > CHARS_MAX or int(found[3] or 0) > _PORT_MAX:
        raise BadLimit(
            f"{_shown(text)} is no origin: write one as https://shop.example, without a path, or"
            " https://*.shop.example for every host below it."
        )
    scheme, host, port = found[1], found[2], int(found[3] or 0)
    has_port = port and port != _USUAL_PORTS.get(scheme)
    return f"{scheme}://{host}:{port}" if has_port else f"{scheme}://{host}"


def _read_name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > CHARS_MAX or not name.isprintable():
        raise BadLimit(
            f"{_shown(text)} is no event's name: write 1 to {CHARS_MAX} visible characters."
        )
    return name


def _shown(text: str) -> str:
    return repr(text if len(text) <= _CHARS_SHOWN else f"{text[:_CHARS_SHOWN]}…")


def _is_of(origin: str, limit: str) -> bool:
    before, star, behind = limit.partition("*")
    if not star:
        return origin == limit
    if not origin.startswith(before) or not origin.endswith(behind):
        return False
    return _BELOW.fullmatch(origin, len(before), len(origin) - len(behind)) is not None
