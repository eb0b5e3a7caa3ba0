"""Funnels: how many people get from step to step, in order and in time.

- Events are in the order of their time `at`, and of their id where times are equal. A step comes
  strictly later than the step before it; one event is one step at most.
- A first step lies in the question's range. The others follow within the window, counted from the
  first step and its end included: so they may lie behind the range.
- Other events in between don't matter. A person may try as often as they like, and is counted once,
  by the attempt that got furthest: step k was reached if some first step of theirs has the steps 2
  to k after it, in order and within the window. Events without a person are left out.
- Of attempts that got equally far the one counts that came to its last step first. Seen from its
  end, each step before is the latest one that there was before the next: that says how long it
  took, and with a breakdown which first step's value the person goes by. People who came no further
  than the first step go by their earliest one. So each person is in one group, and groups add up.
- `median_s` is the median over those who reached a step of the time from the step before.

The latest earlier step is all that has to be known of a step: whoever has a later first step has
more of the window left. So each step is one ASOF join with the one before. All events are numbered
by person, and then in order: the latest earlier step is somebody else's only where there is none.
A first step before another one with no second step between is the latest one before nothing, and
is left out of the join. (1.6 M events of 8 days, of CPU: 0.57 s, with all first steps 0.63 s;
joined by person and order 0.95 s, sorted lists 0.79 s without any step. Ids, which only equal times
need, take 0.15 s; to read those of equal times alone, in a second look, takes 0.3 s.)
"""

from datetime import datetime
from typing import Any, Final

from ingest.insights.answers import FunnelAnswer, FunnelGroup, FunnelStep
from ingest.insights.calendar import microseconds
from ingest.insights.filters import chosen
from ingest.insights.groups import kind, place_of
from ingest.insights.questions import Funnel
from ingest.insights.sql import Source, Values, text_of, within

_SECOND: Final = 1_000_000


def answer(source: Source, question: Funnel, now: datetime) -> FunnelAnswer:
    """Follow everybody through the steps."""
    values = source.values()
    rows = source.rows(_sql(source, question, values), values)
    return FunnelAnswer(
        groups=tuple(_group(row) for row in sorted(rows, key=_in_order)),
        partial=question.end + question.window > now,
    )


def _in_order(row: tuple[Any, ...]) -> tuple[bool, bool, int]:
    place = row[0]
    return place is not None, place is not None and place < 0, abs(place or 0)


def _group(row: tuple[Any, ...]) -> FunnelGroup:
    place, label, *figures = row
    count = len(figures) // 2
    group = "all" if place is None else kind(place)
    people, medians = figures[:count], figures[count:]
    return FunnelGroup(
        group=group,
        value=label if group == "value" else None,
        steps=tuple(FunnelStep(*step) for step in zip(people, medians, strict=True)),
        conversion=people[-1] / people[0] if people[0] else None,
    )


def _sql(source: Source, question: Funnel, values: Values) -> str:
    return f"WITH {counted(source, question, values)}, {_answer(question, values)}"


def counted(source: Source, question: Funnel, values: Values, also: str = "") -> str:
    """Return the parts of a WITH of which the last, `counted`, has a row for each person.

    Its columns are the step that they came to, the times of the steps, their label, and others
    `also`: of `begun`, who they are and when they began.
    """
    steps = range(2, len(question.steps) + 1)
    window = microseconds(question.end + question.window) - microseconds(question.end)
    first = "NULL" if question.breakdown is None else "arg_min_null(label, n)"
    marked = _marked(source, question, values)
    return f"""marked AS MATERIALIZED (
            SELECT * EXCLUDE (id), row_number() OVER in_order AS n,
                lead(is_1) OVER in_order AS next_is_1, lead(is_2) OVER in_order AS next_is_2
            FROM ({marked}) WINDOW in_order AS (ORDER BY person, t, id)),
        step_1 AS (
            SELECT person, n, label, t AS t_1 FROM marked
            WHERE is_1 AND (next_is_1 IS NOT TRUE OR next_is_2)),
        {", ".join(_step(step, window) for step in steps)},
        furthest AS (SELECT DISTINCT ON (person) * FROM ({_attempts(len(question.steps))})
            ORDER BY person, level DESC, n),
        begun AS (
            SELECT person, {first} AS label, min(t) AS t FROM marked WHERE is_1 GROUP BY person),
        counted AS MATERIALIZED (
            SELECT {also} coalesce(level, 1) AS level, furthest.* EXCLUDE (person, level, label, n),
                CASE WHEN level IS NULL THEN begun.label ELSE furthest.label END AS label
            FROM begun LEFT JOIN furthest USING (person))"""


def _marked(source: Source, question: Funnel, values: Values) -> str:
    """Return a SELECT of the events that are some step, with which ones."""
    steps = [" AND ".join(chosen(step, values)) or "true" for step in question.steps]
    flags = {f"is_{number}": f"({step})" for number, step in enumerate(steps, start=1)}
    flags["is_1"] += f' AND "at" < {values.bind(question.end)}'
    breakdown = question.breakdown
    label = "NULL::BOOLEAN" if breakdown is None else text_of(breakdown, values)
    columns = {"person": "person", "t": 'epoch_us("at")', "id": "id", "label": label} | flags
    where = within(question.start, question.end + question.window, values)
    some = " OR ".join(f"({step})" for step in steps)
    return source.leaves(columns, [*where, "person IS NOT NULL", f"({some})"])


def _step(step: int, window: int) -> str:
    """Return the events that are a step of an attempt, with the times of the steps before."""
    times = ", ".join(f"earlier.t_{number}" for number in range(1, step))
    return f"""step_{step} AS (
        SELECT later.person, later.n, earlier.label, {times}, later.t AS t_{step}
        FROM (SELECT person, n, t FROM marked WHERE is_{step}) AS later
        ASOF JOIN step_{step - 1} AS earlier ON later.n > earlier.n
        WHERE earlier.person = later.person AND later.t - earlier.t_1 <= {window})"""


def _attempts(steps: int) -> str:
    """Return a SELECT of all attempts that got to the second step, and further."""
    return " UNION ALL BY NAME ".join(
        f"SELECT {step} AS level, * FROM step_{step}" for step in range(2, steps + 1)
    )


def _answer(question: Funnel, values: Values) -> str:
    figures = _figures(len(question.steps))
    if question.breakdown is None:
        return f"everybody AS (FROM counted) SELECT NULL, NULL, {figures} FROM everybody"
    return f"""top AS (
            SELECT label AS top_label, row_number() OVER (ORDER BY count(*) DESC, label) - 1
                AS top_place
            FROM counted WHERE label IS NOT NULL GROUP BY label
            ORDER BY top_place LIMIT {values.bind(question.top)}),
        placed AS (
            SELECT {place_of("label")} AS place, counted.*
            FROM counted LEFT JOIN top ON top_label = label)
        SELECT place, min(label), {figures} FROM placed GROUP BY GROUPING SETS ((place), ())"""


def _figures(steps: int) -> str:
    """Return the people of each step, and then the median of the seconds that each took."""
    people = [f"count(*) FILTER (level >= {step})" for step in range(1, steps + 1)]
    seconds = [
        f"median(t_{step} - t_{step - 1}) FILTER (level >= {step}) / {_SECOND}"
        for step in range(2, steps + 1)
    ]
    return ", ".join([*people, "NULL", *seconds])
