"""Labels of groups, as people and as programs are told them."""

from typing import Final

from ingest.cli.table import printable, shortened
from ingest.insights.answers import Kind
from ingest.insights.questions import Selection

_CHARS_MAX: Final = 24
_WORDS: Final[dict[Kind, str]] = {"all": "all", "none": "(none)", "other": "(other)"}
ANY: Final = "any event"


def of_group(kind: Kind, value: str | None) -> str:
    """Return a group's label: its value, short, or a word for the others."""
    return short(value or "") if kind == "value" else _WORDS[kind]


def of_event(selection: Selection) -> str:
    """Return an event's label."""
    return ANY if selection.name is None else short(selection.name)


def short(text: str) -> str:
    """Return a client's text as a label."""
    return shortened(printable(text), _CHARS_MAX)
