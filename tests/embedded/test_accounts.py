"""The account that the embedded Postgres runs under, and the directories that it may use."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.store.cluster import Cluster
from ingest.store.embedded import find_programs
from tests.embedded.postmaster import postmaster
from tests.support.command import complaint, run, succeed
from tests.support.server import running_server

pytestmark = pytest.mark.slow

NOBODY = 65534
SERVE = ("serve", "--port", "0")
PYTHON = Path("/usr/bin/python3")
"""The machine's own, which anybody may run."""
AS_NOBODY = f"""
import sys
sys.path += {[each for each in sys.path if "site-packages" in each]!r}
from ingest.cli import main
main()
"""


def is_alike(python: Path) -> bool:
    """Whether it can import what is installed for this one."""
    if not python.exists():
        return False
    asked = (python, "-c", "import sys; print(*sys.version_info[:2])")
    told = subprocess.run(asked, capture_output=True, check=True, timeout=30).stdout
    return told.split() == [b"%d" % each for each in sys.version_info[:2]]


def test_data_directory_that_can_not_be_made_is_one_line(place: Path) -> None:
    """Below a file, for example."""
    (place / "file").write_text("")
    told = complaint(run("--data-dir", str(place / "file" / "data"), *SERVE))
    assert "database.data_dir" in told
    assert str(place / "file" / "data") in told


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: all other tests ran without its rights")
@pytest.mark.skipif(
    not is_alike(PYTHON), reason="nobody may run this Python, and there is no other"
)
def test_any_account_may_run_it(place: Path) -> None:
    """As root it runs Postgres under an account of its own; here nobody runs both."""
    place.chmod(0o777)
    at = ("--data-dir", str(place / "data"))
    nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    command = (*nobody, str(PYTHON), "-c", AS_NOBODY)
    settings = {"spool.path": place / "spool", "keys.first_key_file": place / "key"}
    with running_server(at, key="", settings=settings, command=command) as server:
        made = (place / "key").read_text()
        assert server.stop() == 0
    assert made[:11] in succeed(run(*at, "keys", "list", command=command))
    assert (place / "data" / "postgres").stat().st_uid == NOBODY
    assert postmaster(place / "data") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="Postgres runs under our own account")
def test_nobody_s_directory_is_opened_to_the_account_of_root_s_postgres(place: Path) -> None:
    """One line says which of them is closed, and what to do; no cluster is made."""
    closed = place / "it's mine"
    closed.mkdir(mode=0o700)
    data_dir = closed / "a" / "data"
    told = complaint(
        run("--data-dir", str(data_dir), *SERVE, settings={"spool.path": data_dir / "spool"})
    )
    assert f"pass through {closed}:" in told
    for advice in ("another user", "database.data_dir", "chmod o+x '"):
        assert advice in told
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert not (data_dir / "postgres").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="Postgres runs under our own account")
def test_directories_that_it_makes_are_open_to_the_account_and_to_no_other_use(
    place: Path,
) -> None:
    """Whatever root's umask takes away; they can be passed, not read."""
    command = ("sh", "-c", f'umask 077; exec {sys.executable} -m ingest "$@"', "sh")
    data_dir = place / "a" / "data"
    with running_server(("--data-dir", str(data_dir)), key="", command=command) as server:
        assert server.stop() == 0
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (data_dir.parent, data_dir)]
    assert modes == [0o701, 0o701]
    assert stat.S_IMODE((data_dir / "postgres").stat().st_mode) == 0o700


LONG = "/".join(["long" * 10] * 3)


def squat(place: Path) -> None:
    """Be first with the directory, as another user."""
    place.mkdir(mode=0o777)
    os.chown(place, NOBODY, NOBODY)


def link_elsewhere(place: Path) -> None:
    """Be first with a link to a directory of root's."""
    target = place.with_name("target")
    target.mkdir()
    place.symlink_to(target)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else, too")
@pytest.mark.parametrize("was_first", [squat, link_elsewhere, Path.touch])
def test_socket_directory_that_is_not_ours_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, was_first: Callable[[Path], None]
) -> None:
    """Its owner would take our connections. In the temporary folder anybody may make it first."""
    place.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    socket_dir = Cluster(place / LONG, find_programs())._socket_dir
    assert socket_dir.parent == place
    was_first(socket_dir)
    owner = socket_dir.lstat().st_uid
    variables = {"TMPDIR": str(place)}
    told = complaint(run("--data-dir", str(place / LONG), *SERVE, variables=variables))
    assert str(socket_dir) in told
    assert "database.data_dir" in told
    assert socket_dir.lstat().st_uid == owner
    assert postmaster(place / LONG) is None


def test_socket_directory_where_anybody_may_put_another_is_refused(place: Path) -> None:
    """In a folder that all may write to, and that is not sticky."""
    place.chmod(0o777)
    variables = {"TMPDIR": str(place)}
    told = complaint(run("--data-dir", str(place / LONG), *SERVE, variables=variables))
    assert "database.data_dir" in told
