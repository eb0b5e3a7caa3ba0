"""Events shown, the latest first; as records they are the lines of an export."""

from ingest.api import figures
from ingest.api.records import Cell, Records
from ingest.cli.query import labels
from ingest.cli.query.shown import Shown, Table
from ingest.insights.answers import Event, EventsAnswer

_RECORD = ("id", "at", "created_at", "name", "person", "params")


def show(answer: EventsAnswer) -> Shown:
    """Return what is shown."""
    table = Table(("AT", "NAME", "PERSON", "PARAMS"), [_row(each) for each in answer.events])
    return Shown(
        tables=[table] if answer.events else [],
        records=Records(_RECORD, [_record(each) for each in answer.events]),
        notes=[_more(answer)],
    )


def _row(event: Event) -> tuple[str, ...]:
    person = figures.NONE if event.person is None else labels.short(event.person)
    return figures.second(event.at), labels.short(event.name), person, _params(event)


def _params(event: Event) -> str:
    return bytes(event.params).decode()


def _record(event: Event) -> tuple[Cell, ...]:
    whole = (event.name, event.person, _params(event))
    return (str(event.id), event.at, event.created_at, *whole)


def _more(answer: EventsAnswer) -> str:
    if answer.before is None:
        return f"{len(answer.events)} events, the latest first"
    at = answer.before.at.isoformat()
    return f"{len(answer.events)} events; those before: --before={at},{answer.before.id}"
