"""What is compared: each answer as a dictionary of its figures, whoever gave it.

What is 0 or has no value is left out, as SQL has no row for it.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, assert_never

import msgspec

from ingest.insights.answers import (
    Answer,
    EventsAnswer,
    FunnelAnswer,
    NamesAnswer,
    PeopleAnswer,
    RetentionAnswer,
    TrendsAnswer,
)

Figures = dict[tuple[Any, ...], Any]

_SHOWN: Final = 3
_TOLERANCE: Final = 1e-9
"""Of figures with a fraction: sums and means are added up in another order."""


def of(answer: Answer) -> Figures:
    """Return the figures of an answer of ours."""
    match answer:
        case TrendsAnswer():
            return _of_trends(answer)
        case FunnelAnswer():
            return _of_funnel(answer)
        case RetentionAnswer():
            return _of_retention(answer)
        case EventsAnswer():
            return _of_events(answer)
        case NamesAnswer():
            return _of_names(answer)
        case PeopleAnswer():
            return {(each.id,): each.count for each in answer.people}
        case _:
            assert_never(answer)


def differences(sql: Figures, ours: Figures) -> list[str]:
    """Return where two answers differ, a line for each of the first places; empty if nowhere."""
    places = [
        place
        for place in dict.fromkeys((*sql, *ours))
        if not _are_equal(sql.get(place), ours.get(place))
    ]
    found = [f"{_shown(at)}: SQL {sql.get(at)!r}, ours {ours.get(at)!r}" for at in places[:_SHOWN]]
    if len(places) > _SHOWN:
        found.append(f"and at {len(places) - _SHOWN} more of {len({*sql, *ours})} places")
    return found


def without_nothing(figures: Mapping[tuple[Any, ...], Any]) -> Figures:
    """Return the figures that say something."""
    return {place: value for place, value in figures.items() if value}


def _are_equal(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=_TOLERANCE)
    return one == other


def _shown(place: tuple[Any, ...]) -> str:
    return " ".join(str(part) for part in place)


def _of_trends(answer: TrendsAnswer) -> Figures:
    found: Figures = {}
    for series in answer.series:
        group = series.group, series.value
        found[*group, None] = series.total
        found |= {
            (*group, bucket): value
            for bucket, value in zip(answer.buckets, series.values, strict=True)
        }
    return without_nothing(found)


def _of_funnel(answer: FunnelAnswer) -> Figures:
    (everybody,) = answer.groups
    steps = list(enumerate(everybody.steps, 1))
    people = {("people", number): step.people for number, step in steps}
    return without_nothing(people | {("median_s", n): step.median_s for n, step in steps})


def _of_retention(answer: RetentionAnswer) -> Figures:
    found: Figures = {}
    for cohort in answer.cohorts:
        found["people", cohort.start] = cohort.people
        found |= {("back", cohort.start, later): back for later, back in enumerate(cohort.back)}
    return without_nothing(found)


def _of_events(answer: EventsAnswer) -> Figures:
    found: Figures = {
        ("event", number): (each.id, each.at, each.created_at, each.name, each.person)
        for number, each in enumerate(answer.events)
    }
    params = {
        ("params", number): msgspec.json.decode(each.params)
        for number, each in enumerate(answer.events)
    }
    return without_nothing(found | params | {("goes on",): answer.before is not None})


def _of_names(answer: NamesAnswer) -> Figures:
    found: Figures = {}
    for use in answer.names:
        found[use.name, "count"] = use.count
        found[use.name, "latest"] = use.latest
        found[use.name, "sampled"] = use.sampled
        for parameter in use.parameters:
            path = ".".join(parameter.path)
            found[use.name, path, "types"] = parameter.types
            found[use.name, path, "top"] = [(one.value, one.count) for one in parameter.top]
    return without_nothing(found)
