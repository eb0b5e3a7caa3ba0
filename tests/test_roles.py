"""A server whose role may make nothing: README's GRANTs are enough, and `nonito check` knows."""

import asyncio
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.conftest import StartServer, make_key
from tests.support.command import Nonito, complaint, run_here, succeed
from tests.support.postgres import fetch
from tests.support.server import ROOT, Server, wait_for, wait_until_drained
from tests.test_outage import rows_of

ROLE = "test_server"
NAMES = "SELECT event_name, tableoid::regclass::text AS home FROM events"


@pytest.fixture
def nonito(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Nonito:
    """The command without a process of its own."""
    return run_here(monkeypatch, capfd)


@pytest.fixture
def role_url(empty_url: str) -> Iterator[str]:
    """The way into an empty database as a role that may do nothing there yet."""
    asyncio.run(fetch(empty_url, f"CREATE ROLE {ROLE} LOGIN"))
    yield empty_url.replace("//postgres@", f"//{ROLE}@")
    for statement in (f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}"):
        asyncio.run(fetch(empty_url, statement))


def documented_grants(url: str) -> list[str]:
    """Return README's statements, for a database and the role of these tests."""
    readme = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"```sql\n(GRANT CONNECT.*?)```", readme, re.DOTALL)
    named = block.replace("nonito_server", ROLE)
    named = named.replace("DATABASE nonito", f"DATABASE {urlsplit(url).path.removeprefix('/')}")
    return [line.partition(";")[0] for line in named.splitlines()]


def grant(url: str) -> None:
    """Run them as the owner of the tables."""
    for statement in documented_grants(url):
        asyncio.run(fetch(url, statement))


def wrong(stdout: str) -> list[str]:
    """Return what `nonito check` found wrong."""
    return [line for line in stdout.splitlines() if line.startswith("WRONG ")]


