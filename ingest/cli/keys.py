"""`nonito keys`: API keys, made, listed and revoked."""

from datetime import UTC, datetime

import click

from ingest.cli.database import with_database
from ingest.cli.table import day, echo_table
from ingest.errors import StartupError
from ingest.store import api_keys
from ingest.store.postgres import Connection


@click.group("keys")
def keys_group() -> None:
    """Make, list and revoke API keys; running servers follow within a second."""


@keys_group.command("create")
@click.option("--app", "app_name", required=True, help="The app it belongs to; made if new.")
@click.option("--name", default="", help="A label, to tell keys apart.")
@click.option("--expires-in-days", type=click.IntRange(1, 36_500), help="Default: never.")
@click.pass_context
def create_key(
    context: click.Context, app_name: str, name: str, expires_in_days: int | None
) -> None:
    """Make a key; the secret alone goes to standard output, once."""
    _require_text("--app", app_name)

    async def work(connection: Connection) -> str:
        return await api_keys.create(connection, app_name, name, expires_in_days)

    secret = with_database(context, work)
    click.echo(f"Key for app {app_name!r}; it is shown only now.", err=True)
    click.echo(secret)


@keys_group.command("list")
@click.pass_context
def list_keys(context: click.Context) -> None:
    """List all keys, also the revoked ones."""
    found = with_database(context, api_keys.list_all)
    now = datetime.now(UTC)
    table = [("PREFIX", "APP", "NAME", "STATE", "CREATED", "EXPIRES")]
    table += [
        (key.prefix, key.app, key.name, key.state(now), day(key.created_at), day(key.expires_at))
        for key in found
    ]
    echo_table(table)


@keys_group.command("revoke")
@click.argument("prefix")
@click.pass_context
def revoke_key(context: click.Context, prefix: str) -> None:
    """Revoke the key that starts with PREFIX, as `keys list` shows it."""

    async def work(connection: Connection) -> list[api_keys.ApiKey]:
        return await api_keys.revoke(connection, prefix)

    _require_text("PREFIX", prefix)
    matching = with_database(context, work)
    if len(matching) != 1:
        count = len(matching) or "no"
        raise StartupError(f"{count} unrevoked keys start with {prefix!r}; nothing was revoked")
    click.echo(f"Revoked {matching[0].prefix} of app {matching[0].app!r}.", err=True)


def _require_text(option: str, value: str) -> None:
    if not value.strip() or "\0" in value:
        raise StartupError(f"{option} must not be empty")
