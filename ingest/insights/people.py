"""The people behind a figure: as many as it says, because what makes it chooses them.

- Of a trend: the distinct persons of the events that are meant, in the range and the group. That of
  a bucket is that bucket's range. A group is known by its label exactly, as the breakdown makes
  them; a filter's `eq` would take `5` and `5.0` for one.
- Of a funnel: those who came to a step (`reached`), or to it and no further (`stopped`), as the
  funnel counts them: by the try that got furthest.
- Listed are those with most events, or most steps, and of equally many those who were there last.
"""

from typing import Any, Final

from ingest.insights import funnels, groups
from ingest.insights.answers import PeopleAnswer, Person
from ingest.insights.calendar import moment
from ingest.insights.filters import chosen
from ingest.insights.questions import FunnelPeople, People
from ingest.insights.sql import Source, text_of, within

_LISTED: Final = "ORDER BY person IS NULL, n DESC, latest DESC, person"


def answer(source: Source, question: People | FunnelPeople) -> PeopleAnswer:
    """Return the people behind a figure."""
    if isinstance(question, People):
        return _of_trend(source, question)
    return _of_funnel(source, question)


def _of_trend(source: Source, question: People) -> PeopleAnswer:
    values = source.values()
    where = [
        *within(question.start, question.end, values),
        *chosen(question.events, values),
    ]
    if question.breakdown is not None and question.group is not None:
        where.append(groups.condition(text_of(question.breakdown, values), question.group, values))
    leaves = source.leaves({"person": "person", "t": 'epoch_us("at")'}, where)
    sql = f"""WITH found AS (
            SELECT person, count(*) AS n, max(t) AS latest FROM ({leaves}) GROUP BY person)
        SELECT person, n, latest, count(person) OVER (), (sum(n) OVER ())::BIGINT
        FROM found {_LISTED} LIMIT {values.bind(question.limit)}"""
    rows = source.rows(sql, values)
    return PeopleAnswer(_people(rows), *(rows[0][3:5] if rows else (0, 0)))


def _of_funnel(source: Source, question: FunnelPeople) -> PeopleAnswer:
    values = source.values()
    funnel, step = question.funnel, values.bind(question.step)
    counted = funnels.counted(source, funnel, values, "begun.person, begun.t AS began,")
    where = [f"level >= {step}" if question.way == "reached" else f"level = {step}"]
    if funnel.breakdown is not None and question.group is not None:
        where.append(groups.condition("label", question.group, values))
    times = " ".join(f"WHEN {n} THEN t_{n}" for n in range(2, len(funnel.steps) + 1))
    sql = f"""WITH {counted}
        SELECT person, level AS n, CASE level {times} ELSE began END AS latest,
            count(*) OVER ()
        FROM counted WHERE {" AND ".join(where)} {_LISTED} LIMIT {values.bind(question.limit)}"""
    rows = source.rows(sql, values)
    return PeopleAnswer(_people(rows), rows[0][3] if rows else 0, None)


def _people(rows: list[tuple[Any, ...]]) -> tuple[Person, ...]:
    return tuple(
        Person(person, n, moment(latest)) for person, n, latest, *_ in rows if person is not None
    )
