"""One view: the page, or the tile, of one kind of question."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlencode

from multidict import MultiDict

from ingest.api.asking import KINDS, Asked
from ingest.api.parameters import Parameters
from ingest.api.records import Records
from ingest.dashboard.questions import Answered
from ingest.dashboard.routes import Visit
from ingest.insights.questions import Question
from ingest.store.app_settings import AppSettings

OF_FIGURE: Final = ("of", "group", "value", "at", "reached", "stopped")
"""Which figure of an answer is meant, on the page of who is behind it."""
OWN: Final = frozenset(("compare", "format", *OF_FIGURE))
"""Parameters of pages that the query API does not have."""

Values = Mapping[str, Any]
T = TypeVar("T")


class Wanted(NamedTuple):
    """What is asked, by whom, and with which parameters: those of an address, or kept ones."""

    visit: Visit
    query: MultiDict[str]
    question: Question
    within_s: float | None = None
    """So long it may take, if that is less than usual."""

    @property
    def where(self) -> list[str]:
        """Its filters, as they are written."""
        return self.query.getall("where", [])

    async def ask(self, question: Question) -> Answered:
        """Return an answer; raise Refused or ArchiveTrouble."""
        return await self.visit.services.questions.ask(self.visit, question, self.within_s)


class View(NamedTuple):
    """One kind of question."""

    name: str
    """Of its page and its templates, and as a board keeps it."""
    path: str
    """Of the query API."""
    show: Callable[[Wanted], Awaitable[Values]]
    """Asks, and returns what the template of answers shows. Raises Refused or ArchiveTrouble."""
    records: Callable[[Wanted], Awaitable[Records]]
    """Asks, and returns the answer for programs."""

    def read(self, app: AppSettings, query: MultiDict[str]) -> Question:
        """Return the question that parameters ask; raise Refused."""
        kind = KINDS[self.path]
        parameters = Parameters(asked_of(query), kind.parameters)
        return kind.read(Asked(app, parameters, datetime.now(UTC)))

    def address(self, query: MultiDict[str]) -> str:
        """Return where the query API answers the same."""
        written = urlencode([*asked_of(query).items()])
        return f"{self.path}?{written}" if written else self.path


def asked_of(query: MultiDict[str]) -> MultiDict[str]:
    """Return the parameters that the query API has."""
    return MultiDict((name, value) for name, value in query.items() if value and name not in OWN)


def expect(value: object, kind: type[T]) -> T:
    """Return a value that is of a kind, as questions have answers of theirs."""
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} is no {kind.__name__}")
    return value
