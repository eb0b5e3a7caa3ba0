"""The `nonito` command: what it prints, and one line on standard error for what can't be done."""

import asyncio
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ingest import __version__
from ingest.cli.root import COMMANDS as ROOT_COMMANDS
from ingest.cli.root import command
from ingest.store.embedded import find_programs
from tests.conftest import make_key
from tests.store.events import alter_database, empty
from tests.support.command import Nonito, complaint, run, run_here, succeed
from tests.support.postgres import fetch

SECRET = "hunter2"


def commands(group: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    """Return the path of every command below a group, its own too."""
    yield path
    if isinstance(group, click.Group):
        for name in group.list_commands(CONTEXT):
            yield from commands(below(group, name), *path, name)


def below(group: click.Command, *path: str) -> click.Command:
    """Return the command that lies below a group."""
    for name in path:
        assert isinstance(group, click.Group)
        found = group.get_command(CONTEXT, name)
        assert found
        group = found
    return group


CONTEXT = click.Context(command)
COMMANDS = list(commands(command))


@pytest.fixture
def nonito(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Nonito:
    """The command without a process of its own, for tests that start nothing."""
    return run_here(monkeypatch, capfd)


@pytest.fixture
def database_url(shared_database_url: str) -> str:
    """The module's database without any rows; its schema is nobody's to change."""
    asyncio.run(empty(shared_database_url))
    return shared_database_url


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    """--help says what it does and what each option is for."""
    shown = CliRunner().invoke(command, [*path, "--help"], prog_name="nonito")
    assert shown.exit_code == 0
    assert f"Usage: {' '.join(('nonito', *path))}" in shown.output
    assert len(shown.output.splitlines()) > 4
    found = below(command, *path)
    assert found.help
    options = [param for param in found.params if isinstance(param, click.Option)]
    assert [option.name for option in options if not option.help and option.name != "app"] == []


def test_commands_are_the_documented_ones() -> None:
    """None is left out of the tests by being nested or renamed."""
    documented = {"serve", "keys", "keys create", "keys list", "keys revoke", "check", "psql"}
    documented |= {"migrate", "apps", "apps list", "apps set"}
    documented |= {"spool", "spool status", "spool export"}
    documented |= {"rejected", "rejected list", "rejected retry", "rejected drop"}
    documented |= {"query", "query trends", "query funnel", "query retention"}
    documented |= {"query names", "query events", "query person"}
    assert documented <= {" ".join(path) for path in COMMANDS}


@pytest.mark.parametrize("name", ROOT_COMMANDS)
def test_summary_in_the_help_is_the_command_s_own(name: str) -> None:
    """`nonito --help` shows it without having imported the command."""
    (first, *_) = (below(command, name).help or "").partition("\n\n")
    assert " ".join(first.split()).startswith(ROOT_COMMANDS[name].summary.removesuffix("."))
    assert f"\n  {name} " in CliRunner().invoke(command, ["--help"]).output


def test_version_is_printed() -> None:
    """As the package has it."""
    assert succeed(run("--version")).strip() == f"nonito, version {__version__}"


IMPORTED = """
import atexit, sys
atexit.register(lambda: print("imported:", *sys.modules))
from ingest.cli import main
main()
"""


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("nothing",)])
def test_command_that_does_little_imports_little(arguments: tuple[str, ...]) -> None:
    """The server's parts take half a second of processor time, ten times the rest."""
    shown = run(*arguments, command=(sys.executable, "-c", IMPORTED)).stdout
    modules = set(shown.rpartition("imported:")[2].split())
    heavy = {"aiohttp", "asyncpg", "msgspec", "prometheus_client", "sqlite3", "structlog", "uvloop"}
    assert "click" in modules
    assert modules & heavy == set()


CONFIGURED = [
    ("--config", "{}", "check"),
    ("check", "--config", "{}"),
    ("--config", "{}", "keys", "list"),
    ("keys", "--config", "{}", "list"),
    ("keys", "list", "--config", "{}"),
    ("psql", "-c", "SELECT 1", "--config", "{}"),
    ("--config", "other.toml", "serve", "--config", "{}"),
]


