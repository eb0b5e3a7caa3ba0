"""A cluster of our own: never a half-made one, and one that was killed starts again."""

import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ingest.errors import StartupError
from ingest.store import cluster as cluster_module
from ingest.store.cluster import Cluster
from ingest.store.embedded import find_programs
from tests.support.command import complaint, run, run_here, succeed
from tests.support.postgres import kill, passable_directory, pause, processes

pytestmark = pytest.mark.slow

# PR_SET_CHILD_SUBREAPER: orphans become children of this process, as of a container's first one.
AS_FIRST_PROCESS = """
import ctypes, os, signal, sys
from pathlib import Path
from ingest.store.cluster import Cluster
from ingest.store.embedded import find_programs

assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
cluster = Cluster(Path(sys.argv[1]), find_programs())
cluster.create()
cluster.start()
killed = cluster.postmaster_pid
os.kill(killed, signal.SIGKILL)
while cluster.accepts():
    pass
os.kill(killed, 0)  # a zombie until somebody reaps it
cluster.start()
assert cluster.postmaster_pid != killed
cluster.stop()
print("started again")
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A place for a cluster, which is killed with the test."""
    with passable_directory() as place:
        yield place / "c"
        kill(Cluster(place / "c", find_programs()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
def test_killed_server_starts_again_where_nobody_else_reaps_it(directory: Path) -> None:
    """Postgres takes a zombie for a running server, so the first process of a container reaps."""
    command = (sys.executable, "-c", AS_FIRST_PROCESS)
    assert succeed(run(str(directory), command=command)).endswith("started again\n")


def assert_bad_setting_is_one_line_that_names_the_log(cluster: Cluster) -> None:
    """Assert what is said when the server does not start."""
    with pytest.raises(StartupError) as refused:
        cluster.start("no_such_setting=1")
    assert "\n" not in str(refused.value)
    assert str(cluster.log) in str(refused.value)
    assert "no_such_setting" in cluster.log.read_text()


def test_half_made_cluster_is_made_anew_and_starts_once_its_settings_are_right(
    directory: Path,
) -> None:
    """As after a crash during the first start; one that is made and runs is left as it is."""
    unfinished = directory / "postgres.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("junk")
    cluster = Cluster(directory, find_programs())
    cluster.create()
    assert_bad_setting_is_one_line_that_names_the_log(cluster)
    cluster.start()
    running = processes(cluster)[0]
    cluster.create()
    cluster.start()
    assert processes(cluster)[0] == running
    assert cluster.execute("SELECT 1") == "1"
    assert not unfinished.exists()
    cluster.stop()
    assert not cluster.accepts()
    assert processes(cluster) == []


def test_hung_postgres_of_ours_hangs_no_command(
    own_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It takes connections still, and answers nothing; one line says where to look."""
    monkeypatch.setattr(cluster_module, "CONNECT_TIMEOUT_S", 2)  # psql's shortest
    monkeypatch.setattr(cluster_module, "STOP_TIMEOUT_S", 1)  # nor does it end when it is told to
    pause(own_cluster)
    nonito = run_here(monkeypatch, capfd)
    told = complaint(nonito("--data-dir", str(own_cluster.directory), "check"))
    assert told.startswith(f"nonito: the Postgres in {own_cluster.directory} failed (psql: ")
    assert "timeout expired" in told
    assert str(own_cluster.log) in told


@pytest.mark.parametrize("command", ["check", "keys list", "rejected list", "migrate", "psql"])
def test_hung_postgres_of_others_hangs_no_command(own_cluster: Cluster, command: str) -> None:
    """No time-out is without words."""
    settings = {"database.start_timeout_s": 0.1, "database.connect_timeout_s": 0.5}
    at = ("--database-url", own_cluster.url("x"))
    variables = {"PGCONNECT_TIMEOUT": "2"}
    pause(own_cluster)
    ended = run(*at, *command.split(), settings=settings, variables=variables)
    assert ended.returncode != 0
    words = "timeout expired" if command == "psql" else r"no answer in time: .*, database x"
    assert re.search(words, ended.stderr.splitlines()[-1])


def test_program_that_does_not_end_is_ended(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it waits for."""
    directory.mkdir()
    program = directory / "psql"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(cluster_module, "QUERY_TIMEOUT_S", 0.3)
    with pytest.raises(StartupError, match=r"psql took longer than 0\.3 s"):
        Cluster(directory, directory).execute("SELECT 1")


def test_server_that_is_starting_is_waited_for(directory: Path) -> None:
    """It listens before it has replayed what a crash has left, and refuses statements."""
    cluster = Cluster(directory, find_programs())
    cluster.create()
    cluster.start()
    status = directory / "postgres" / "postmaster.pid"
    ready = status.read_text()
    status.write_text(ready.replace("ready", "starting"))
    with ThreadPoolExecutor() as threads:
        started = threads.submit(cluster.start)
        with pytest.raises(TimeoutError):
            started.result(0.3)
        status.write_text(ready)
        started.result(30)
    assert cluster.execute("SELECT 1") == "1"
