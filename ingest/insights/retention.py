"""Retention: how many of those who did something come back, and after how long.

- Periods are calendar ones of the question's zone (`calendar.py`), those that its range touches;
  only events in the range count. Events without a person are left out.
- Who belongs to a cohort: with `first_time` those whose first event ever that is meant by `first`
  (its name and its filter; the earliest of all events there are, by time and then by id) lies in
  that period; who had one before the range is in none. With `recurring` everybody with one in
  that period: a person may be in many cohorts.
- Who is back: with an event that is meant by `then`. In the cohort's own period (figure 0) it must
  come strictly later, by time and then by id, than the one that made the person belong to it: the
  first one ever, or of that period. In the k-th period after it any will do (`on`); with
  `on_or_after` any in that period or a later one of the range.
- A cohort has a figure for its own period and for each one after it.
"""

from collections import Counter
from datetime import datetime
from itertools import accumulate

from ingest.insights.answers import Cohort, RetentionAnswer
from ingest.insights.bounds import zone
from ingest.insights.calendar import Buckets, buckets
from ingest.insights.filters import chosen
from ingest.insights.questions import Retention
from ingest.insights.sql import Source, Values, bucket_of, within

Counts = Counter[tuple[int, int]]
"""Of a cohort, by its place, how many people were back so many periods later."""


def answer(source: Source, question: Retention, now: datetime) -> RetentionAnswer:
    """Count who is back."""
    calendar = buckets(question.start, question.end, question.interval, zone(question.timezone))
    sizes, back = _counted(source, question, calendar)
    return RetentionAnswer(
        cohorts=tuple(
            Cohort(
                start, sizes[place], _figures(question, back, place, len(calendar.starts) - place)
            )
            for place, start in enumerate(calendar.starts)
        ),
        partial_last=min(question.end, now) < calendar.edges[-1],
    )


def _figures(question: Retention, back: Counts, cohort: int, periods: int) -> tuple[int, ...]:
    on = [back[cohort, later] for later in range(periods)]
    if question.back == "on":
        return tuple(on)
    return tuple(reversed(list(accumulate(reversed(on)))))


def _counted(source: Source, question: Retention, calendar: Buckets) -> tuple[Counter[int], Counts]:
    """Return the cohorts' sizes, and who is back; with `on_or_after` only for the last time."""
    sizes: Counter[int] = Counter()
    back: Counts = Counter()
    values = source.values()
    for cohort, later, people in source.rows(_sql(source, question, calendar, values), values):
        if later is None:
            sizes[cohort] = people
        else:
            back[cohort, later] = people
    return sizes, back


def _sql(source: Source, question: Retention, calendar: Buckets, values: Values) -> str:
    marked = _marked(source, question, calendar, values)
    return f"""WITH periods AS MATERIALIZED (
            SELECT person, period, count(*) AS events,
                min(t) FILTER (is_first) AS began, max(t) FILTER (is_then) AS last
            FROM ({marked}) GROUP BY person, period),
        tied AS (
            SELECT person, period, min(id) FILTER (is_first) < max(id) FILTER (is_then) AS is_later
            FROM ({marked}) SEMI JOIN (
                SELECT person, period, began AS t FROM periods WHERE began = last AND events > 1
            ) USING (person, period, t) GROUP BY person, period),
        cohorts AS MATERIALIZED (
            SELECT person, {_cohort(question)}
            FROM periods LEFT JOIN tied USING (person, period)
            WHERE began IS NOT NULL GROUP BY {_one(question)} HAVING cohort >= 0)
        SELECT cohort, NULL, count(*) FROM cohorts GROUP BY cohort
        UNION ALL SELECT cohort, later, count(*) FROM ({_back(question)}) GROUP BY cohort, later"""


def _marked(source: Source, question: Retention, calendar: Buckets, values: Values) -> str:
    """Return a SELECT of the events that are meant; those before the range are in period -1."""
    first = " AND ".join(chosen(question.first, values)) or "true"
    then = " AND ".join(chosen(question.then, values)) or "true"
    bucket = bucket_of(calendar, values)
    period = f'CASE WHEN "at" < {values.bind(question.start)} THEN -1 ELSE {bucket} END'
    columns = {"person": "person", "period": period, "t": 'epoch_us("at")', "id": "id"}
    start = None if question.kind == "first_time" else question.start
    return source.leaves(
        columns | {"is_first": f"({first})", "is_then": f"({then})"},
        [*within(start, question.end, values), "person IS NOT NULL", f"(({first}) OR ({then}))"],
    )


def _one(question: Retention) -> str:
    """Return what there is one of in a cohort for."""
    return "person" if question.kind == "first_time" else "person, period"


def _cohort(question: Retention) -> str:
    """Return a person's cohort, and whether they were back within its period."""
    is_back = "coalesce(last > began OR is_later, false)"
    if question.kind == "first_time":
        return f"arg_min(period, began) AS cohort, arg_min({is_back}, began) AS is_back"
    return f"period AS cohort, any_value({is_back}) AS is_back"


def _back(question: Retention) -> str:
    """Return who was back how much later."""
    rows = """SELECT cohorts.person, cohort, period - cohort AS later
        FROM cohorts JOIN periods USING (person)
        WHERE last IS NOT NULL AND (period > cohort OR (period = cohort AND is_back))"""
    if question.back == "on":
        return rows
    return f"SELECT person, cohort, max(later) AS later FROM ({rows}) GROUP BY person, cohort"
