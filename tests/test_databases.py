"""A server that meets another database than its own: nothing of the one gets into the other.

App 1 of the one is somebody else in the other. So what was spooled stays in the spool, keys open
nothing, and the server says what to do.
"""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import pytest

from ingest.spool.owner import NAME
from ingest.store.api_key_snapshot import NAME as KEYS_NAME
from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer, make_key, prepare
from tests.support.command import run, succeed
from tests.support.postgres import fetch, make_postgres
from tests.support.server import Server, books_balance, wait_for, wait_until_drained
from tests.test_outage import names, post, rows_of

pytestmark = pytest.mark.slow

OTHER, ASIDE = "other", "aside"
ID = "SELECT id FROM nonito_database"


@pytest.fixture
def clusters(own_cluster: Cluster) -> Cluster:
    """A cluster with two migrated databases, `own` and `other`, each with an app of its own."""
    own_cluster.create_database(OTHER)
    asyncio.run(prepare(make_postgres(own_cluster.url(OTHER))))
    make_key(own_cluster.url(OTHER), "somebody else")
    return own_cluster


def id_of(url: str) -> str:
    """Return the id of a database."""
    return str(rows_of(url, ID)[0]["id"])


def rename(cluster: Cluster, name: str, new_name: str) -> None:
    """Rename a database, whoever uses it."""
    cluster.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    cluster.execute(
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    cluster.execute(f"ALTER DATABASE {name} RENAME TO {new_name}")
    cluster.execute(f"ALTER DATABASE {new_name} ALLOW_CONNECTIONS true")


def exchange(cluster: Cluster) -> None:
    """Put `other` in the place of `own`."""
    rename(cluster, OWN_DATABASE, ASIDE)
    rename(cluster, OTHER, OWN_DATABASE)


def exchange_back(cluster: Cluster) -> None:
    """Put `own` into its place again."""
    rename(cluster, OWN_DATABASE, OTHER)
    rename(cluster, ASIDE, OWN_DATABASE)


def leave_spooled(cluster: Cluster, start_server: StartServer, spool: Path, *sent: str) -> Server:
    """Have a server spool events of `own`'s first app and end; return it, for its key."""
    server = start_server(cluster.url(OWN_DATABASE), spool__path=spool)
    assert post(server, "before") == 200
    cluster.stop()
    assert [post(server, name) for name in sent] == [202] * len(sent)
    assert server.stop() == 0
    cluster.start()
    return server


def refusal(url: str, spool: Path) -> str:
    """Return the line with which a server refuses to start."""
    ended = run("--database-url", url, "serve", "--port", "0", settings={"spool.path": spool})
    assert ended.returncode == 1, ended.stdout
    return ended.stderr.splitlines()[-1]


def is_foreign(server: Server) -> bool:
    """Whether the server says that it is another database."""
    return "another database" in server.get("/readyz").json().get("reason", "")


def test_server_does_not_start_with_the_spool_of_another_database(
    clusters: Cluster, start_server: StartServer, tmp_path: Path, empty_url: str
) -> None:
    """One line says what to do. A database without anything in it stays so."""
    leave_spooled(clusters, start_server, tmp_path, "one", "two")
    own, other = clusters.url(OWN_DATABASE), clusters.url(OTHER)
    for url in (other, empty_url):
        told = refusal(url, tmp_path)
        for part in (id_of(own), "database.url", "spool.path", "nonito spool adopt"):
            assert part in told
    assert names(other) == []
    assert rows_of(empty_url, "SELECT relname FROM pg_class WHERE relname LIKE 'nonito%'") == []
    wait_until_drained(start_server(own, spool__path=tmp_path))
    assert names(own) == ["before", "one", "two"]


def test_database_that_turns_out_to_be_another_one_gets_nothing(
    clusters: Cluster, start_server: StartServer, tmp_path: Path
) -> None:
    """The server started without Postgres. It spools until the right one is there again."""
    before = leave_spooled(clusters, start_server, tmp_path, "one")
    url = clusters.url(OWN_DATABASE)
    exchange(clusters)
    clusters.stop()
    server = start_server(url, key=before.key, spool__path=tmp_path)
    assert post(server, "two") == 202
    clusters.start()
    wait_for(lambda: is_foreign(server))
    wait_for(lambda: "nonito spool adopt" in server.logs())
    assert post(server, "three") == 202
    assert names(url) == []
    exchange_back(clusters)
    wait_until_drained(server)
    wait_for(lambda: post(server, "four") == 200)
    assert names(url) == ["before", "one", "two", "three", "four"]
    assert names(clusters.url(OTHER)) == []
    assert books_balance(server.metrics()) == 0


def test_database_that_is_exchanged_while_the_server_runs_gets_nothing(
    clusters: Cluster, start_server: StartServer
) -> None:
    """Its keys open nothing here, and the known ones go on working."""
    url = clusters.url(OWN_DATABASE)
    theirs = make_key(clusters.url(OTHER), "somebody else")
    server = start_server(url, keys__poll_interval_s=0.1)
    assert post(server, "before") == 200
    exchange(clusters)
    assert post(server, "during") == 202
    wait_for(lambda: is_foreign(server))
    assert post(server, "during") == 202
    assert server.post({"event_name": "x"}, **{"X-API-Key": theirs}).status_code == 401
    assert names(url) == []
    exchange_back(clusters)
    wait_until_drained(server)
    assert names(url) == ["before", "during", "during"]
    assert names(clusters.url(OTHER)) == []


def test_database_that_is_exchanged_under_a_connection_is_found_out(
    own_url: str, start_server: StartServer
) -> None:
    """As a dump that is restored in place, or a pooler that leads elsewhere by now."""
    server = start_server(own_url)
    own_id = id_of(own_url)
    rows_of(own_url, "UPDATE nonito_database SET id = gen_random_uuid()")
    wait_for(lambda: is_foreign(server))
    assert post(server, "spooled") == 202
    rows_of(own_url, f"UPDATE nonito_database SET id = '{own_id}'")
    wait_until_drained(server)
    assert names(own_url) == ["spooled"]


def test_keys_of_another_database_open_nothing(
    clusters: Cluster, start_server: StartServer, tmp_path: Path
) -> None:
    """A keys.json that was copied into a spool is no reason to start without Postgres."""
    leave_spooled(clusters, start_server, tmp_path)
    kept = json.loads((tmp_path / KEYS_NAME).read_text())
    assert kept["database_id"] == id_of(clusters.url(OWN_DATABASE)) == owner_in(tmp_path)
    (tmp_path / KEYS_NAME).write_text(json.dumps(kept | {"database_id": str(uuid4())}))
    clusters.stop()
    settings = {"spool.path": tmp_path, "database.start_timeout_s": 0.5}
    url = clusters.url(OWN_DATABASE)
    ended = run("--database-url", url, "serve", "--port", "0", settings=settings)
    assert ended.returncode == 1
    assert "another database's" in ended.stderr


def owner_in(spool: Path) -> str:
    """Return the id in a spool directory."""
    return (spool / NAME).read_text().strip()


def test_keys_say_which_database_is_meant_where_the_spool_forgot(
    clusters: Cluster, start_server: StartServer, tmp_path: Path
) -> None:
    """Events are spooled for the database that their keys belong to."""
    before = leave_spooled(clusters, start_server, tmp_path)
    own_id = owner_in(tmp_path)
    (tmp_path / NAME).unlink()
    exchange(clusters)
    clusters.stop()
    server = start_server(clusters.url(OWN_DATABASE), key=before.key, spool__path=tmp_path)
    assert post(server, "spooled") == 202
    assert owner_in(tmp_path) == own_id
    clusters.start()
    wait_for(lambda: is_foreign(server))
    assert names(clusters.url(OWN_DATABASE)) == []


def test_spool_of_the_version_before_belongs_to_the_first_database(
    clusters: Cluster, start_server: StartServer, tmp_path: Path
) -> None:
    """Neither its files nor its keys have an id: once adopted, they are no other database's."""
    before = leave_spooled(clusters, start_server, tmp_path, "one")
    own_id = owner_in(tmp_path)
    for path in [*tmp_path.iterdir()]:
        path.rename(tmp_path / path.name.replace(f"-{own_id.replace('-', '')}", ""))
    (tmp_path / NAME).unlink()
    keys = json.loads((tmp_path / KEYS_NAME).read_text())["keys"]
    (tmp_path / KEYS_NAME).write_text(json.dumps(keys))
    clusters.stop()
    url = clusters.url(OWN_DATABASE)
    server = start_server(url, key=before.key, spool__path=tmp_path)
    assert post(server, "two") == 202
    clusters.start()
    wait_until_drained(server)
    assert names(url) == ["before", "one", "two"]
    assert owner_in(tmp_path) == own_id
    wait_for(lambda: "database_id" in json.loads((tmp_path / KEYS_NAME).read_text()))
    assert server.stop() == 0
    assert "nonito spool adopt" in refusal(clusters.url(OTHER), tmp_path)


def test_adopted_spool_is_brought_to_the_new_database(
    clusters: Cluster, start_server: StartServer, tmp_path: Path
) -> None:
    """By command, for one that took the other's place; its status says whose it is."""
    leave_spooled(clusters, start_server, tmp_path, "one", "two")
    own, other = clusters.url(OWN_DATABASE), clusters.url(OTHER)
    settings = {"spool.path": tmp_path}
    assert f"the database {id_of(own)}." in run("spool", "status", settings=settings).stderr
    asked = run("--database-url", other, "spool", "adopt", settings=settings)
    assert asked.returncode == 1
    assert f"Bring 2 events in {tmp_path} to the database {id_of(other)}?" in asked.stderr
    assert owner_in(tmp_path) == id_of(own)
    succeed(run("--database-url", other, "spool", "adopt", "--yes", settings=settings))
    status = run("spool", "status", settings=settings).stderr
    assert f"the database {id_of(other)}." in status
    assert "left alone" not in status
    wait_until_drained(start_server(other, spool__path=tmp_path))
    assert names(other) == ["one", "two"]
    assert "nonito spool adopt" in refusal(own, tmp_path)


def test_status_and_export_know_files_of_another_database(
    clusters: Cluster, start_server: StartServer, tmp_path: Path
) -> None:
    """They are named, and can be written out all the same."""
    leave_spooled(clusters, start_server, tmp_path, "one")
    (tmp_path / NAME).write_text(f"{uuid4()}\n")
    status = run("spool", "status", settings={"spool.path": tmp_path})
    (line,) = [each for each in status.stdout.splitlines() if each.startswith("events-")]
    assert f"Not for it, and left alone: {line.split()[0]}" in status.stderr
    exported = succeed(run("spool", "export", settings={"spool.path": tmp_path}))
    assert json.loads(exported)["event_name"] == "one"


def test_restored_database_is_the_same_one(own_url: str, start_server: StartServer) -> None:
    """Migrating again gives it no other id."""
    before = id_of(own_url)
    asyncio.run(prepare(make_postgres(own_url)))
    assert id_of(own_url) == before
    assert post(start_server(own_url)) == 200
    with pytest.raises(Exception, match="nonito_database_pkey"):
        asyncio.run(fetch(own_url, "INSERT INTO nonito_database DEFAULT VALUES"))
