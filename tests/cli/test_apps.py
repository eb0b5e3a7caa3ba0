"""`nonito apps`, and keys that read: what the commands print, and what they refuse."""

import asyncio
import re

import pytest

from tests.conftest import StartServer, make_key
from tests.support.command import Nonito, complaint, succeed
from tests.support.postgres import fetch


def settings_of(url: str, app: str) -> tuple[str, str]:
    """Return the user field and the zone of an app."""
    (row,) = asyncio.run(fetch(url, "SELECT user_field, timezone FROM apps WHERE name = $1", app))
    return row["user_field"], row["timezone"]


def test_app_is_listed_with_its_settings_and_set(nonito: Nonito, database_url: str) -> None:
    """What is not given stays as it is, and so does every other app."""
    for app in ("shop", "blog"):
        make_key(database_url, app)
    at = ("--database-url", database_url, "apps")
    lines = [line.split() for line in succeed(nonito(*at, "list")).splitlines()]
    assert lines[1:] == [
        ["blog", "user_id", "UTC", "server", "server"],
        ["shop", "user_id", "UTC", "server", "server"],
    ]
    shown = succeed(nonito(*at, "set", "shop", "--timezone", "Europe/Berlin"))
    assert shown.splitlines()[1].split() == [
        *("shop", "user_id", "Europe/Berlin"),
        *("server", "server"),
    ]
    succeed(nonito(*at, "set", "shop", "--user-field", "email"))
    assert settings_of(database_url, "shop") == ("email", "Europe/Berlin")
    assert settings_of(database_url, "blog") == ("user_id", "UTC")


def test_app_has_days_of_its_own_until_they_are_taken_back(
    nonito: Nonito, database_url: str
) -> None:
    """Each by itself, and 0 is a number of days."""
    make_key(database_url, "shop")
    at = ("--database-url", database_url, "apps", "set", "shop")
    for arguments, shown in (
        (("--retain-days", "0"), ["0", "server"]),
        (("--archive-retain-days", "-1"), ["0", "-1"]),
        (("--retain-days", "30", "--archive-retain-days", "365"), ["30", "365"]),
        (("--retain-days", "server"), ["server", "365"]),
        (("--timezone", "UTC"), ["server", "365"]),
    ):
        assert succeed(nonito(*at, *arguments)).split()[-2:] == shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("shop",), "say what to set"),
        (("shop", "--timezone", "Mars/Olympus"), "no such time zone"),
        (("shop", "--timezone", "Europe"), "no such time zone"),
        (("shop", "--timezone", "../../etc/passwd"), "no such time zone"),
        (("shop", "--timezone", ""), "no such time zone"),
        (("shop", "--user-field", " "), "--user-field"),
        (("shop", "--retain-days", "-1"), "write 0 to 36525 days, or 'server'"),
        (("shop", "--retain-days", "1.5"), "write 0 to 36525 days, or 'server'"),
        (("shop", "--archive-retain-days", "-2"), "write -1 to 36525 days"),
        (("shop", "--archive-retain-days", "99999"), "write -1 to 36525 days"),
        (("nobody", "--user-field", "email"), "no app 'nobody'"),
    ],
)
def test_what_can_not_be_set_is_one_line(
    nonito: Nonito, database_url: str, arguments: tuple[str, ...], told: str
) -> None:
    """And nothing is changed."""
    make_key(database_url, "shop")
    assert told in complaint(nonito("--database-url", database_url, "apps", "set", *arguments))
    assert settings_of(database_url, "shop") == ("user_id", "UTC")


def test_key_that_reads_is_made_listed_and_revoked(nonito: Nonito, database_url: str) -> None:
    """By the commands that there are for the others, which says what it may do."""
    at = ("--database-url", database_url, "keys")
    ended = nonito(*at, "create", "--app", "shop", "--read")
    secret = succeed(ended).removesuffix("\n")
    assert re.fullmatch(r"nr_[A-Za-z0-9]{43}", secret)
    assert secret not in ended.stderr
    writing = succeed(nonito(*at, "create", "--app", "shop")).strip()
    listed = [line.split() for line in succeed(nonito(*at, "list")).splitlines()[1:]]
    assert [(line[0], line[-1]) for line in listed] == [
        (secret[:11], "read"),
        (writing[:11], "write"),
    ]
    assert secret[:11] in nonito(*at, "revoke", secret[:11]).stderr
    (row,) = asyncio.run(fetch(database_url, "SELECT revoked_at FROM read_keys"))
    assert row["revoked_at"] is not None


def test_key_that_reads_sends_no_event(
    nonito: Nonito, database_url: str, start_server: StartServer
) -> None:
    """It is refused as any key that nobody knows, and its server logs none of it."""
    made = nonito("--database-url", database_url, "keys", "create", "--app", "shop", "--read")
    secret = succeed(made).strip()
    server = start_server(database_url, log__requests=100)
    unknown = server.post({"event_name": "x"}, **{"X-API-Key": "nr_" + "x" * 43})
    for headers in (
        {"X-API-Key": secret},
        {"X-API-Key": secret, "X-Request-Id": secret},
        {"X-API-Key": "", "Authorization": f"Bearer {secret}"},
    ):
        refused = server.post({"event_name": "x"}, **headers)
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] in {"invalid_api_key", "missing_api_key"}
    first = server.post({"event_name": "x"}, **{"X-API-Key": secret})
    assert first.json() == unknown.json()
    server.stop()
    assert secret not in server.logs()
    assert asyncio.run(fetch(database_url, "SELECT FROM events")) == []
