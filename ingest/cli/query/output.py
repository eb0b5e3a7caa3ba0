"""An answer printed: as a table, and for people who look at it as a chart; as CSV; as JSON.

What clients have sent may hold what a terminal acts on: a terminal gets none of it, whatever the
form; a file or a pipe gets it as it is.
"""

import json
import shutil
import sys
from collections.abc import Iterable

import click
import msgspec

from ingest.api import figures
from ingest.cli.query import events, funnel, names, reply, retention, trends
from ingest.cli.query.reply import Reply
from ingest.cli.query.shown import Shown
from ingest.cli.table import printable
from ingest.errors import StartupError
from ingest.insights.answers import (
    EventsAnswer,
    FunnelAnswer,
    NamesAnswer,
    RetentionAnswer,
    TrendsAnswer,
)
from ingest.insights.questions import Funnel, Retention, Trends


def print_json(body: bytes) -> None:
    """Print an answer as it was sent, on one line; on a terminal indented, to be read."""
    reply.read(body)
    if sys.stdout.isatty():
        text = msgspec.json.format(body.decode(), indent=2)
        _echo("".join(map(_escaped, line)) for line in text.split("\n"))
    else:
        click.echo(body)


def print_csv(body: bytes) -> None:
    """Print an answer's records; what is to be said of them goes to standard error."""
    found = reply.read(body)
    shown = _shown(found)
    click.echo(shown.records.csv(printable if sys.stdout.isatty() else str).encode(), nl=False)
    _tell(found, shown)


def print_table(body: bytes) -> None:
    """Print an answer's tables, and on a terminal the chart of trends."""
    found = reply.read(body)
    shown = _shown(found)
    for table in shown.tables:
        _echo(table.lines(_width()))
    if sys.stdout.isatty() and _can_draw():
        _echo(shown.chart)
    _tell(found, shown)


def _shown(found: Reply) -> Shown:
    """Raise StartupError for an answer to something else than what was asked."""
    match found.question, found.data:
        case Trends() as question, TrendsAnswer() as answer:
            return trends.show(question, answer, found.as_of, _width())
        case Funnel() as question, FunnelAnswer() as answer:
            return funnel.show(question, answer)
        case Retention() as question, RetentionAnswer() as answer:
            return retention.show(question, answer, found.as_of, _width())
        case _, EventsAnswer() as answer:
            return events.show(answer)
        case _, NamesAnswer() as answer:
            return names.show(answer)
    raise StartupError("what was answered is the answer to another question")


def _width() -> int:
    """Return the terminal's width, or what COLUMNS says; 80 of what has none."""
    return shutil.get_terminal_size().columns


def _tell(found: Reply, shown: Shown) -> None:
    click.echo(f"As of {figures.second(found.as_of)}: {'; '.join(shown.notes)}", err=True)


def _echo(lines: Iterable[str]) -> None:
    """Print lines; what the output's encoding lacks is shown by its number."""
    for line in lines:
        click.echo(line.encode(_encoding(), "backslashreplace"))


def _encoding() -> str:
    return sys.stdout.encoding or "utf-8"


def _can_draw() -> bool:
    try:
        "▁█".encode(_encoding())
    except UnicodeEncodeError:
        return False
    return True


def _escaped(char: str) -> str:
    """Return a character of JSON, as an escape if a terminal may act on it, or can't show it."""
    return char if char.isprintable() else json.dumps(char)[1:-1]
