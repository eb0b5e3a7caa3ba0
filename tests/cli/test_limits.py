"""How much apps and keys may send, as `nonito apps` and `nonito keys` set and list it."""

import asyncio

import asyncpg
import pytest

from ingest.metering.rate_limits import NAMES
from tests.conftest import make_key
from tests.support.command import Nonito, complaint, succeed
from tests.support.postgres import fetch


def limits_of(url: str, table: str) -> tuple[int | None, ...]:
    """Return the limits of the one app or key."""
    (row,) = asyncio.run(fetch(url, f"SELECT {', '.join(NAMES)} FROM {table}"))
    return tuple(row)


def test_limits_of_an_app_are_set_one_by_one(nonito: Nonito, database_url: str) -> None:
    """What is not given stays; `none` takes one away; the list tells them in words."""
    make_key(database_url, "shop")
    at = ("--database-url", database_url, "apps")
    many = ("--events-per-second", "1,000", "--burst", "5000", "--bytes-per-day", "2GiB")
    shown = succeed(nonito(*at, "set", "shop", *many))
    assert "1,000 events a second (5,000 at once), 2,147,483,648 bytes a day" in shown
    succeed(nonito(*at, "set", "shop", "--events-per-day", "7", "--timezone", "Asia/Tokyo"))
    assert limits_of(database_url, "apps") == (1000, 5000, 7, None, 2 << 30)
    assert "7 events a day" in succeed(nonito(*at, "list"))
    taken = [f"--{option}" for option in ("events-per-second", "burst", "events-per-day")]
    nones = [text for option in (*taken, "--bytes-per-day") for text in (option, "none")]
    succeed(nonito(*at, "set", "shop", *nones))
    assert limits_of(database_url, "apps") == (None,) * 5
    assert "a day" not in succeed(nonito(*at, "list"))


def test_limits_of_a_key_are_set_when_it_is_made_and_later(
    nonito: Nonito, database_url: str
) -> None:
    """By its prefix."""
    at = ("--database-url", database_url, "keys")
    limits = ("--events-per-second", "10", "--bytes-per-second", "1MB")
    key = succeed(nonito(*at, "create", "--app", "shop", *limits)).strip()
    assert limits_of(database_url, "api_keys") == (10, None, None, 1_000_000, None)
    assert "write, 10 events a second, 1,000,000 bytes a second" in succeed(nonito(*at, "list"))
    shown = succeed(nonito(*at, "set", key[:11], "--events-per-day", "100"))
    assert "100 events a day" in shown
    assert limits_of(database_url, "api_keys") == (10, None, 100, 1_000_000, None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("apps", "set", "shop", "--events-per-second", "0"), "no limit"),
        (("apps", "set", "shop", "--timezone", "UTC", "--events-per-day", "-5"), "no limit"),
        (("apps", "set", "shop", "--burst", "5"), "burst"),
        (("apps", "set", "nobody", "--events-per-day", "5"), "no app"),
        (("keys", "set", "nk_", "--events-per-day", "many"), "no limit"),
        (("keys", "set", "nk_"), "say what to set"),
        (("keys", "set", "nk_none", "--events-per-day", "5"), "no unrevoked keys"),
        (("keys", "set", "nr_", "--events-per-day", "5"), "reads"),
        (("keys", "create", "--app", "x", "--read", "--events-per-day", "5"), "reads"),
        (("keys", "create", "--app", "x", "--events-per-day", "1e3"), "no limit"),
    ],
)
def test_what_is_no_limit_is_one_line(
    nonito: Nonito, database_url: str, arguments: tuple[str, ...], told: str
) -> None:
    """And nothing is changed, nor made."""
    make_key(database_url, "shop")
    at = ("--database-url", database_url)
    succeed(nonito(*at, "keys", "create", "--app", "shop", "--read"))
    before = succeed(nonito(*at, "apps", "list")) + succeed(nonito(*at, "keys", "list"))
    assert told in complaint(nonito(*at, *arguments))
    assert before == succeed(nonito(*at, "apps", "list")) + succeed(nonito(*at, "keys", "list"))


@pytest.mark.parametrize("table", ["apps", "api_keys"])
@pytest.mark.parametrize(
    "assigned",
    [
        "events_per_second = 0",
        "events_per_day = -1",
        "bytes_per_day = 1::bigint << 51",
        "events_burst = 5",
    ],
)
def test_by_hand_nothing_else_can_be_set(database_url: str, table: str, assigned: str) -> None:
    """The table says so itself."""
    make_key(database_url, "shop")
    with pytest.raises(asyncpg.CheckViolationError):
        asyncio.run(fetch(database_url, f"UPDATE {table} SET {assigned}"))
