"""Sockets that systemd has made, listens at, and keeps for the next start (`sd_listen_fds(3)`).

Connections that come while no server runs wait there. One socket of an address is shared by all
workers; of several (`ReusePort=`) each worker has its own, as far as they go.
"""

import os
import socket
from collections.abc import Iterable, MutableMapping
from typing import Final, NamedTuple

from ingest.errors import StartupError

_FIRST: Final = 3
"""The first descriptor that is passed on."""
_MONITOR: Final = "metrics"
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class Inherited(NamedTuple):
    """Listening sockets: for events, and those whose name is `metrics`."""

    events: list[socket.socket]
    monitor: list[socket.socket]


def take(environment: MutableMapping[str, str]) -> Inherited:
    """Return what was passed to this process, and have nobody else find it.

    Raises StartupError for a descriptor that is no listening stream socket.
    """
    given = [environment.pop(name, "") for name in _VARIABLES]
    found = Inherited([], [])
    if given[0] != str(os.getpid()) or not given[1].isdigit():
        return found
    names = given[2].split(":")
    for at in range(int(given[1])):
        name = names[at] if at < len(names) else ""
        (found.monitor if name == _MONITOR else found.events).append(_socket(_FIRST + at))
    return found


def _socket(descriptor: int) -> socket.socket:
    try:
        made = socket.socket(fileno=descriptor)
        made.set_inheritable(False)
        is_good = made.family in _FAMILIES and made.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        )
    except OSError:
        is_good = 0
    if not is_good:
        raise StartupError(
            f"descriptor {descriptor} from systemd is no listening stream socket: "
            "use ListenStream= and Accept=no"
        )
    return made


def share(sockets: Iterable[socket.socket], workers: int) -> list[list[socket.socket]]:
    """Return for each worker its sockets: of every address at least one."""
    by_address: dict[object, list[socket.socket]] = {}
    for each in sockets:
        by_address.setdefault(each.getsockname(), []).append(each)
    return [
        [
            each
            for same in by_address.values()
            for each in same[worker::workers] or [same[worker % len(same)]]
        ]
        for worker in range(workers)
    ]
