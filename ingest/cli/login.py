"""`nonito login`: a link that signs in once, for who may use the server's own database."""

from typing import Final

import click

from ingest.addresses import bracketed
from ingest.cli.database import with_database
from ingest.cli.settings import load_quietly
from ingest.cli.text import require_text
from ingest.config import Dashboard
from ingest.errors import StartupError
from ingest.store import accounts, audit_log, sign_in_links
from ingest.store.postgres import Connection
from ingest.store.sign_in_links import Link

_EVERYWHERE: Final = ("", "0.0.0.0", "::")  # noqa: S104 - what is listened at, not bound


@click.command()
@click.option("--email", help="The account whose password is forgotten; without it, a new one.")
@click.option("--address", help="Where the dashboard is, as your browser finds it.")
@click.pass_context
def login(context: click.Context, email: str | None, address: str | None) -> None:
    """Print a link that signs in once: a new administrator, or who forgot a password.

    It opens within an hour. The link alone goes to standard output.
    """
    if email is not None:
        require_text("--email", email)
    place = (address or _address(load_quietly(context).dashboard)).rstrip("/")

    async def work(connection: Connection) -> str | None:
        link = await _link(connection, email)
        told = email or "an administrator"
        await audit_log.note(connection, "nonito login", None, "made a link", told)
        return await sign_in_links.make(connection, link)

    token = with_database(context, work)
    told = f"A new password for {email!r}" if email else "A new administrator's account"
    click.echo(f"{told}, by a link that opens once, within an hour:", err=True)
    click.echo(f"{place}/welcome/{token}")


async def _link(connection: Connection, email: str | None) -> Link:
    if email is None:
        return Link()
    found = await accounts.find(connection, email)
    if found is None:
        raise StartupError(f"nobody has an account with the address {email!r}")
    return Link(account_id=found[0].id)


def _address(dashboard: Dashboard) -> str:
    if not dashboard.enabled:
        raise StartupError("dashboard.enabled is false: nobody can sign in")
    if not dashboard.port:
        raise StartupError("dashboard.port is 0: say with --address where the dashboard is")
    host = "localhost" if dashboard.host in _EVERYWHERE else bracketed(dashboard.host)
    return f"http://{host}:{dashboard.port}"