def assert_stores_all_kinds(server: Server) -> None:
    """Post what takes every way into the tables: plain, by id or key, of the past, a batch."""
    old = {"event_name": "old", "timestamp": "2024-06-01T00:00:00Z"}
    key = {"Idempotency-Key": "one"}
    answers = [
        server.post({"event_name": "plain"}),
        server.post({"event_name": "keyed"}, **key),
        server.post({"event_name": "keyed"}, **key),
        server.post(old),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert answers[2].headers["Nonito-Duplicate"] == "true"


def test_role_that_can_make_nothing_serves_with_the_documented_grants(
    nonito: Nonito, empty_url: str, role_url: str, start_server: StartServer
) -> None:
    """After the owner's `nonito migrate`: keys are made, every kind of event is stored."""
    succeed(nonito("--database-url", empty_url, "migrate"))
    grant(empty_url)
    key = succeed(nonito("--database-url", role_url, "keys", "create", "--app", "x")).strip()
    checked = nonito("--database-url", role_url, "check")
    assert wrong(checked.stdout) == []
    assert "another role has to make more" in checked.stdout
    server = start_server(role_url, key=key)
    assert_stores_all_kinds(server)
    assert server.stop() == 0
    homes = {row["event_name"]: row["home"] for row in rows_of(empty_url, NAMES)}
    assert homes.keys() == {"plain", "keyed", "old"}
    assert homes["old"] == "events_default"
    assert homes["plain"] != "events_default"
    assert '"error"' not in server.logs()
    assert '"critical"' not in server.logs()
    assert server.logs().count("events stay in events_default") == 1
    assert (
        "revoked" in nonito("--database-url", role_url, "keys", "revoke", key[:11]).stderr.lower()
    )


def test_permission_that_is_taken_away_is_named_and_is_no_outage(
    nonito: Nonito, empty_url: str, role_url: str, start_server: StartServer
) -> None:
    """Events wait for it; `/readyz` and the log say which, and that Postgres is there."""
    succeed(nonito("--database-url", empty_url, "migrate"))
    grant(empty_url)
    server = start_server(role_url, key=make_key(empty_url))
    asyncio.run(fetch(empty_url, f"REVOKE INSERT ON events FROM {ROLE}"))
    assert server.post({"event_name": "waits"}).status_code == 202
    wait_for(lambda: server.get("/readyz").json()["postgres"] == "failing")
    reason = server.get("/readyz").json()["reason"]
    assert reason == "a permission is missing, SQLSTATE 42501: permission denied for table events"
    wait_for(lambda: "Postgres takes no events" in server.logs())
    assert "Postgres is away" not in server.logs()
    asyncio.run(fetch(empty_url, f"GRANT INSERT ON events TO {ROLE}"))
    wait_until_drained(server)
    assert [row["event_name"] for row in rows_of(empty_url, NAMES)] == ["waits"]


def test_check_says_that_a_role_can_not_make_the_tables(
    nonito: Nonito, empty_url: str, role_url: str
) -> None:
    """So do `serve` and `keys`, in one line; and nothing was made."""
    ended = nonito("--database-url", role_url, "check")
    assert ended.returncode == 1
    (told,) = wrong(ended.stdout)
    for said in (
        told,
        complaint(nonito("--database-url", role_url, "keys", "list")),
        complaint(nonito("--database-url", role_url, "migrate")),
    ):
        assert "permission denied for schema public" in said
        assert "nonito migrate" in said
    assert rows_of(empty_url, "SELECT FROM pg_class WHERE relname = 'apps'") == []


def test_check_says_that_a_role_can_not_apply_what_is_due(
    nonito: Nonito, empty_url: str, role_url: str
) -> None:
    """The owner can; for him that is no fault, as his server would do it."""
    succeed(nonito("--database-url", empty_url, "migrate"))
    grant(empty_url)
    last = "(SELECT max(version) FROM nonito_migrations)"
    asyncio.run(fetch(empty_url, f"DELETE FROM nonito_migrations WHERE version = {last}"))
    (told,) = wrong(nonito("--database-url", role_url, "check").stdout)
    assert "1 migrations are due" in told
    assert "nonito migrate" in told
    shown = succeed(nonito("--database-url", empty_url, "check"))
    assert "ok    1 migrations are due: `nonito serve` applies them" in shown


def test_check_wants_partitions_that_the_role_can_not_make(
    nonito: Nonito, empty_url: str, role_url: str
) -> None:
    """For the owner it is no fault that there are none yet."""
    succeed(nonito("--database-url", empty_url, "migrate"))
    grant(empty_url)
    make_key(empty_url)
    parts = "SELECT relname FROM pg_class WHERE relname ~ '^events_[0-9]+_[0-9]+$'"
    for row in rows_of(empty_url, parts):
        asyncio.run(fetch(empty_url, f"DROP TABLE {row['relname']}"))
    (told,) = wrong(nonito("--database-url", role_url, "check").stdout)
    assert "no partition of events holds today" in told
    assert "nonito migrate" in told
    shown = succeed(nonito("--database-url", empty_url, "check"))
    assert "ok    no partition of events holds today yet: `nonito serve` makes them" in shown
    assert rows_of(empty_url, parts) == []


@pytest.mark.parametrize("revoked", documented_grants("x:///x")[1:])
def test_no_documented_grant_is_superfluous(
    nonito: Nonito, empty_url: str, role_url: str, revoked: str
) -> None:
    """Without it `nonito check` finds something wrong, before a server does."""
    succeed(nonito("--database-url", empty_url, "migrate"))
    grant(empty_url)
    make_key(empty_url)
    assert wrong(nonito("--database-url", role_url, "check").stdout) == []
    statement = revoked.replace("GRANT", "REVOKE", 1).replace(" TO ", " FROM ")
    asyncio.run(fetch(empty_url, statement))
    if "nonito_database" in revoked or "USAGE ON SCHEMA" in revoked:  # PUBLIC has it as well
        asyncio.run(fetch(empty_url, statement.replace(ROLE, "PUBLIC")))
    assert wrong(nonito("--database-url", role_url, "check").stdout) != []


def test_check_before_anything_else_finds_nothing_wrong_with_an_empty_database(
    nonito: Nonito, empty_url: str
) -> None:
    """As README has it: check, then a key, then serve. It makes nothing, and says what comes."""
    at = ("--database-url", empty_url)
    shown = succeed(nonito(*at, "check"))
    assert "ok    the database is empty: `nonito serve` makes the tables" in shown
    assert "no API key: nonito keys create" in shown
    assert rows_of(empty_url, "SELECT FROM pg_class WHERE relname = 'nonito_migrations'") == []
    succeed(nonito(*at, "keys", "create", "--app", "x"))
    assert wrong(succeed(nonito(*at, "check"))) == []


def test_owner_makes_partitions_for_others(nonito: Nonito, empty_url: str) -> None:
    """As many as are configured, whenever it is run; and it says until when they last."""
    at = ("--database-url", empty_url, "migrate")
    first = succeed(nonito(*at, settings={"events.partitions_ahead": 1}))
    again = succeed(nonito(*at, settings={"events.partitions_ahead": 5}))
    assert "2 partitions of events" in first
    assert "6 partitions of events" in again
