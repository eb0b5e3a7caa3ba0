"""The header `Prefer` (RFC 7240): what a client would like, and is not refused for.

Read strictly: of a header that is malformed or longer than CHARS_MAX every preference is ignored,
as are unknown ones, and the second of two with one name. Linear in the header's size.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

PREFER: Final = "Prefer"
APPLIED: Final = "Preference-Applied"
RESPOND_ASYNC: Final = "respond-async"
RETURN: Final = "return"
MINIMAL: Final = "minimal"
REPRESENTATION: Final = "representation"
HANDLING: Final = "handling"
STRICT: Final = "strict"
CHARS_MAX: Final = 512
"""The longest value that is read, all headers of the name together."""

# Runs of characters are possessive, and no two alternatives begin alike: nothing to backtrack into.
_SPACE: Final = r"[ \t]*+"
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_TEXT: Final = r'[^"\\\x00-\x08\x0a-\x1f\x7f]*+'
_QUOTED: Final = rf'"{_TEXT}(?:\\[^\x00-\x08\x0a-\x1f\x7f]{_TEXT})*"'
_VALUE: Final = rf"{_SPACE}={_SPACE}({_WORD}|{_QUOTED})"
_PARAMETER: Final = rf"{_SPACE};{_SPACE}(?:{_WORD}(?:{_VALUE})?)?"
_ELEMENT: Final = re.compile(
    rf"{_SPACE}(?:({_WORD})(?:{_VALUE})?(?:{_PARAMETER})*)?{_SPACE}(?:,|\Z)"
)
_ESCAPE: Final = re.compile(r"\\(.)")


class Preferences(NamedTuple):
    """The preferences that this server knows."""

    is_async: bool = False
    """`respond-async`: answer before the event is durable."""
    content: str | None = None
    """`return=…`: MINIMAL, REPRESENTATION, or None for whatever is usual."""

    is_strict: bool = False
    """`handling=strict`: refuse an event whose id or key another one has."""

    @property
    def applied(self) -> Mapping[str, str]:
        """The headers of an answer that say which of them were followed."""
        wants = {
            RESPOND_ASYNC: self.is_async,
            f"{RETURN}={MINIMAL}": self.is_minimal,
            # Before anybody has looked there is nothing to be strict about.
            f"{HANDLING}={STRICT}": self.is_strict and not self.is_async,
        }
        names = [name for name, is_wanted in wants.items() if is_wanted]
        return {APPLIED: ", ".join(names)} if names else {}

    @property
    def is_minimal(self) -> bool:
        """Whether a count is to be returned instead of rows."""
        return self.content == MINIMAL


def parse(fields: Iterable[str]) -> Preferences:
    """Return what the values of all `Prefer` headers ask for; never fails."""
    found = _read(",".join(fields))
    content = found.get(RETURN)
    return Preferences(
        is_async=found.get(RESPOND_ASYNC) == "",  # it has no value
        content=content if content in (MINIMAL, REPRESENTATION) else None,
        is_strict=found.get(HANDLING) == STRICT,
    )


def _read(text: str) -> dict[str, str]:
    """Return the value of each preference by its name in lower case; "" is no value."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text) <= CHARS_MAX:
        element = _ELEMENT.match(text, position)
        if element is None:
            return {}
        name, value = element[1], element[2]
        if name is not None:
            found.setdefault(name.lower(), _unquoted(value or ""))
        position = element.end()
    return found


def _unquoted(value: str) -> str:
    return _ESCAPE.sub(r"\1", value[1:-1]) if value.startswith('"') else value
