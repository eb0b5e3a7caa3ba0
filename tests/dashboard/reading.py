"""Pages read as their readers see them: rows, figures, links."""

import html
import re
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import requests

_TAGS: Final = re.compile(r"<[^>]+>")
_ROW: Final = re.compile(r'<tr>\s*<td class="when">.*?</tr>', re.DOTALL)
_CELL: Final = re.compile(r"<td[^>]*>(.*?)</td>", re.DOTALL)
_BAR: Final = re.compile(r'<tr><td><a href="([^"]*)">(.*?)</td><td class="figure">([0-9,]+)</td>')
_EVENT: Final = re.compile(r"/events/([0-9a-f-]{36})")


class Row(NamedTuple):
    """One event of a list."""

    id: str
    time: str
    name: str
    person: str
    params: str


def text(markup: str) -> str:
    """Return what is seen of some HTML."""
    return " ".join(html.unescape(_TAGS.sub(" ", markup)).split())


def rows(page: requests.Response) -> list[Row]:
    """Return the events that the explorer lists."""
    found = []
    for row in _ROW.findall(page.text):
        event = _EVENT.search(row)
        assert event
        found.append(Row(event[1], *map(text, _CELL.findall(row))))
    return found


def bars(page: requests.Response) -> list[tuple[str, int, str]]:
    """Return the table behind the bars: label, events, and where its link leads."""
    return [
        (text(label), int(count.replace(",", "")), html.unescape(link))
        for link, label, count in _BAR.findall(page.text)
    ]


def total(page: requests.Response) -> int:
    """Return how many events a page says there are."""
    found = re.search(r'id="total">([0-9,]+) event', page.text)
    assert found, page.text
    return int(found[1].replace(",", ""))


def link(page: requests.Response, words: str) -> str | None:
    """Return where the first link of these words leads; None without one."""
    for address, inner in re.findall(r'<a href="([^"]*)"[^>]*>(.*?)</a>', page.text, re.DOTALL):
        if text(inner) == words:
            return html.unescape(address)
    return None


def query(address: str) -> dict[str, list[str]]:
    """Return the parameters of an address."""
    return parse_qs(urlsplit(address).query, keep_blank_values=True)
