"""Names shown: how often and when last, and below each its parameters."""

from collections.abc import Iterator

from ingest.api import figures
from ingest.api.records import Cell, Records
from ingest.cli.query import labels
from ingest.cli.query.shown import Shown, Table
from ingest.insights import fields
from ingest.insights.answers import NamesAnswer, NameUse, Parameter

_RECORD = ("name", "count", "latest", "sampled", "parameter", "seen", "types", "values")


def show(answer: NamesAnswer) -> Shown:
    """Return what is shown."""
    heading = ("NAME", "COUNT", "LATEST", "PARAMETER", "TYPES", "VALUES")
    table = Table(heading, [*_rows(answer)], frozenset((1,)))
    return Shown(
        tables=[table] if answer.names else [],
        records=Records(_RECORD, [*_records(answer)]),
        notes=[f"{answer.events} events, of which {answer.sampled} were looked into"],
    )


def _rows(answer: NamesAnswer) -> Iterator[tuple[str, ...]]:
    for use in answer.names:
        known = (labels.short(use.name), str(use.count), figures.second(use.latest))
        first, *rest = map(_parameter, use.parameters) if use.parameters else [("", "", "")]
        yield (*known, *first)
        yield from (("", "", "", *each) for each in rest)


def _parameter(each: Parameter) -> tuple[str, str, str]:
    return labels.short(fields.write(each.path)), _types(each), _values(each)


def _types(each: Parameter) -> str:
    """Return the types, the most frequent first."""
    return ", ".join(sorted(each.types, key=lambda kind: -each.types[kind]))


def _values(each: Parameter) -> str:
    return ", ".join(f"{one.value} ({one.count})" for one in each.top)


def _records(answer: NamesAnswer) -> Iterator[tuple[Cell, ...]]:
    for use in answer.names:
        yield from (_record(use, each) for each in use.parameters or (None,))


def _record(use: NameUse, each: Parameter | None) -> tuple[Cell, ...]:
    known = (use.name, use.count, use.latest, use.sampled)
    if each is None:
        return (*known, None, None, None, None)
    return (*known, fields.write(each.path), each.count, _types(each), _values(each))
