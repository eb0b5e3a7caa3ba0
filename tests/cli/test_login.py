"""`nonito login`: a link for who may use the database, and what the start says of it."""

import asyncio
import re

import pytest

from ingest.store import accounts
from tests.support.command import Nonito, complaint, succeed
from tests.support.postgres import fetch, make_postgres

ENABLED = {"dashboard.enabled": "true"}
LINK = r"http://{}/welcome/[A-Za-z0-9_-]{{43}}"


def make_account(url: str, email: str) -> None:
    """Make somebody who can sign in."""

    async def work() -> None:
        async with make_postgres(url).session() as connection:
            assert await accounts.create(connection, email, "none", is_admin=False)

    asyncio.run(work())


def test_link_is_printed_alone_on_standard_output(nonito: Nonito, database_url: str) -> None:
    """Of the configured address, or of the one that a browser knows."""
    at = ("--database-url", database_url, "login")
    ended = nonito(*at, settings=ENABLED)
    assert re.fullmatch(LINK.format("127.0.0.1:8081"), succeed(ended).strip())
    assert "administrator" in ended.stderr
    elsewhere = {"dashboard.host": "0.0.0.0", "dashboard.port": "1234"}
    everywhere = nonito(*at, settings=ENABLED | elsewhere)
    assert re.fullmatch(LINK.format("localhost:1234"), succeed(everywhere).strip())
    shown = succeed(nonito(*at, "--address", "http://events.example.com/")).strip()
    assert re.fullmatch(LINK.format("events.example.com"), shown)


def test_link_for_an_account_is_one_of_it(nonito: Nonito, database_url: str) -> None:
    """Whose password is chosen anew."""
    make_account(database_url, "ada@example.com")
    ended = nonito(
        "--database-url", database_url, "login", "--email", "Ada@Example.com", settings=ENABLED
    )
    assert succeed(ended)
    assert "Ada@Example.com" in ended.stderr
    read = "SELECT email FROM sign_in_links JOIN accounts ON accounts.id = account_id"
    (row,) = asyncio.run(fetch(database_url, read))
    assert row["email"] == "ada@example.com"


@pytest.mark.parametrize(
    ("arguments", "settings", "told"),
    [
        (("--email", "nobody@example.com"), ENABLED, "nobody@example.com"),
        (("--email", " "), ENABLED, "--email"),
        ((), {"dashboard.enabled": "false"}, "dashboard.enabled"),
    ],
)
def test_what_can_not_be_is_one_line(
    nonito: Nonito,
    database_url: str,
    arguments: tuple[str, ...],
    settings: dict[str, object],
    told: str,
) -> None:
    """And no link is made."""
    ended = nonito("--database-url", database_url, "login", *arguments, settings=settings)
    assert told in complaint(ended)
    assert ended.stdout == ""
