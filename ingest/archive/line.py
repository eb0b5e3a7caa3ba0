"""The line to Postgres beneath ADBC: found by its socket, so that a wait for it can be ended.

libpq waits for an answer for ever, and its own way to cancel is another connection, which a
Postgres that hangs does not serve either. So the socket is shut down: whoever waits on it gets an
error.
"""

import os
import socket
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

_DESCRIPTORS: Final = Path("/proc/self/fd")
_connecting: Final = threading.Lock()
"""Two that connect at once could not tell their sockets apart."""


class Line:
    """One socket, if it could be told which it is; nothing is cut otherwise."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def cut(self) -> None:
        """End it: whoever waits on it is told that the connection is lost."""
        if self._descriptor is None:
            return
        with suppress(OSError), socket.socket(fileno=os.dup(self._descriptor)) as found:
            found.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Have nothing to cut: the number may be another file's from now on."""
        self._descriptor = None


def connecting(connect: Callable[[], T]) -> tuple[T, Line]:
    """Connect, and return what that returns together with the socket that it has opened."""
    with _connecting:
        before = _sockets()
        made = connect()
        opened = [each for each in _sockets() - before if _is_connected(each)]
    return made, Line(opened[0] if len(opened) == 1 else None)


def _sockets() -> set[int]:
    found = set()
    with suppress(OSError):
        for each in _DESCRIPTORS.iterdir():
            with suppress(OSError):
                if stat.S_ISSOCK(each.stat().st_mode):
                    found.add(int(each.name))
    return found


def _is_connected(descriptor: int) -> bool:
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as found:
        found.getpeername()
        return True
    return False
