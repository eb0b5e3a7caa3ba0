"""`nonito rejected`: the events that Postgres refused, to be looked at, mended, stored or dropped.

Their text is a client's, so nothing of it reaches the terminal but as printable characters.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import click

from ingest.cli.database import with_database
from ingest.cli.table import echo_table, printable, second, shortened
from ingest.delivery.events_table import EVENTS
from ingest.errors import StartupError
from ingest.store import rejected
from ingest.store.failures import Named
from ingest.store.postgres import Connection
from ingest.store.rejected import Listed, Retried, RetryResult

_LIST_DEFAULT = 100
_LIST_MAX = 1_000_000
_NAME_CHARS_SHOWN = 40
_MESSAGE_CHARS_SHOWN = 60
_HEADING = ("ID", "APP", "EVENT_NAME", "SQLSTATE", "RULE", "MESSAGE", "REJECTED")
_FAILED = (RetryResult.REFUSED, RetryResult.NOT_FOUND)

_ids = click.argument("ids", nargs=-1, type=click.UUID, metavar="[ID]...")


@click.group("rejected")
def rejected_group() -> None:
    """List, retry or drop events that Postgres refused after they had been acknowledged.

    They waited on disk while Postgres was away, and were refused when they were brought there.
    Each is kept as text, with the reason. To mend one and store it:

    \b
      nonito rejected list
      nonito psql
        UPDATE rejected_events SET event_params = '{"page": "/home"}'
        WHERE id = '01a20775-3827-7f9a-a84b-77c69c54c242';
      nonito rejected retry 01a20775-3827-7f9a-a84b-77c69c54c242
    """  # noqa: D301 - click knows a paragraph to be left as it is by this character


@rejected_group.command("list")
@click.option(
    "--limit",
    type=click.IntRange(1, _LIST_MAX),
    default=_LIST_DEFAULT,
    show_default=True,
    help="List so many at most, the newest.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with everything.")
@click.pass_context
def list_rejected(context: click.Context, limit: int, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """List the events that Postgres refused, and what SDKs sent that can't be stored.

    The newest first.

    With --json, event_params is a string: it holds what could not be read as JSON by Postgres.
    """

    async def work(connection: Connection) -> tuple[list[Listed], int]:
        return await rejected.list_all(connection, EVENTS, limit), await rejected.count(connection)

    found, count = with_database(context, work)
    if as_json:
        for each in found:
            click.echo(_as_json(each))
    elif found:
        echo_table([_HEADING, *(_as_row(each) for each in found)])
    if len(found) < count:
        click.echo(f"{len(found)} of {count} rejected events; more with --limit.", err=True)
    elif not found:
        click.echo("No rejected events.", err=True)


def _as_row(listed: Listed) -> tuple[str, ...]:
    found = listed.rejected
    return (
        str(found.id),
        listed.app,
        shortened(found.event["event_name"], _NAME_CHARS_SHOWN),
        found.sqlstate,
        shortened(_rule(found.named), _NAME_CHARS_SHOWN),
        shortened(found.message, _MESSAGE_CHARS_SHOWN),
        second(listed.rejected_at),
    )


def _rule(named: Named) -> str:
    """Return what is to be looked at: a constraint, or a column, or a table."""
    on_column = f"{named.table}.{named.column}" if named.column else named.table
    return named.constraint or on_column or "-"


def _as_json(listed: Listed) -> str:
    """Return one line of plain ASCII: json.dumps escapes all else, control characters included."""
    return json.dumps(
        {
            "app": listed.app,
            **listed.rejected.event,
            "sqlstate": listed.rejected.sqlstate,
            "message": listed.rejected.message,
            **listed.rejected.named._asdict(),
            "rejected_at": listed.rejected_at.isoformat().replace("+00:00", "Z"),
        }
    )


@rejected_group.command("retry")
@_ids
@click.option("--all", "every", is_flag=True, help="Retry all of them.")
@click.pass_context
def retry_rejected(context: click.Context, ids: tuple[UUID, ...], every: bool) -> None:  # noqa: FBT001 - a flag
    """Try again to store rejected events, mended ones for example.

    Says of each what became of it. One that Postgres refuses again stays where it is, with the new
    reason, and keeps no other from being stored; the exit code is 1 then. One that is stored
    already, under its id or as what its client sent under the same Idempotency-Key within 24 hours,
    is taken out of the list, and what is stored stays as it is. How to mend an event:
    nonito rejected --help.
    """
    chosen = _chosen(ids, every=every)
    retried: list[Retried] = []

    async def work(connection: Connection) -> None:
        async for each in rejected.retry(connection, EVENTS, chosen):
            retried.append(each)  # noqa: PERF401 - one by one: a failure keeps what came before it

    try:
        with_database(context, work)
    finally:
        _tell(retried)  # also before a failure: these are committed
    if not retried:
        click.echo("No rejected events.", err=True)
    if any(each.result in _FAILED for each in retried):
        sys.exit(1)


def _tell(retried: Sequence[Retried]) -> None:
    for each in retried:
        reason = f": {printable(each.reason)}" if each.reason else ""
        click.echo(f"{each.id}  {each.result.value}{reason}")
    if retried:
        counts = Counter(each.result.value for each in retried)
        told = ", ".join(f"{count} {result}" for result, count in counts.items())
        click.echo(f"{told}.", err=True)


@rejected_group.command("drop")
@_ids
@click.option("--all", "every", is_flag=True, help="Drop all of them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def drop_rejected(context: click.Context, ids: tuple[UUID, ...], every: bool, yes: bool) -> None:  # noqa: FBT001 - flags
    """Drop rejected events for good; asks first."""
    chosen = _chosen(ids, every=every)
    if not yes:
        count = with_database(context, rejected.count) if chosen is None else len(chosen)
        click.confirm(f"Drop {count} rejected events for good?", abort=True, err=True)

    async def work(connection: Connection) -> list[UUID]:
        return await rejected.drop(connection, chosen)

    dropped = set(with_database(context, work))
    click.echo(f"{len(dropped)} dropped.", err=True)
    if missing := [str(each) for each in chosen or () if each not in dropped]:
        raise StartupError(f"not among the rejected events: {', '.join(missing)}")


def _chosen(ids: tuple[UUID, ...], *, every: bool) -> Sequence[UUID] | None:
    """Return the ids without doubles, None for all; raise StartupError for neither and for both."""
    if every == bool(ids):
        raise StartupError("name the IDs that `nonito rejected list` shows, or say --all")
    return None if every else tuple(dict.fromkeys(ids))
