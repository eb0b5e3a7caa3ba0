"""`nonito keys`: API keys of both kinds, made, listed and revoked."""

from datetime import UTC, datetime
from typing import Final

import click

from ingest.cli.database import with_database
from ingest.cli.table import day, echo_table
from ingest.cli.text import require_text
from ingest.errors import StartupError
from ingest.store import api_keys, key_limits
from ingest.store.api_keys import Kind
from ingest.store.key_limits import BadLimit, KeyLimits
from ingest.store.postgres import Connection

_HEADING: Final = ("PREFIX", "APP", "NAME", "STATE", "CREATED", "EXPIRES", "USED", "MAY")


@click.group("keys")
def keys_group() -> None:
    """Make, list and revoke API keys; running servers follow within a second."""


@keys_group.command("create")
@click.option("--app", "app_name", required=True, help="The app it belongs to; made if new.")
@click.option("--name", default="", help="A label, to tell keys apart.")
@click.option("--expires-in-days", type=click.IntRange(1, 36_500), help="Default: never.")
@click.option(
    "--read",
    "kind",
    flag_value=Kind.READ,
    type=click.UNPROCESSED,
    default=Kind.WRITE,
    help="One that reads events and can't write any.",
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    help="Only from pages of this origin, such as https://shop.example; may be repeated.",
)
@click.option(
    "--event", "event_names", multiple=True, help="Only events of this name; may be repeated."
)
@click.pass_context
def create_key(  # noqa: PLR0913 - an option each
    context: click.Context,
    *,
    app_name: str,
    name: str,
    expires_in_days: int | None,
    kind: Kind,
    origins: tuple[str, ...],
    event_names: tuple[str, ...],
) -> None:
    """Make a key; the secret alone goes to standard output, once.

    It writes events and can't read any, unless it is to `--read` them.
    """
    require_text("--app", app_name)
    limits = _limits(kind, origins, event_names)

    async def work(connection: Connection) -> str:
        return await api_keys.create(connection, app_name, name, expires_in_days, kind, limits)

    secret = with_database(context, work)
    click.echo(f"Key for app {app_name!r}; it is shown only now.", err=True)
    click.echo(secret)


def _limits(kind: Kind, origins: tuple[str, ...], event_names: tuple[str, ...]) -> KeyLimits | None:
    try:
        limits = key_limits.read(origins, event_names)
    except BadLimit as error:
        raise StartupError(str(error)) from None
    if limits is not None and kind is Kind.READ:
        raise StartupError("--origin and --event are for keys that write: leave --read out")
    return limits


@keys_group.command("list")
@click.pass_context
def list_keys(context: click.Context) -> None:
    """List all keys, also the revoked ones."""
    found = with_database(context, api_keys.list_all)
    now = datetime.now(UTC)
    echo_table([_HEADING, *(_as_row(key, now) for key in found)])


def _as_row(key: api_keys.ApiKey, now: datetime) -> tuple[str, ...]:
    return (
        key.prefix,
        key.app,
        key.name,
        key.state(now),
        day(key.created_at),
        day(key.expires_at),
        day(key.used_at),
        f"{key.kind.value}{_shown(key.limits)}",
    )


def _shown(limits: KeyLimits | None) -> str:
    if limits is None:
        return ""
    names, origins = ", ".join(limits.event_names), ", ".join(limits.origins)
    return (f" {names}" if names else "") + (f" from {origins}" if origins else "")


@keys_group.command("revoke")
@click.argument("prefix")
@click.pass_context
def revoke_key(context: click.Context, prefix: str) -> None:
    """Revoke the key that starts with PREFIX, as `keys list` shows it."""

    async def work(connection: Connection) -> list[api_keys.ApiKey]:
        return await api_keys.revoke(connection, prefix)

    require_text("PREFIX", prefix)
    matching = with_database(context, work)
    if len(matching) != 1:
        count = len(matching) or "no"
        raise StartupError(f"{count} unrevoked keys start with {prefix!r}; nothing was revoked")
    click.echo(f"Revoked {matching[0].prefix} of app {matching[0].app!r}.", err=True)
