"""The way in: a question about one app's events is checked, and answered.

Whatever it takes, `connection.interrupt()` from another thread ends it with DuckDB's
InterruptException. All values travel as bound parameters.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

import duckdb

from ingest.insights import (
    bounds,
    funnels,
    listing,
    menu,
    people,
    retention,
    trends,
)
from ingest.insights.answers import Answer
from ingest.insights.known import Known
from ingest.insights.questions import (
    Events,
    Funnel,
    FunnelPeople,
    Names,
    OneEvent,
    People,
    PersonEvents,
    Question,
    Retention,
    Trends,
)
from ingest.insights.sql import source_of


def answer(
    connection: duckdb.DuckDBPyConnection,
    sources: Sequence[str],
    question: Question,
    now: datetime,
    known: Known | None = None,
    links: str | None = None,
) -> Answer:
    """Answer a question about the events of all sources (`sql.py`), as of `now`.

    What is `known` of them is not looked for. `links` is a relation of those (`joined.py`).

    Raises BadQuestion for one that has no answer, TooDear with a range that would have one.
    """
    bounds.check(question)
    source = source_of(connection, sources, known, links)
    match question:
        case Trends():
            return trends.answer(source, question, now)
        case Funnel():
            return funnels.answer(source, question, now)
        case Retention():
            return retention.answer(source, question, now)
        case Events() | PersonEvents() | OneEvent():
            return listing.answer(source, question)
        case People() | FunnelPeople():
            return people.answer(source, question)
        case Names():
            return menu.answer(source, question)
        case _:
            assert_never(question)
