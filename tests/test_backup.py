"""A back-up as README makes it, restored: the same database, which servers go on with."""

import asyncio
import re
import subprocess
from pathlib import Path

from ingest.store.embedded import find_programs
from tests.conftest import StartServer
from tests.support.postgres import fetch

README = Path(__file__).parent.parent / "README.md"
COUNT = "SELECT count(*), (SELECT id FROM nonito_database) FROM events"
XACTS = "SELECT id, xact FROM events ORDER BY id"


def commands() -> dict[str, str]:
    """Return what README says to type, by program."""
    text = README.read_text(encoding="utf-8").partition("### Back up")[2]
    lines = re.findall(r"^(pg_\w+ .*?)(?:\s+#.*)?$", text, re.MULTILINE)
    return {line.split()[0]: line for line in lines}


def run(command: str, url: str, directory: Path) -> None:
    """Run a command of README's in a directory, with the programs of the newest Postgres."""
    path = f"{find_programs()}:/usr/bin:/bin"
    environment = {"DATABASE_URL": url, "PATH": path}
    subprocess.run(
        ["/bin/sh", "-euc", command], cwd=directory, env=environment, check=True, timeout=60
    )


def test_back_up_that_is_restored_is_the_same_database(
    database_url: str, empty_url: str, start_server: StartServer, tmp_path: Path
) -> None:
    """Its keys open, its events are there, and further ones go on beside them."""
    server = start_server(database_url)
    first = server.post({"event_name": "before"}, **{"Idempotency-Key": "k"}).json()
    run(commands()["pg_dump"], database_url, tmp_path)
    server.stop()
    run(commands()["pg_restore"], empty_url, tmp_path)
    before, after = (asyncio.run(fetch(url, COUNT)) for url in (database_url, empty_url))
    assert [tuple(row) for row in before] == [tuple(row) for row in after]
    ((kept,), (told,)) = (asyncio.run(fetch(url, XACTS)) for url in (database_url, empty_url))
    assert tuple(kept) == tuple(told)
    assert kept["xact"] is not None
    restored = start_server(empty_url, key=server.key)
    again = restored.post({"event_name": "before"}, **{"Idempotency-Key": "k"})
    assert again.json() == first
    assert again.headers["Nonito-Duplicate"] == "true"
    assert restored.post({"event_name": "after"}).status_code == 200
    assert asyncio.run(fetch(empty_url, COUNT))[0][0] == 2
