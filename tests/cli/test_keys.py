"""`nonito keys`: what the commands print, and what they refuse."""

import asyncio
import re
from datetime import UTC, datetime

import pytest

from ingest.store.tokens import digest
from tests.conftest import make_key
from tests.support.command import Nonito, complaint, run, succeed
from tests.support.postgres import fetch

DAY = datetime(2026, 1, 10, 12, tzinfo=UTC)


def test_key_is_printed_alone_on_standard_output(database_url: str) -> None:
    """So that `KEY=$(nonito keys create --app shop)` works; everything else goes elsewhere."""
    ended = run("--database-url", database_url, "keys", "create", "--app", "shop", "--name", "x")
    secret = succeed(ended).removesuffix("\n")
    assert re.fullmatch(r"nk_[A-Za-z0-9]{43}", secret)
    assert secret not in ended.stderr
    assert "'shop'" in ended.stderr
    (stored,) = asyncio.run(fetch(database_url, "SELECT prefix, name FROM api_keys"))
    assert (stored["prefix"], stored["name"]) == (secret[:11], "x")


def test_first_key_can_be_made_before_the_first_start(empty_url: str) -> None:
    """`keys create` migrates an empty database."""
    secret = succeed(run("--database-url", empty_url, "keys", "create", "--app", "shop")).strip()
    listed = succeed(run("--database-url", empty_url, "keys", "list"))
    assert secret[:11] in listed
    assert secret not in listed


def test_key_is_listed_revoked_and_listed_as_revoked(nonito: Nonito, database_url: str) -> None:
    """By the prefix that the list shows; revoking it again is refused."""
    secret = make_key(database_url, "blog")
    make_key(database_url, "shop")
    at = ("--database-url", database_url, "keys")
    head, blog, shop = (line.split() for line in succeed(nonito(*at, "list")).splitlines())
    assert head == ["PREFIX", "APP", "NAME", "STATE", "CREATED", "EXPIRES", "USED", "MAY"]
    assert blog[:3] == [secret[:11], "blog", "active"]
    assert shop[1:3] == ["shop", "active"]
    assert secret[:11] in nonito(*at, "revoke", blog[0]).stderr
    assert blog[0] in complaint(nonito(*at, "revoke", blog[0]))
    assert [line.split()[2] for line in succeed(nonito(*at, "list")).splitlines()[1:]] == [
        "revoked",
        "active",
    ]


@pytest.mark.parametrize(("prefix", "told"), [("nk_", "2 unrevoked"), ("nk_none", "no unrevoked")])
def test_prefix_that_is_not_one_key_s_revokes_nothing(
    nonito: Nonito, database_url: str, prefix: str, told: str
) -> None:
    """And says how many there are."""
    for _ in range(2):
        make_key(database_url)
    assert told in complaint(nonito("--database-url", database_url, "keys", "revoke", prefix))
    (count,) = asyncio.run(fetch(database_url, "SELECT count(revoked_at) AS n FROM api_keys"))
    assert count["n"] == 0


def test_key_needs_an_app(nonito: Nonito, database_url: str) -> None:
    """An app without a name is refused."""
    ended = nonito("--database-url", database_url, "keys", "create", "--app", "  ")
    assert "--app" in complaint(ended)
    assert ended.stdout == ""


def test_key_is_made_and_listed_with_its_limits(nonito: Nonito, database_url: str) -> None:
    """Each option as often as it is given; of one that was used, the day."""
    at = ("--database-url", database_url, "keys")
    limits = ("--origin", "https://Shop.example/", "--origin", "https://*.shop.example")
    named = ("--event", "page_view", "--event", "a, b")
    secret = succeed(nonito(*at, "create", "--app", "shop", *limits, *named)).strip()
    asyncio.run(fetch(database_url, "INSERT INTO api_key_uses SELECT $1, $2", digest(secret), DAY))
    _, listed = succeed(nonito(*at, "list")).splitlines()
    assert listed.endswith(
        "2026-01-10  write page_view, a, b from https://shop.example, https://*.shop.example"
    )
    assert " - " in listed


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--origin", "shop.example"), "'shop.example' is no origin"),
        (("--origin", "\x1b[2J"), r"'\x1b[2J' is no origin"),
        (("--event", ""), "is no event's name"),
        (("--event", "a", *(f"--event=e{n}" for n in range(20))), "20"),
        (("--event", "a", "--read"), "leave --read out"),
    ],
)
def test_limit_that_is_none_makes_no_key(
    nonito: Nonito, database_url: str, options: tuple[str, ...], told: str
) -> None:
    """And is said in one line."""
    ended = nonito("--database-url", database_url, "keys", "create", "--app", "shop", *options)
    assert told in complaint(ended)
    assert ended.stdout == ""
    assert asyncio.run(fetch(database_url, "SELECT FROM apps")) == []
