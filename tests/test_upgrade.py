"""Upgrades: servers of this version and of the one before, on one database, spool and archive."""

import asyncio
import io
import os
import subprocess
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from ingest.archive import verification
from ingest.archive.workspace import Bounds, opened
from ingest.store.cluster import Cluster
from tests.conftest import make_key
from tests.support.command import complaint, run, succeed
from tests.support.load import drive
from tests.support.postgres import fetch
from tests.support.proxies import HAPROXY, free_port, running_haproxy
from tests.support.server import ROOT, Server, running_server, wait_for, wait_until_drained

pytestmark = pytest.mark.slow

BEFORE: Final = "d37abd0136d1013ab8e8199d6258a4f6dae367bf"
"""The commit of the version before: the last one of an older schema, of version 15."""
CONNECTIONS: Final = 8
PAUSE_S: Final = 0.005
SECONDS: Final = float(os.environ.get("UPGRADE_SECONDS", "3"))
"""Of load with each pair of versions."""
TIMEOUT_S: Final = 60


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the version before."""
    packed = subprocess.run(
        ["git", "archive", BEFORE, "ingest"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if packed.returncode != 0:
        pytest.skip(f"the version before is not in this checkout: {packed.stderr.decode()}")
    directory = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory


class Replaceable:
    """A server of one version after the other, at the same address and with the same spool."""

    def __init__(self, url: str, key: str, directory: Path) -> None:
        self._url = url
        self._key = key
        self._settings = {
            "spool.path": directory / "spool",
            "archive.enabled": "true",
            "archive.path": directory.parent / "archive",
            "archive.interval_s": 1,
            "server.drain_s": 5,  # as in the image
        }
        self._stack = ExitStack()
        self.port = free_port()
        self.server: Server | None = None

    def run(self, root: Path) -> Server:
        """Stop what runs in good order, and start the version of a checkout."""
        if self.server is not None:
            assert self.server.stop() == 0
        self._stack.close()
        self.server = self._stack.enter_context(
            running_server(
                ("--database-url", self._url),
                self._key,
                self._settings,
                port=self.port,
                root=root,
            )
        )
        return self.server

    def close(self) -> None:
        """End it."""
        self._stack.close()


def migrate(url: str, root: Path) -> None:
    """Bring a database to the schema of a checkout, as its operator does."""
    succeed(run("--database-url", url, "migrate", variables={"PYTHONPATH": str(root)}))


def version_of(url: str) -> int:
    """Return the schema's."""
    rows = asyncio.run(fetch(url, "SELECT max(version) FROM nonito_migrations"))
    return int(rows[0][0])


@pytest.fixture
def older_url(empty_url: str, before: Path) -> str:
    """A database of the version before."""
    migrate(empty_url, before)
    return empty_url


@pytest.mark.timeout(300)
@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first", "last"])
async def test_servers_of_both_versions_side_by_side_cost_nobody_an_answer(
    older_url: str, before: Path, tmp_path: Path, order: tuple[int, int]
) -> None:
    """Each request gets its 200, each 200 is one row, and the archive has all of them."""
    key = await asyncio.to_thread(make_key, older_url)
    servers: list[Replaceable] = []
    with ExitStack() as stack:
        for name in ("a", "b"):
            server = Replaceable(older_url, key, tmp_path / name)
            servers.append(server)
            stack.callback(server.close)
            await asyncio.to_thread(server.run, before)
        proxy = stack.enter_context(running_haproxy([each.port for each in servers], key))
        stop = asyncio.Event()
        load = asyncio.create_task(drive(proxy, CONNECTIONS, stop, PAUSE_S))
        await asyncio.sleep(SECONDS)
        for number in order:
            await asyncio.to_thread(servers[number].run, ROOT)
            await asyncio.sleep(SECONDS)
        stop.set()
        history = await load
        assert (dict(history.statuses), history.broken) == ({200: len(history.sent)}, 0)
        rows = await fetch(older_url, "SELECT id::text FROM events")
        assert sorted(row["id"] for row in rows) == sorted(history.sent)
        await asyncio.to_thread(assert_archived, older_url, tmp_path / "archive", len(rows))


def assert_archived(url: str, path: Path, events: int) -> None:
    """Wait until all is in files, and assert that these hold what Postgres holds."""
    sql = "SELECT coalesce(sum(rows), 0)::int AS count FROM archive_files WHERE has_links"
    wait_for(lambda: asyncio.run(fetch(url, sql))[0]["count"] == events, TIMEOUT_S)
    with opened(url, Bounds(128 << 20, 1, path)) as workspace:
        found = verification.verify(workspace, path, lambda _: None)
    assert (found.is_good, found.events, found.tail) == (True, events, 0)


def test_spool_of_the_version_before_is_read(
    own_cluster: Cluster, before: Path, tmp_path: Path
) -> None:
    """What it answered with 202 while Postgres was away is stored once, by the version after."""
    own_cluster.create_database("older")
    url = own_cluster.url("older")
    migrate(url, before)
    server = Replaceable(url, make_key(url), tmp_path / "a")
    try:
        older = server.run(before)
        assert older.post({"event_name": "known"}).status_code == 200
        own_cluster.stop("immediate")
        statuses = [
            older.post({"event_name": "spooled", "event_params": {"n": n}}).status_code
            for n in range(20)
        ]
        assert statuses == [202] * 20
        older.kill()
        server.server = None
        own_cluster.start("max_connections=300")
        wait_until_drained(server.run(ROOT))
        rows = asyncio.run(fetch(url, "SELECT event_params ->> 'n' AS n FROM events"))
        assert sorted(row["n"] or "" for row in rows) == sorted(["", *map(str, range(20))])
    finally:
        server.close()


def test_version_before_refuses_a_database_of_this_one(database_url: str, before: Path) -> None:
    """In words, and before it takes an event."""
    variables = {"PYTHONPATH": str(before)}
    for command in (("serve", "--port", "0"), ("migrate",)):
        said = complaint(run("--database-url", database_url, *command, variables=variables))
        assert "run a newer version of nonito" in said
