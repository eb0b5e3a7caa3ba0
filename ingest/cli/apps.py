"""`nonito apps`: which apps there are, and what holds for their events."""

from typing import Final

import click

from ingest.cli import rate_options
from ingest.cli.database import with_database
from ingest.cli.rate_options import rate_options as with_rates
from ingest.cli.table import echo_table
from ingest.cli.text import require_text
from ingest.errors import StartupError
from ingest.metering.rate_limits import RateLimits
from ingest.store import app_settings, kept_limits
from ingest.store.app_settings import AppSettings, Days
from ingest.store.postgres import Connection

_HEADING: Final = ("APP", "USER FIELD", "TIMEZONE", "RETAIN DAYS", "IN THE ARCHIVE", "LIMITS")
_SERVER: Final = "server"


@click.group("apps")
def apps_group() -> None:
    """List apps, and set what questions about their events go by, and how long these are kept.

    And how much they may send.
    """


@apps_group.command("list")
@click.pass_context
def list_apps(context: click.Context) -> None:
    """List all apps with their settings."""

    async def work(connection: Connection) -> list[tuple[str, ...]]:
        limits = await kept_limits.of_apps(connection)
        found = await app_settings.list_all(connection)
        return [_as_row(each, limits.get(each.id)) for each in found]

    echo_table([_HEADING, *with_database(context, work)])


def _as_row(app: AppSettings, limits: RateLimits | None) -> tuple[str, ...]:
    days = (app.retain_days, app.archive_retain_days)
    told = (_SERVER if each is None else str(each) for each in days)
    words = ", ".join(limits.words) if limits else ""
    return (app.name, app.user_field, app.timezone, *told, words)


@apps_group.command("set")
@click.argument("name")
@click.option("--user-field", help="The parameter that says who did it, such as user_id.")
@click.option("--timezone", help="Where its days begin, such as Europe/Berlin.")
@click.option(
    "--retain-days",
    metavar="DAYS",
    help=f"How long its events are in Postgres; 0 keeps all, {_SERVER!r} is as configured.",
)
@click.option(
    "--archive-retain-days",
    metavar="DAYS",
    help="And in the archive, in which questions are asked; -1 is as long as in Postgres.",
)
@with_rates
@click.pass_context
def set_app(
    context: click.Context,
    /,
    name: str,
    user_field: str | None,
    timezone: str | None,
    retain_days: str | None,
    archive_retain_days: str | None,
    **rates: str | None,
) -> None:
    """Set what is given of the app NAME; what is not given stays as it is.

    What is to be kept for less long than before goes ten minutes later at the earliest: `nonito
    retention` says when.

    How much may be sent holds for all keys of the app together, on each server; by the day on all
    servers. Servers follow within a second.
    """
    texts = rate_options.given(rates)
    if user_field is timezone is retain_days is archive_retain_days is None and not texts:
        raise StartupError(
            "say what to set: --user-field, --timezone, --retain-days, --archive-retain-days,"
            " --events-per-second, …"
        )
    days = Days(
        _days("--retain-days", retain_days, 0),
        _days("--archive-retain-days", archive_retain_days, -1),
    )
    require_text("NAME", name)
    if user_field is not None:
        require_text("--user-field", user_field)
    if timezone is not None and not app_settings.is_zone(timezone):
        raise StartupError(f"--timezone {timezone!r}: no such time zone")

    async def work(connection: Connection) -> tuple[str, ...]:
        async with connection.transaction():
            changed = await app_settings.change(connection, name, user_field, timezone, days=days)
            if changed is None:
                raise StartupError(f"there is no app {name!r}: nonito apps list")
            limits = (await kept_limits.of_apps(connection)).get(changed.id)
            if texts:
                limits = rate_options.read(texts, limits)
                await kept_limits.set_of_app(connection, changed.id, limits)
            return _as_row(changed, limits)

    echo_table([_HEADING, with_database(context, work)])


def _days(option: str, text: str | None, least: int) -> int | None:
    """Return what an option sets; raise StartupError for no number of days."""
    if text is None or text == _SERVER:
        return None if text is None else app_settings.AS_SERVER
    try:
        days = int(text)
    except ValueError:
        days = least - 1
    if not least <= days <= app_settings.DAYS_MAX:
        raise StartupError(
            f"{option} {text!r}: write {least} to {app_settings.DAYS_MAX} days, or {_SERVER!r}"
        )
    return days
