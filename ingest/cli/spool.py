"""`nonito spool`: what waits on disk for Postgres, looked at without a Postgres or a server.

`status` and `export` only read, and may be used while servers run; `adopt` is for a spool that no
server uses. What clients sent reaches the terminal as JSON without control characters.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click

from ingest import disk
from ingest.cli.database import in_session
from ingest.cli.settings import load_quietly
from ingest.cli.table import echo_table, second
from ingest.errors import StartupError
from ingest.events.fields import FIELDS, Field, Kind, Stored
from ingest.spool import owner
from ingest.spool import report as spool_report
from ingest.spool.failures import StorageDamaged, describe
from ingest.spool.owner import Owner
from ingest.spool.report import Export, FileStatus
from ingest.store import identity

_HEADING: Final = ("FILE", "EVENTS", "BYTES", "OLDEST", "DAMAGED", "MISSING")
_UNUSUAL: Final = re.compile(r"[^ -~]")


@click.group("spool")
def spool_group() -> None:
    """Look at the events that wait on disk for Postgres, in the directory spool.path."""


@spool_group.command("status")
@click.pass_context
def show_status(context: click.Context) -> None:
    """Say what waits, file by file: events, size, since when, how many are damaged or missing.

    A server brings to Postgres by itself what it spooled, and what servers that are gone left
    behind. Files named *.damaged are kept for a person to look at. An event is missing when the
    disk has lost it without a trace. The spool belongs to one database; files of another one, whose
    id their names end with, are left alone.
    """
    directory = _directory(context)
    files = spool_report.status(directory)
    if files:
        echo_table([_HEADING, *(_as_row(file) for file in files)])
    click.echo(f"{sum(file.events for file in files)} events wait in {directory}.", err=True)
    for line in _ownership(_owner(directory), files):
        click.echo(line, err=True)


def _ownership(found: Owner | None, files: Sequence[FileStatus]) -> Iterator[str]:
    if found is not None:
        yield f"They are for the database {found.database_id}."
    for file in files:
        if file.database_id is not None and not (found and found.has(file.database_id)):
            yield f"Not for it, and left alone: {file.name}"


def _as_row(file: FileStatus) -> tuple[str, ...]:
    oldest = None if file.oldest_ms is None else _moment(file.oldest_ms)
    damaged = str(file.damaged_events) if file.is_readable else "unreadable"
    missing = str(file.missing_events)
    return file.name, str(file.events), str(file.bytes), second(oldest), damaged, missing


def _moment(unix_ms: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(unix_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):  # of a damaged file
        return None


@spool_group.command("export")
@click.pass_context
def export_events(context: click.Context) -> None:
    """Write the events that wait to standard output, one JSON object a line.

    Each with app_id, id, event_name, event_params as it was sent, and created_at; with timestamp if
    one was sent, and with idempotency_key, a hash, if a key was. They stay in the spool, and will
    be in Postgres under the same ids. Sent to a server again by their ids they are stored once, but
    their keys are not known there until the spool itself is replayed. What is damaged is left out
    and told of, and so is what is missing; the exit code is 1 then.
    """
    output = sys.stdout.buffer  # JSON is UTF-8, whatever the terminal's encoding
    export = spool_report.export(_directory(context))
    for event in export:
        output.write(_line(event).encode())
    output.flush()
    if export.damaged_events or export.missing_events or export.unreadable_files:
        click.echo(_left_out(export), err=True)
        sys.exit(1)


def _left_out(export: Export) -> str:
    files = (
        f", and what {', '.join(export.unreadable_files)} holds" if export.unreadable_files else ""
    )
    missing = f", {export.missing_events} are missing" if export.missing_events else ""
    return f"nonito: {export.damaged_events} damaged events were left out{missing}{files}"


@spool_group.command("adopt")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def adopt_spool(context: click.Context, yes: bool) -> None:  # noqa: FBT001 - a flag
    """Give the spool to the configured database, whichever it belonged to; asks first.

    For a database that took another one's place. App 2 of the one has to be app 2 of the other: the
    events that wait name their apps by number. Stop the servers that use the spool before.
    """
    settings = load_quietly(context)
    directory = Path(settings.spool.path)
    database_id = in_session(settings, identity.read, migrate=True)
    if database_id is None:
        raise StartupError(identity.MISSING)
    files = spool_report.status(directory)
    waiting = sum(file.events for file in files)
    if waiting and not yes:
        question = f"Bring {waiting} events in {directory} to the database {database_id}?"
        click.confirm(question, abort=True, err=True)
    _give(directory, database_id, files)
    click.echo(f"{directory} belongs to the database {database_id}.", err=True)


def _give(directory: Path, database_id: UUID, files: Sequence[FileStatus]) -> None:
    try:
        disk.make_directory(directory)
        of_files = {file.database_id for file in files if file.database_id is not None}
        owner.give(directory, database_id, frozenset(of_files))
    except OSError as error:
        raise StartupError(f"can't write to {directory}: {error.strerror}") from error


def _owner(directory: Path) -> Owner | None:
    try:
        return owner.read(directory)
    except (OSError, StorageDamaged) as error:
        raise StartupError(f"the spool directory {directory}: {describe(error)}") from error


def _directory(context: click.Context) -> Path:
    return Path(load_quietly(context).spool.path)


def _line(event: Stored) -> str:
    """Return an event as a line of JSON; what its client did not send is left out."""
    members = (
        f'"{field.name}":{_shown(field, event[field.name])}'
        for field in FIELDS
        if event[field.name] is not None
    )
    return f"{{{','.join(members)}}}\n"


def _shown(field: Field, value: Any) -> str:  # noqa: ANN401 - as `Stored` has it
    return _on_one_line(value) if field.kind is Kind.JSON else json.dumps(value)


def _on_one_line(document: str) -> str:
    """Return a JSON document without line breaks and without what a terminal may act on.

    Not parsed: numbers keep every digit. JSON has line breaks between its parts only, and other
    characters outside ASCII within its strings only, where each may be written as an escape.
    """
    return document if document.isprintable() else _UNUSUAL.sub(_harmless, document)


def _harmless(found: re.Match[str]) -> str:
    char = found[0]
    if char in "\r\n\t":
        return " "
    return char if char.isprintable() else json.dumps(char)[1:-1]
