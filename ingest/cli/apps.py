"""`nonito apps`: which apps there are, and what questions about their events go by."""

from typing import Final

import click

from ingest.cli.database import with_database
from ingest.cli.table import echo_table
from ingest.cli.text import require_text
from ingest.errors import StartupError
from ingest.store import app_settings
from ingest.store.app_settings import AppSettings
from ingest.store.postgres import Connection

_HEADING: Final = ("APP", "USER FIELD", "TIMEZONE")


@click.group("apps")
def apps_group() -> None:
    """List apps, and set what questions about their events go by."""


@apps_group.command("list")
@click.pass_context
def list_apps(context: click.Context) -> None:
    """List all apps with their settings."""
    found = with_database(context, app_settings.list_all)
    echo_table([_HEADING, *((each.name, each.user_field, each.timezone) for each in found)])


@apps_group.command("set")
@click.argument("name")
@click.option("--user-field", help="The parameter that says who did it, such as user_id.")
@click.option("--timezone", help="Where its days begin, such as Europe/Berlin.")
@click.pass_context
def set_app(
    context: click.Context, name: str, user_field: str | None, timezone: str | None
) -> None:
    """Set what is given of the app NAME; what is not given stays as it is."""
    if user_field is None and timezone is None:
        raise StartupError("say what to set: --user-field, --timezone")
    require_text("NAME", name)
    if user_field is not None:
        require_text("--user-field", user_field)
    if timezone is not None and not app_settings.is_zone(timezone):
        raise StartupError(f"--timezone {timezone!r}: no such time zone")

    async def work(connection: Connection) -> AppSettings | None:
        return await app_settings.change(connection, name, user_field, timezone)

    changed = with_database(context, work)
    if changed is None:
        raise StartupError(f"there is no app {name!r}: nonito apps list")
    echo_table([_HEADING, (changed.name, changed.user_field, changed.timezone)])
