"""The rows that the SQL statements return, as the figures of the answers that they are."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec

from bench.insights.figures import Figures, without_nothing

Rows = Sequence[Sequence[Any]]

TOP: Final = 10
PAGE: Final = 100
_WEEK: Final = timedelta(days=7)
_TYPES: Final = {"string": "text", "array": "list"}


def of_groups(counted: Rows) -> Figures:
    """Return the top groups of (label, bucket, count), those without a label, and the rest."""
    totals: Counter[str] = Counter()
    for named, _, count in counted:
        if named is not None:
            totals[named] += count
    top = {label for label, _ in sorted(totals.items(), key=lambda one: (-one[1], one[0]))[:TOP]}
    found: Counter[tuple[Any, ...]] = Counter()
    for label, bucket, count in counted:
        kind = "none" if label is None else "value" if label in top else "other"
        group = kind, label if label in top else None
        found[*group, bucket] += count
        found[*group, None] += count
    return dict(found)


def of_buckets(measured: Rows) -> Figures:
    """Return a measure of all events of (bucket, value); no bucket is the whole range."""
    return without_nothing({("all", None, bucket): value for bucket, value in measured})


def of_funnel(measured: Rows) -> Figures:
    """Return the people of each step, and how long the second and the third one took."""
    ((first, second, third, second_s, third_s),) = measured
    people = {("people", 1): first, ("people", 2): second, ("people", 3): third}
    return without_nothing(people | {("median_s", 2): second_s, ("median_s", 3): third_s})


def of_retention(counted: Rows) -> Figures:
    """Return cohorts of (cohort, week, people, those of several events)."""
    found: Figures = {}
    for cohort, week, people, several in counted:
        later = (week - cohort) // _WEEK
        if not later:
            found["people", cohort] = people
        found["back", cohort, later] = people if later else several
    return without_nothing(found)


def of_timeline(events: Rows) -> Figures:
    """Return a page of events, the latest first."""
    page = list(enumerate(events[:PAGE]))
    found: Figures = {("event", number): tuple(each[:5]) for number, each in page}
    params = {("params", number): msgspec.json.decode(each[5]) for number, each in page}
    return without_nothing(found | params | {("goes on",): len(events) > PAGE})


def of_menu(names: Rows, parameters: Rows) -> Figures:
    """Return the names, and the parameters of the latest events."""
    found: Figures = {}
    for name, count, latest in names:
        found[name, "count"], found[name, "latest"] = count, latest
    types: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    tops: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for name, path, kind, value, count in parameters:
        if path is None:
            found[name, "sampled"] = count
            continue
        types[name, path][_TYPES.get(str(kind), str(kind))] += count
        if kind in ("string", "number", "boolean"):
            tops[name, path][value] += count
    for name, path in types:
        found[name, path, "types"] = dict(types[name, path])
        top = sorted(tops[name, path].items(), key=lambda one: (-one[1], one[0]))
        found[name, path, "top"] = top[:TOP]
    return without_nothing(found)
