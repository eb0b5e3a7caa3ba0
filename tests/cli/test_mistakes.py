"""What can't be done is one line on standard error, without a password."""

import asyncio
import re
import socket
from pathlib import Path

import pytest

from tests.support.command import Nonito, complaint, run
from tests.support.postgres import fetch

SECRET = "hunter2"


def test_port_in_use_is_one_line(database_url: str) -> None:
    """It names the address, and is found out before anything else is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = complaint(run("--database-url", database_url, "serve", "--port", port))
    assert f"127.0.0.1:{port}" in told
    assert "server.port" in told


def test_host_that_is_not_ours_is_one_line(nonito: Nonito, database_url: str) -> None:
    """An address of another machine, and a name that nobody has."""
    for host in ("192.0.2.1", "nobody.invalid"):
        ended = nonito("--database-url", database_url, "serve", "--host", host, "--port", "0")
        assert host in complaint(ended)


@pytest.mark.parametrize("arguments", [("serve", "--port", "0"), ("check",)])
def test_database_out_of_reach_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Without the password, and without a traceback; `serve` waits a while and logs that."""
    ended = run(
        *("--database-url", f"postgresql://somebody:{SECRET}@127.0.0.1:1/events", *arguments),
        settings={
            "database.start_timeout_s": 0.5,
            "log.level": "error",
            "spool.path": tmp_path / "spool",  # no keys known from before: it can't start without
        },
    )
    told = complaint(ended)
    assert "the connection was refused: 127.0.0.1:1, database events" in told
    assert SECRET not in told


def test_database_url_that_is_none_is_one_line_without_the_password(nonito: Nonito) -> None:
    """Also when the password's own characters are what makes it unreadable."""
    told = complaint(nonito("--database-url", f"postgresql://u:{SECRET}/x@h/d", "keys", "list"))
    assert "database.url" in told
    assert SECRET not in told


def test_database_that_does_not_exist_is_one_line(nonito: Nonito, database_url: str) -> None:
    """Postgres's own words."""
    url = re.sub(r"test_\d+_\d+", "nowhere", database_url)
    assert 'database "nowhere" does not exist' in complaint(nonito("--database-url", url, "check"))


@pytest.mark.parametrize("arguments", [("serve",), ("psql",)])
def test_malformed_configuration_is_one_line(
    nonito: Nonito, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """It names the file."""
    path = tmp_path / "config.toml"
    path.write_text("[server\n")
    assert str(path) in complaint(nonito("--config", str(path), *arguments))


def test_mistaken_setting_is_one_line(nonito: Nonito) -> None:
    """In the environment as well."""
    assert "NONITO_SERVER_PORT" in complaint(nonito("check", settings={"server.prot": 1}))


def test_database_newer_than_the_server_is_one_line(nonito: Nonito, own_url: str) -> None:
    """Serving, keys, and checking all say so."""
    insert = "INSERT INTO nonito_migrations VALUES (999, 'of the future')"
    asyncio.run(fetch(own_url, insert))
    for arguments in (("serve", "--port", "0"), ("keys", "list")):
        assert "newer version" in complaint(nonito("--database-url", own_url, *arguments))
    ended = nonito("--database-url", own_url, "check")
    assert ended.returncode == 1
    assert "WRONG the database has schema version 999" in ended.stdout


@pytest.mark.parametrize(
    "url", ["postgresql://u:{}@h:x/d", "postgresql://u:{}#@h/d", "postgresql://u:{}/@h/d"]
)
def test_url_that_can_not_be_taken_apart_is_not_shown(url: str) -> None:
    """A password that is not encoded may stand anywhere in it."""
    told = complaint(run("psql", settings={"database.url": url.format(SECRET)}))
    assert "database.url can't be used" in told
    assert SECRET not in told
