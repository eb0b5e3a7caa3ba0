"""`nonito psql`: PostgreSQL's own terminal on the configured database.

Everybody on a machine sees the command lines of all processes, so a password goes there by the
environment, which only the same user can read.
"""

import os
import re
import sys
from typing import Final
from urllib.parse import unquote, urlsplit

import click

from ingest.cli.database import database
from ingest.cli.settings import load_quietly
from ingest.errors import StartupError

_SECRETS: Final = ("password", "sslpassword")
"""Options of a URL. psql asks for the latter, which no variable can hold."""
_HOST = r"(?:\[[^\]]*\]|[^:,@]*)(?::[0-9]*)?"
_HOSTS: Final = re.compile(f"{_HOST}(?:,{_HOST})*")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def psql(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run psql on the database, for example: nonito psql -c 'SELECT * FROM events'."""
    settings = load_quietly(context)
    import subprocess  # noqa: PLC0415 - for this command only

    with database(settings) as (url, embedded):
        program = embedded.psql if embedded is not None else "psql"
        try:
            shown, password = _part(url)
            secret = {"PGPASSWORD": password} if password else {}
            command = [program, shown, *arguments]
            ended = subprocess.run(command, check=False, env=os.environ | secret)  # noqa: S603
        except FileNotFoundError:
            raise StartupError("psql is not installed (Debian: postgresql-client)") from None
        except ValueError:  # whose message would quote it
            raise StartupError("database.url can't be used: it is no URL") from None
    sys.exit(ended.returncode)


def _part(url: str) -> tuple[str, str]:
    """Return a URL without its secrets, and the password, empty for none; raise ValueError.

    The password of the user comes before one among the options, as it does for the server.
    """
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    if parts.fragment or not _HOSTS.fullmatch(hosts):  # a piece of a password that is not encoded
        raise ValueError
    user, _, password = login.partition(":")
    options = [option.partition("=") for option in parts.query.split("&") if option]
    among_options = {name: value for name, _, value in options}.get("password", "")
    query = "&".join(map("".join, (each for each in options if each[0] not in _SECRETS)))
    shown = f"{parts.scheme}://{user}{at}{hosts}{parts.path}{'?' if query else ''}{query}"
    return shown, unquote(password or among_options)
