"""The system account that a Postgres of root's runs under, since it refuses to run as root.

What is above its files, and is not ours, has to let it pass: nobody's directory is opened to it.
"""

import fcntl
import os
import pwd
import shlex
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ingest.errors import StartupError

_NAME = "nonito"
_LOCK = Path("/etc/.pwd.lock")
"""What programs that change accounts lock in another way; only root may open it."""
_TIMEOUT_S = 30
_FIRST_CLOSED = """for each; do test -x "$each" || { echo "$each"; exit; }; done"""


class Account(NamedTuple):
    """A user and its group."""

    uid: int
    gid: int

    @property
    def name(self) -> str:
        """Return what it is called; its number if it has no name."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)


def make() -> Account:
    """Return the account, made if it is new; raise StartupError.

    One at a time: of two that `useradd` makes at once the second changes the number of the first's.
    """
    entry = _entry() or _add()
    return Account(entry.pw_uid, entry.pw_gid)


def _entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(_NAME)
    except KeyError:
        return None


def _add() -> pwd.struct_passwd:
    try:
        with _LOCK.open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _entry() is None:
                options = ("--system", "--no-create-home", "--shell=/usr/sbin/nologin")
                subprocess.run(["useradd", *options, _NAME], check=True, timeout=_TIMEOUT_S)  # noqa: S603, S607 - ours
    except (OSError, subprocess.SubprocessError) as error:
        raise StartupError(
            "Postgres can't run as root, and an account for it can't be made: "
            "run nonito as another user, or set database.url"
        ) from error
    return pwd.getpwnam(_NAME)


def let_through(directory: Path) -> None:
    """Let every account pass through a directory of ours, and see no more."""
    directory.chmod(stat.S_IMODE(directory.stat().st_mode) | stat.S_IXOTH)


def require_passage(account: Account, places: Iterable[Path]) -> None:
    """Raise StartupError if the account may not reach one of these places.

    Asked as the account, as rights may be a group's, or in an access list.
    """
    ways = [way for place in places for way in (place, place.resolve())]
    directories = dict.fromkeys(each for way in ways for each in reversed(way.parents))
    if closed := _first_closed(account, directories):
        raise StartupError(
            f"as root, Postgres runs under the account {account.name}, which may not pass through"
            f" {closed}: run nonito as another user, or have database.data_dir, and nonito itself,"
            f" where all may pass, or allow it (chmod o+x {shlex.quote(closed)})"
        )


def _first_closed(account: Account, directories: Iterable[Path]) -> str:
    try:
        asked = subprocess.run(  # noqa: S603 - our own script
            ["/bin/sh", "-c", _FIRST_CLOSED, "sh", *directories],
            cwd="/",
            stdout=subprocess.PIPE,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise StartupError(f"a disk took longer than {_TIMEOUT_S} s: database.data_dir") from error
    return os.fsdecode(asked.stdout).removesuffix("\n")