@pytest.mark.parametrize("arguments", CONFIGURED, ids=" ".join)
def test_option_that_every_command_has_may_stand_before_it_or_behind(
    nonito: Nonito, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Of two the nearer to the command's end counts."""
    path = tmp_path / "config.toml"
    path.write_text("[server\n")
    assert str(path) in complaint(nonito(*(each.format(path) for each in arguments)))


@pytest.mark.parametrize(
    ("option", "told"),
    [("--database-url=nonsense", "database.url"), ("--data-dir=/dev/null", "/dev/null")],
)
def test_database_may_be_named_before_a_command_or_behind_it(
    nonito: Nonito, option: str, told: str
) -> None:
    """As the configuration file may."""
    for arguments in ((option, "keys", "list"), ("keys", "list", option)):
        assert told in complaint(nonito(*arguments))


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
    assert head == ["PREFIX", "APP", "NAME", "STATE", "CREATED", "EXPIRES", "MAY"]
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


def test_check_finds_nothing_wrong_with_a_database_that_was_served(
    nonito: Nonito, database_url: str
) -> None:
    """Every line says ok, and there is a line for each thing that serving needs."""
    make_key(database_url)
    lines = succeed(nonito("--database-url", database_url, "check")).splitlines()
    assert [line for line in lines if not line.startswith("ok    ")] == []
    assert len(lines) >= 9


CHECKS = {
    "durability": ("SET synchronous_commit TO off", "synchronous_commit is off"),
    "read-only": ("SET default_transaction_read_only TO on", "read-only"),
}


@pytest.mark.parametrize(("setting", "told"), CHECKS.values(), ids=CHECKS)
def test_check_finds_settings_that_lose_or_refuse_events(
    nonito: Nonito, own_url: str, setting: str, told: str
) -> None:
    """Exactly that is wrong, and the exit code is 1."""
    make_key(own_url)
    asyncio.run(alter_database(own_url, setting))
    ended = nonito("--database-url", own_url, "check")
    wrong = [line for line in ended.stdout.splitlines() if line.startswith("WRONG ")]
    assert ended.returncode == 1
    assert len(wrong) == 1
    assert told in wrong[0]


def test_check_finds_missing_partitions_keys_and_permissions(nonito: Nonito, own_url: str) -> None:
    """All of them at once."""
    drop = (
        "DO $$ DECLARE part text; BEGIN FOR part IN SELECT inhrelid::regclass FROM pg_inherits"
        " WHERE inhparent = 'events'::regclass AND inhrelid <> 'events_default'::regclass"
        " LOOP EXECUTE 'DROP TABLE ' || part; END LOOP; END $$"
    )
    asyncio.run(fetch(own_url, drop))
    asyncio.run(alter_database(own_url, "SET role TO pg_read_all_data"))
    ended = nonito("--database-url", own_url, "check")
    assert ended.returncode == 1
    for told in ("no partition of events holds today", "can't store events: .*42501", "no API key"):
        assert re.search(f"^WRONG .*{told}", ended.stdout, re.MULTILINE)


OBSTACLES = {
    "row-level security": (
        "ALTER TABLE events ENABLE ROW LEVEL SECURITY; ALTER TABLE events FORCE ROW LEVEL SECURITY",
        "row-level security",
    ),
    "no rights on rejected events": ("REVOKE INSERT ON rejected_events FROM test_role", "42501"),
    "no temporary tables": ("REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC, test_role", "42501"),
    "renamed column": ("ALTER TABLE events RENAME COLUMN event_name TO named", "42703"),
}


@pytest.mark.parametrize(("obstacle", "told"), OBSTACLES.values(), ids=OBSTACLES)
def test_check_tries_all_that_storing_takes(
    nonito: Nonito, own_url: str, obstacle: str, told: str
) -> None:
    """As the role that serves; and leaves nothing behind."""
    make_key(own_url)
    ((name,),) = asyncio.run(fetch(own_url, "SELECT current_database()"))
    role = (
        "DO $$ BEGIN CREATE ROLE test_role; EXCEPTION WHEN duplicate_object THEN END $$;"
        " GRANT ALL ON ALL TABLES IN SCHEMA public TO test_role;"
        f" GRANT TEMPORARY ON DATABASE {name} TO test_role"
    )
    for statement in (role, obstacle.format(name=name)):
        asyncio.run(fetch(own_url, f"DO $do$ BEGIN EXECUTE $script${statement}$script$; END $do$"))
    asyncio.run(alter_database(own_url, "SET role TO test_role"))
    ended = nonito("--database-url", own_url, "check")
    wrong = [line for line in ended.stdout.splitlines() if line.startswith("WRONG ")]
    assert ended.returncode == 1
    assert len(wrong) == 1
    assert told in wrong[0]


def test_check_tells_of_events_that_were_rejected_just_now(nonito: Nonito, own_url: str) -> None:
    """With what refused them; an hour later it is no alarm any more."""
    make_key(own_url)
    insert = (
        "INSERT INTO rejected_events (app_id, id, event_name, event_params, created_at, sqlstate,"
        " message, on_table, broken_constraint)"
        " VALUES (1, gen_random_uuid(), 'a', '{}', now(), '23514', 'no', 'events', 'too_small')"
    )
    asyncio.run(fetch(own_url, insert))
    ended = nonito("--database-url", own_url, "check")
    assert ended.returncode == 1
    assert re.search("WRONG 1 rejected events.*23514.*constraint too_small", ended.stdout)
    asyncio.run(fetch(own_url, "UPDATE rejected_events SET rejected_at = now() - interval '1 h'"))
    assert "ok    1 rejected events" in succeed(nonito("--database-url", own_url, "check"))


def test_psql_runs_on_the_configured_database(nonito: Nonito, database_url: str) -> None:
    """With psql's own options, and psql's exit code."""
    path = {"PATH": str(find_programs())}
    at = ("--database-url", database_url, "psql", "-X", "-A", "-t", "-c")
    name = succeed(nonito(*at, "SELECT current_database()", variables=path)).strip()
    assert name
    assert f"/{name}?" in database_url
    assert nonito(*at, "SELEC", variables=path).returncode == 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres:hunter%402@/{name}?host={host}",
        "postgresql://postgres@/{name}?host={host}&password=hunter%402&application_name=a%20b",
        "postgresql://postgres:hunter%402@/{name}?password=other&host={host}",
        "postgresql:///{name}?user=postgres&password=hunter%402&host={host}",
    ],
)
def test_password_is_on_no_command_line(database_url: str, url: str) -> None:
    """Everybody on the machine sees those of all processes; psql has it from its environment."""
    name, host = database_url.removeprefix("postgresql://postgres@/").split("?host=")
    at = {"database.url": url.format(name=name, host=host)}
    show = r"\! tr '\0' '\n' < /proc/$PPID/cmdline; printenv PGPASSWORD"
    shown = succeed(run("psql", "-X", "-A", "-t", "-c", show, settings=at)).splitlines()
    assert shown[0].endswith("psql")
    assert name in shown[1]
    assert [line for line in shown if "hunter" in line] == [shown[-1]] == ["hunter@2"]
    asked = run("psql", "-X", "-A", "-t", "-c", "SELECT current_database()", settings=at)
    assert succeed(asked) == f"{name}\n"


@pytest.mark.parametrize(
    "url", ["postgresql://u:{}@h:x/d", "postgresql://u:{}#@h/d", "postgresql://u:{}/@h/d"]
)
def test_url_that_can_not_be_taken_apart_is_not_shown(url: str) -> None:
    """A password that is not encoded may stand anywhere in it."""
    told = complaint(run("psql", settings={"database.url": url.format(SECRET)}))
    assert "database.url can't be used" in told
    assert SECRET not in told


def test_psql_that_is_not_installed_is_one_line(
    nonito: Nonito, database_url: str, tmp_path: Path
) -> None:
    """It says what to install."""
    ended = nonito("--database-url", database_url, "psql", variables={"PATH": str(tmp_path)})
    assert "postgresql-client" in complaint(ended)
