"""Labels of groups, as people and as programs are told them."""

from typing import Final

from ingest.api import figures
from ingest.cli.table import printable, shortened
from ingest.insights.answers import Kind
from ingest.insights.questions import Selection

_CHARS_MAX: Final = 24


def of_group(kind: Kind, value: str | None) -> str:
    """Return a group's label: its value, short, or a word for the others."""
    return short(value or "") if kind == "value" else figures.GROUPS[kind]


def of_event(selection: Selection) -> str:
    """Return an event's label."""
    return figures.ANY if selection.name is None else short(selection.name)


def short(text: str) -> str:
    """Return a client's text as a label."""
    return shortened(printable(text), _CHARS_MAX)
