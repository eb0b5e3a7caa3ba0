"""`nonito keys`: API keys of both kinds, made, listed and revoked."""

from datetime import UTC, datetime
from typing import Final

import click

from ingest.cli import rate_options
from ingest.cli.database import with_database
from ingest.cli.rate_options import rate_options as with_rates
from ingest.cli.table import day, echo_table
from ingest.cli.text import require_text
from ingest.errors import StartupError
from ingest.store import api_keys, kept_limits, key_limits
from ingest.store.api_keys import Kind
from ingest.store.key_limits import BadLimit, KeyLimits
from ingest.store.postgres import Connection
from ingest.store.tokens import digest

_HEADING: Final = ("PREFIX", "APP", "NAME", "STATE", "CREATED", "EXPIRES", "USED", "MAY")


@click.group("keys")
def keys_group() -> None:
    """Make, limit, list and revoke API keys; running servers follow within a second."""


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
    "--may-erase",
    is_flag=True,
    help="With --read: it may also erase people, by DELETE /v1/people/ID.",
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
@with_rates
@click.pass_context
def create_key(  # noqa: PLR0913 - an option each
    context: click.Context,
    /,
    *,
    app_name: str,
    name: str,
    expires_in_days: int | None,
    kind: Kind,
    may_erase: bool,
    origins: tuple[str, ...],
    event_names: tuple[str, ...],
    **rates: str | None,
) -> None:
    """Make a key; the secret alone goes to standard output, once.

    It writes events and can't read any, unless it is to `--read` them.
    """
    if may_erase and kind is not Kind.READ:
        raise StartupError("--may-erase is for keys that read: add --read")
    require_text("--app", app_name)
    limits, may = _limits(kind, origins, event_names), rate_options.read(rate_options.given(rates))
    if may and kind is Kind.READ:
        raise StartupError("a key that reads sends nothing that could be limited")

    async def work(connection: Connection) -> str:
        async with connection.transaction():
            made = await api_keys.create(
                connection, app_name, name, expires_in_days, kind, limits, may_erase=may_erase
            )
            if may:
                await kept_limits.set_of_key(connection, digest(made), may)
        return made

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


@keys_group.command("set")
@click.argument("prefix")
@with_rates
@click.pass_context
def set_key(context: click.Context, /, prefix: str, **rates: str | None) -> None:
    """Set how much the key that starts with PREFIX may send; what is not given stays as it is."""
    require_text("PREFIX", prefix)
    texts = rate_options.given(rates)
    if not texts:
        raise StartupError("say what to set, such as --events-per-second")

    async def work(connection: Connection) -> api_keys.ApiKey:
        found = await api_keys.find_unrevoked(connection, prefix)
        if len(found) != 1 or found[0].kind is Kind.READ:
            some = f"{len(found) or 'no'} unrevoked keys start with {prefix!r}"
            told = "that key reads" if len(found) == 1 else some
            raise StartupError(f"{told}; nothing was set")
        limits = rate_options.read(texts, found[0].rate_limits)
        await kept_limits.set_of_key(connection, found[0].id, limits)
        return found[0]._replace(rate_limits=limits)

    now = datetime.now(UTC)
    echo_table([_HEADING, _as_row(with_database(context, work), now)])


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
        ", ".join([f"{_may(key)}{_shown(key.limits)}", *key.rate_limits.words]),
    )


def _may(key: api_keys.ApiKey) -> str:
    return f"{key.kind.value} and erase" if key.may_erase else key.kind.value


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
