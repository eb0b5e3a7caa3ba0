"""What is asked: options as they were given, made the parameters of the query API.

Whoever answers, the same functions read them: those of a question that is asked directly, here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

from ingest.api import asking
from ingest.api.asking import KINDS, PERSON_PARAMETERS, Asked, Kind
from ingest.api.parameters import Parameters
from ingest.api.refusals import Code
from ingest.cli.query import shorthand
from ingest.cli.table import printable
from ingest.errors import StartupError
from ingest.insights.questions import Question
from ingest.store.app_settings import AppSettings

Given = Mapping[str, str | Sequence[str] | None]
"""Options by their names, which are those of the parameters."""

_IN_FULL: Final[Mapping[str, Callable[[str], str]]] = {
    "breakdown": shorthand.field,
    "measure": shorthand.measure,
    "where": shorthand.where,
}
_NAMED: Final = re.compile(r"([a-z]+): ")
_FITTING: Final = re.compile(r"\bfrom=(?=[0-9])")


class _Query(dict[str, list[str]]):
    """Parameters as `Parameters` reads them."""

    def getall(self, key: str, default: list[str]) -> list[str]:
        """Return all values of a name."""
        return self.get(key, default)


class Inquiry(NamedTuple):
    """One question, before anybody has read it."""

    path: str
    """Of the query API, as it stands in an address."""
    kind: Kind
    parameters: Mapping[str, list[str]]

    @property
    def address(self) -> str:
        """Path and parameters."""
        query = urlencode(self.parameters, doseq=True, quote_via=quote)
        return f"{self.path}?{query}" if query else self.path

    def question(self, app: AppSettings) -> Question:
        """Return the question to an app's events; raise Refused."""
        known = Parameters(_Query(self.parameters), self.kind.parameters)
        return self.kind.read(Asked(app, known, datetime.now(UTC)))

    def refused(self, code: str, message: str) -> StartupError:
        """Return the API's refusal as a command tells it: by options, not by parameters."""
        named = _NAMED.match(message)
        if code == Code.INVALID_PARAMETER and named and named[1] in self.kind.parameters:
            message = f"--{message}"
        elif code == Code.TOO_DEAR:
            message = _FITTING.sub("--from=", message)
        return StartupError(printable(message))


def of(path: str, given: Given) -> Inquiry:
    """Return what is asked of one of `KINDS`."""
    return Inquiry(path, KINDS[path], _parameters(given))


def of_person(person: str, given: Given) -> Inquiry:
    """Return what is asked about one person."""
    kind = Kind(PERSON_PARAMETERS, partial(asking.person_events, person=person))
    return Inquiry(f"/v1/people/{quote(person, safe='')}/events", kind, _parameters(given))


def _parameters(given: Given) -> dict[str, list[str]]:
    """Return the values of all that is given."""
    return {
        name: [_IN_FULL.get(name, str)(value) for value in values]
        for name, option in given.items()
        if (values := [option] if isinstance(option, str) else option)
    }
