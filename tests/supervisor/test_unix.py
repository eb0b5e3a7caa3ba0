"""Unix sockets: whose they are, and what they replace."""

import grp
import os
import pwd
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.errors import StartupError
from ingest.supervisor.sockets import Sockets, bind
from tests.supervisor.processes import accepting, ask, settings
from tests.support.postgres import passable_directory

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def path() -> Iterator[Path]:
    """A short path."""
    with passable_directory() as directory:
        yield directory / "events.sock"


def made(path: Path, **server: object) -> Sockets:
    """Return the sockets of a server that listens there."""
    return bind(settings(listen=f"unix:{path}", **server), 1)


def refused(path: Path, **server: object) -> str:
    """Return the line that says why there are none."""
    with pytest.raises(StartupError) as error:
        made(path, **server)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("given", "mode"), [("0660", 0o660), ("600", 0o600), ("0o777", 0o777)])
def test_file_has_its_mode_whatever_the_umask_and_is_gone_at_the_end(
    path: Path, given: str, mode: int
) -> None:
    """The umask of everything else stays as it is."""
    before = os.umask(0o077)
    try:
        with made(path, unix_mode=given):
            assert stat.S_IMODE(path.stat().st_mode) == mode
            assert stat.S_ISSOCK(path.stat().st_mode)
        assert not path.exists()
        assert os.umask(before) == 0o077
    finally:
        os.umask(before)


@as_root
@pytest.mark.parametrize("form", ["{user}", "{user}:{group}", ":{group}", "{uid}:{gid}"])
def test_file_is_given_to_whom_it_should_belong(path: Path, form: str) -> None:
    """By name or number; what is left out stays as it is made."""
    user, group = pwd.getpwnam("nobody"), grp.getgrgid(1)
    owner = form.format(user="nobody", uid=user.pw_uid, group=group.gr_name, gid=group.gr_gid)
    with made(path, unix_owner=owner):
        found = path.stat()
    assert found.st_uid == (user.pw_uid if "{u" in form else os.getuid())
    assert found.st_gid == (group.gr_gid if "{g" in form else os.getgid())


@pytest.mark.parametrize("owner", ["nobody-of-this-name", ":no-group-of-this-name", "a:b:c"])
def test_owner_who_is_not_known_is_one_line(path: Path, owner: str) -> None:
    """And nothing is left behind."""
    line = refused(path, unix_owner=owner)
    assert line.startswith("server.unix_owner: there is no ")
    assert not path.exists()


@as_root
def test_file_that_can_t_be_given_away_is_one_line_and_gone(path: Path) -> None:
    """By an account that may not."""
    path.parent.chmod(0o777)
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        line = refused(path, unix_owner="root")
    finally:
        os.seteuid(0)
    assert "can't be given away: Operation not permitted; set server.unix_owner" in line
    assert not path.exists()


def test_socket_of_a_dead_server_is_replaced(path: Path) -> None:
    """Its file is still there."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.exists()
    with made(path) as sockets, accepting(sockets.of(0)) as [worker]:
        assert ask(str(path)) == worker.process.pid


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_socket_of_a_living_program_is_not_replaced(path: Path, kind: int) -> None:
    """Whatever it speaks."""
    with socket.socket(socket.AF_UNIX, kind) as living:
        living.bind(str(path))
        if kind == socket.SOCK_STREAM:
            living.listen()
        before = path.stat().st_ino
        assert "Address already in use; set server.listen" in refused(path)
        assert path.stat().st_ino == before


def test_socket_of_a_program_that_is_busy_is_not_replaced(path: Path) -> None:
    """It has no room for one more who waits."""
    with socket.socket(socket.AF_UNIX) as living, socket.socket(socket.AF_UNIX) as waiting:
        living.bind(str(path))
        living.listen(0)
        waiting.connect(str(path))
        assert "Address already in use" in refused(path)
        assert path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_never_replaced(path: Path, kind: str) -> None:
    """A path that was mistyped is somebody's data."""
    match kind:
        case "file":
            path.write_text("kept")
        case "directory":
            path.mkdir()
        case _:
            path.with_name("other").write_text("kept")
            path.symlink_to(path.with_name("other"))
    assert "something else lies there, and it is no socket" in refused(path)
    assert path.is_dir() or path.read_text() == "kept"


def test_file_of_a_later_server_is_left_to_it(path: Path) -> None:
    """Whoever ends later than somebody else began."""
    with made(path):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as later:
            later.bind(str(path))
    assert path.exists()


def test_one_server_a_path_by_whatever_name_its_directory_is_known(path: Path) -> None:
    """Before any of them listens."""
    other = path.parent / "link"
    other.symlink_to(path.parent)
    with made(path):
        assert "Address already in use" in refused(other / path.name)
    with made(other / path.name):
        assert path.exists()


def test_file_stays_where_it_is_while_workers_come_and_go(path: Path) -> None:
    """Whoever passes its socket on takes nothing away, and who stops with the server does."""
    with made(path) as sockets, accepting(sockets.of(0), sockets.of(0)) as [first, second]:
        first.tell("pass on")
        assert path.exists()
        assert ask(str(path)) == second.process.pid
        second.tell("stop")
        assert not path.exists()
