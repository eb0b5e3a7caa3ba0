"""`nonito psql`: on the configured database, with the password on no command line."""

from pathlib import Path

import pytest

from ingest.store.embedded import find_programs
from tests.support.command import Nonito, complaint, run, succeed


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


def test_psql_that_is_not_installed_is_one_line(
    nonito: Nonito, database_url: str, tmp_path: Path
) -> None:
    """It says what to install."""
    ended = nonito("--database-url", database_url, "psql", variables={"PATH": str(tmp_path)})
    assert "postgresql-client" in complaint(ended)
