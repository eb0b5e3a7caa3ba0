"""A cluster of our own: never a half-made one, and one that was killed starts again."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.errors import StartupError
from ingest.store.cluster import Cluster
from ingest.store.embedded import find_programs
from tests.support.command import run, succeed
from tests.support.postgres import kill, passable_directory, processes

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
