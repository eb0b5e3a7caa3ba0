"""The way in: a question about one app's events is checked, and answered.

Whatever it takes, `connection.interrupt()` from another thread ends it with DuckDB's
InterruptException. All values travel as bound parameters.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import assert_never

import duckdb

from ingest.insights import bounds, funnels, listing, menu, retention, trends
from ingest.insights.answers import Answer
from ingest.insights.menu import Known
from ingest.insights.questions import (
    Events,
    Funnel,
    Names,
    PersonEvents,
    Question,
    Retention,
    Trends,
)
from ingest.insights.sql import Source


def answer(
    connection: duckdb.DuckDBPyConnection,
    sources: Sequence[str],
    question: Question,
    now: datetime,
    read_names: Callable[[], Known] | None = None,
) -> Answer:
    """Answer a question about the events of all sources (`sql.py`), as of `now`.

    `read_names` is asked how often names are where that is known already.

    Raises BadQuestion for one that has no answer, TooDear with a range that would have one.
    """
    bounds.check(question)
    source = Source(connection, tuple(sources))
    match question:
        case Trends():
            return trends.answer(source, question, now)
        case Funnel():
            return funnels.answer(source, question, now)
        case Retention():
            return retention.answer(source, question, now)
        case Events():
            return listing.answer(source, question)
        case PersonEvents():
            return listing.answer(source, listing.of_person(question))
        case Names():
            known = read_names() if read_names else ((), source.parts)
            return menu.answer(source, question, known)
        case _:
            assert_never(question)
