"""The first key, for whoever starts a server without a terminal: in a file, and nowhere else."""

import asyncio
import stat
from pathlib import Path

from tests.conftest import StartServer, make_key
from tests.support.command import complaint, run
from tests.support.postgres import fetch
from tests.support.server import Server


def keys_of(url: str) -> list[tuple[str, str]]:
    """Return app and prefix of every key in a database."""
    found = asyncio.run(
        fetch(url, "SELECT a.name, prefix FROM api_keys JOIN apps a ON a.id = app_id")
    )
    return [(row["name"], row["prefix"]) for row in found]


def told_of_keys(server: Server) -> str:
    """Return the line that is printed after the address."""
    assert server.process.stdout is not None
    return server.process.stdout.readline().decode()


def test_first_key_is_in_the_file_and_works_at_once(
    start_server: StartServer, database_url: str, tmp_path: Path
) -> None:
    """Readable by its owner only, and not in what is printed or logged."""
    file = tmp_path / "key"
    server = start_server(database_url, key="none yet", keys__first_key_file=file)
    secret = server.key = file.read_text().removesuffix("\n")
    assert server.post({"event_name": "x"}).status_code == 200
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    assert keys_of(database_url) == [("default", secret[:11])]
    told = told_of_keys(server)
    assert str(file) in told
    assert secret not in told + server.logs()


def test_no_first_key_is_made_beside_another(
    start_server: StartServer, database_url: str, tmp_path: Path
) -> None:
    """An app that is there was somebody's wish, and so is a file of an earlier start."""
    secret = make_key(database_url, "shop")
    (tmp_path / "key").write_text("of an earlier start")
    server = start_server(database_url, key=secret, keys__first_key_file=tmp_path / "key")
    assert server.post({"event_name": "x"}).status_code == 200
    assert "nonito keys create" in told_of_keys(server)
    assert (tmp_path / "key").read_text() == "of an earlier start"
    assert keys_of(database_url) == [("shop", secret[:11])]


def test_nobody_asked_for_an_app_in_a_database_of_their_own(
    start_server: StartServer, database_url: str
) -> None:
    """One line says how to make one."""
    server = start_server(database_url, key="none")
    assert told_of_keys(server) == "No API key yet: nonito keys create --app default\n"
    assert keys_of(database_url) == []


def test_file_that_can_not_be_written_is_one_line_and_leaves_no_key(
    database_url: str, tmp_path: Path
) -> None:
    """A key that nobody has would be the first for ever."""
    file = tmp_path / "none" / "key"
    ended = run(
        *("--database-url", database_url, "serve", "--port", "0"),
        settings={
            "keys.first_key_file": file,
            "log.level": "error",
            "spool.path": tmp_path / "spool",
        },
    )
    assert f"keys.first_key_file {file}: No such file or directory" in complaint(ended)
    assert keys_of(database_url) == []
