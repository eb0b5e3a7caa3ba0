"""The menu: which names there are, how often, and with which parameters.

Names are counted over all events there are. Parameters are those of the latest events only, of
`SAMPLE_MAX` at most, and of those that have arrived last where there are as many of these: in how
many of them, with which types and values. A parameter within an object has a path of its own, and
so has the object; what is in a list has none.

How often a name is in a file that never changes may be known already: then only what comes beside
is counted.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

from ingest.insights import listing
from ingest.insights.answers import NamesAnswer, NameUse, Parameter, ValueCount
from ingest.insights.bounds import PATH_MAX
from ingest.insights.calendar import moment
from ingest.insights.questions import Names, Path
from ingest.insights.sql import Source, Values
from ingest.insights.texts import text

SAMPLE_MAX: Final = 1_000
_SAMPLE_BYTES_MAX: Final = 16 * 1024
"""Longer parameters are no part of it."""
PARAMETERS_MAX: Final = 200
"""Of one name: the most frequent ones are listed."""
VALUE_CHARS_MAX: Final = 100
"""Longer texts are no menu's."""

_TYPES: Final[dict[type, str]] = {
    str: "text",
    bool: "boolean",
    int: "number",
    float: "number",
    list: "list",
    dict: "object",
    type(None): "null",
}


def answer(source: Source, question: Names) -> NamesAnswer:
    """Count the names, and look into the latest events."""
    sample: defaultdict[str, list[str]] = defaultdict(list)
    for name, params in _sample(source):
        sample[name].append(params)
    uses = [
        NameUse(
            name, count, moment(latest), len(sample[name]), parameters(sample[name], question.top)
        )
        for name, (count, latest) in _counted(source).items()
    ]
    names = tuple(sorted(uses, key=lambda use: (-use.count, use.name)))
    return NamesAnswer(names, sum(use.count for use in names), sum(use.sampled for use in names))


def _sample(source: Source) -> Sequence[tuple[str, str]]:
    """Return the names and the parameters of the latest events, as JSON."""
    bounds = SAMPLE_MAX, _SAMPLE_BYTES_MAX
    arrived = source.known.latest(*bounds) if source.known else ()
    return arrived if len(arrived) == SAMPLE_MAX else listing.sample(source, *bounds)


def _counted(source: Source) -> dict[str, tuple[int, int]]:
    """Return how often each name is, and when last."""
    known, sources = source.known.names() if source.known else ((), source.parts)
    others = Source(source.connection, tuple(sources))
    counts = others.leaves({"name": "name", "at": '"at"'}, [])
    sql = f'SELECT name, count(*), epoch_us(max("at")) FROM ({counts}) GROUP BY name'
    found: dict[str, tuple[int, int]] = {}
    for name, count, latest in chain(known, others.rows(sql, Values())):
        before = found.get(name, (0, latest))
        found[name] = before[0] + count, max(before[1], latest)
    return found


def parameters(texts: Iterable[str | bytes], top: int) -> tuple[Parameter, ...]:
    """Return what there is in some parameters, as JSON, with so many values of each."""
    types: defaultdict[Path, Counter[str]] = defaultdict(Counter)
    tops: defaultdict[Path, Counter[str]] = defaultdict(Counter)
    for each in texts:
        for path, value in _values(("params",), json.loads(each)):
            types[path][_TYPES[type(value)]] += 1
            if isinstance(value, str | int | float) and len(text(value)) <= VALUE_CHARS_MAX:
                tops[path][text(value)] += 1
    return _listed(types, tops, top)


def _listed(
    types: dict[Path, Counter[str]], tops: dict[Path, Counter[str]], top: int
) -> tuple[Parameter, ...]:
    found = [
        Parameter(path, seen.total(), dict(seen), _top(tops.get(path, Counter()), top))
        for path, seen in types.items()
    ]
    found.sort(key=lambda parameter: (-parameter.count, parameter.path))
    return tuple(found[:PARAMETERS_MAX])


def _top(counts: Counter[str], top: int) -> tuple[ValueCount, ...]:
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(ValueCount(value, count) for value, count in order[:top])


def _values(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:  # noqa: ANN401 - any JSON
    """Yield what is in an object, and in the objects within it, with the paths."""
    if isinstance(value, dict) and len(path) <= PATH_MAX:
        for key, inner in value.items():
            yield (*path, key), inner
            yield from _values((*path, key), inner)
