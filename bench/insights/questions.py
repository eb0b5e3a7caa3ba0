"""Every kind of question: as ours and in SQL, and how long ours may take."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from bench.insights import events, rows, statements
from bench.insights.events import Period
from bench.insights.figures import Figures
from bench.targets import Bound
from ingest.insights import menu
from ingest.insights.questions import (
    Funnel,
    Measure,
    Names,
    PersonEvents,
    Question,
    Retention,
    Selection,
    Trends,
)

_ANY: Final = Selection()
_WEEK: Final = timedelta(days=7)
_WINDOW: Final = timedelta(days=1)
_CLOCKS: Final = timedelta(days=1)
_EVENTS_A_RANK: Final = 2_000
"""Whoever comes first in a list as long as the events divided by this has about 100 of them, a
page: all that there is has to be looked into for these."""


class Statement(NamedTuple):
    """What Postgres is asked."""

    sql: str
    arguments: tuple[Any, ...] = ()
    """Behind the app."""


class Kind(NamedTuple):
    """One kind of question."""

    name: str
    question: Question
    statements: tuple[Statement, ...]
    read: Callable[..., Figures]
    """Makes figures of the rows of all statements."""
    bound_s: Bound | None
    """How long ours may take, at 20 million events."""


def all_kinds(period: Period, count: int) -> Sequence[Kind]:
    """Return what is asked of so many events of a period."""
    start, end = period
    somebody = events.person(count // _EVENTS_A_RANK)
    arguments = (start, end, start - _CLOCKS)
    by_day = Trends((_ANY,), start, end, top=rows.TOP)
    bound = Bound("at most", 0.5)
    return (
        Kind(
            "names by day",
            replace(by_day, breakdown=("name",)),
            (Statement(statements.NAMES_BY_DAY, arguments),),
            rows.of_groups,
            bound,
        ),
        Kind(
            "a parameter's values by day",
            replace(by_day, breakdown=("params", "page")),
            (Statement(statements.PAGES_BY_DAY, arguments),),
            rows.of_groups,
            bound,
        ),
        Kind(
            "people by day",
            replace(by_day, measure=Measure("people")),
            (Statement(statements.PEOPLE_BY_DAY, arguments),),
            rows.of_buckets,
            None,
        ),
        Kind(
            "95th percentile by day",
            replace(
                by_day,
                events=(Selection("purchase"),),
                measure=Measure("percentile", ("params", "amount"), 0.95),
            ),
            (Statement(statements.AMOUNTS_BY_DAY, arguments),),
            rows.of_buckets,
            None,
        ),
        _funnel(end - _WINDOW, bound),
        _retention(period),
        Kind(
            "one person's events",
            PersonEvents(somebody, limit=rows.PAGE),
            (Statement(statements.TIMELINE, (somebody,)),),
            rows.of_timeline,
            bound,
        ),
        Kind(
            "names and parameters",
            Names(top=rows.TOP),
            (Statement(statements.NAMES), Statement(_parameters(count))),
            rows.of_menu,
            Bound("at most", 0.05),
        ),
    )


def _parameters(count: int) -> str:
    """Return the statement for the parameters of the same events that ours looks into."""
    is_of_tail = events.tail_of(count) >= menu.SAMPLE_MAX
    return statements.PARAMETERS_OF_TAIL if is_of_tail else statements.PARAMETERS


def _retention(period: Period) -> Kind:
    return Kind(
        "retention by week",
        Retention(_ANY, _ANY, *period),
        (Statement(statements.RETENTION, period),),
        rows.of_retention,
        Bound("at most", 4),
    )


def _funnel(end: datetime, bound: Bound) -> Kind:
    start = end - _WEEK
    arguments = (start, end, start - _CLOCKS, end + _WINDOW, _WINDOW)
    steps = tuple(map(Selection, ("page_view", "user_signup", "purchase")))
    return Kind(
        "funnel of three steps, a week",
        Funnel(steps, start, end, _WINDOW),
        (Statement(statements.FUNNEL, arguments),),
        rows.of_funnel,
        bound,
    )
