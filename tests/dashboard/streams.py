"""A stream of server-sent events, read as it comes."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests

from tests.dashboard.visitor import Visitor

Values = dict[str, Any]


class Stream:
    """One that is open; whatever waits for something of it fails when it ends."""

    def __init__(self, answer: requests.Response) -> None:
        self._lines = answer.iter_lines(chunk_size=1)

    def messages(self) -> Iterator[tuple[str, Values]]:
        """Yield kind and values of each message until the stream ends."""
        kind = ""
        for line in self._lines:
            field, _, value = line.decode().partition(": ")
            if field == "event":
                kind = value
            elif field == "data":
                yield kind, json.loads(value)

    def until(self, kind: str, is_it: Callable[[Values], object] = bool) -> Values:
        """Return the first message of a kind that is it; fail if the stream ends before."""
        for found, values in self.messages():
            if found == kind and (is_it(values) or not values):
                return values
        raise AssertionError(f"the stream has ended without {kind}")

    def event(self, name: str) -> Values:
        """Return the next event of a name."""
        return self.one("events", lambda each: each["name"] == name)

    def events_until(self, name: str) -> list[Values]:
        """Return all events that come up to one of a name."""
        found: list[Values] = []
        while not any(each["name"] == name for each in found):
            found += self.until("news", lambda news: news["events"])["events"]
        return found

    def refusal(self, code: str) -> Values:
        """Return the next refusal of a code."""
        return self.one("refused", lambda each: each["code"] == code)

    def one(self, kind: str, is_it: Callable[[Values], bool]) -> Values:
        """Return the next event or refusal that is it."""
        values = self.until("news", lambda news: any(map(is_it, news[kind])))
        found: Values = next(filter(is_it, values[kind]))
        return found


@contextmanager
def watching(visitor: Visitor, path: str) -> Iterator[Stream]:
    """Have somebody watch what is at the address of a page."""
    page, _, query = path.partition("?")
    with visitor.open(f"{page}/stream{'?' if query else ''}{query}") as answer:
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        stream = Stream(answer)
        stream.until("news")
        yield stream
