"""What a page has in its tables and its fields."""

from html.parser import HTMLParser
from typing import NamedTuple


class Table(NamedTuple):
    """Cells as texts, each row with its heading."""

    head: list[str]
    rows: list[list[str]]


class _Tables(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._is_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._is_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._is_cell = False

    def handle_data(self, data: str) -> None:
        if self._is_cell:
            self.tables[-1][-1][-1] += data


class _Fields(HTMLParser):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.values: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "input" and found.get("name") == self._name and found.get("type") != "hidden":
            self.values.append(found.get("value") or "")


def tables_of(page: str) -> list[Table]:
    """Return the tables of a page."""
    reader = _Tables()
    reader.feed(page)
    return [Table(rows[0], rows[1:]) for rows in reader.tables]


def attribute(page: str, name: str) -> list[str]:
    """Return what the fields of a name hold."""
    reader = _Fields(name)
    reader.feed(page)
    return reader.values
