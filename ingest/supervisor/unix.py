"""A unix socket at a path: whose it is, who may connect, and what may lie there before.

What a dead server has left behind is replaced; what a living one listens at never is, nor anything
that is no socket. Nobody can connect before a worker listens, and by then mode and owner are set.
"""

import errno
import grp
import os
import pwd
import socket
import stat
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple

from ingest.addresses import Unix, identity
from ingest.errors import StartupError
from ingest.supervisor import guard

_ALL: Final = 0o777
_UNCHANGED: Final = -1
_CONNECT_TIMEOUT_S: Final = 1.0


class Owner(NamedTuple):
    """Numbers of a user and a group, -1 for one that stays as it is."""

    user: int = _UNCHANGED
    group: int = _UNCHANGED


class UnixSocket:
    """A bound socket that does not listen yet, and its file."""

    def __init__(self, address: Unix, mode: int, owner: Owner) -> None:
        """Make it; raise OSError, EADDRINUSE if a server listens there, and StartupError."""
        self.place = address
        with ExitStack() as undo:
            self._guard = guard.take(address)
            if self._guard is not None:
                undo.enter_context(self._guard)
            _clear(address.path)
            self.socket = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            mask = os.umask(_ALL & ~mode)
            try:
                self.socket.bind(address.path)
            finally:
                os.umask(mask)
            undo.callback(Path(address.path).unlink)
            _give(address, owner)
            self._file = identity(address.path)
            undo.pop_all()

    def remove(self) -> None:
        """Remove the file, if it is still this socket's, and let others have the path."""
        with suppress(OSError):
            if identity(self.place.path) == self._file:
                Path(self.place.path).unlink()
        if self._guard is not None:
            self._guard.close()


def owner_of(text: str) -> Owner:
    """Return what `user`, `user:group` or `:group` means, as names or numbers.

    Raises StartupError for one that is not known here.
    """
    user, _, group = text.partition(":")
    return Owner(
        _number("user", user, lambda name: pwd.getpwnam(name).pw_uid),
        _number("group", group, lambda name: grp.getgrnam(name).gr_gid),
    )


def _number(kind: str, name: str, find: Callable[[str], int]) -> int:
    if not name:
        return _UNCHANGED
    if name.isdecimal():
        return int(name)
    try:
        return find(name)
    except KeyError:
        raise StartupError(f"server.unix_owner: there is no {kind} {name!r} here") from None


def _give(address: Unix, owner: Owner) -> None:
    if owner == Owner():  # a sandbox may deny the call, whatever it is for
        return
    try:
        os.chown(address.path, *owner, follow_symlinks=False)
    except OSError as error:
        raise StartupError(
            f"{address} can't be given away: {error.strerror}; set server.unix_owner to a group of "
            "the server's own account, or start the server as root"
        ) from error


def _clear(path: str) -> None:
    """Remove the socket of a server that is dead. Raises OSError."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "something else lies there, and it is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_TIMEOUT_S)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
        except OSError:  # somebody's, though it does not let us in, or has no room
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
