"""TCP sockets for one address: one for each worker, among which the kernel spreads connections.

Of 256 connections to four workers the fullest has 1.09 to 1.23 of its even share this way; of those
to one shared socket 1.45 to 2.57, as the kernel wakes the last waiter first.
"""

import socket
import sys
from contextlib import ExitStack
from typing import Any

from ingest.addresses import EVERY, EVERY_IPV4, EVERY_IPV6, Tcp
from ingest.supervisor import guard


class TcpSockets:
    """Bound sockets of one address, which don't listen yet, and the guard of the address."""

    def __init__(self, address: Tcp, count: int) -> None:
        """Make `count` of them; raise OSError, EADDRINUSE if anybody has the address."""
        with ExitStack() as undo:
            self._guards: list[socket.socket] = []
            family, place = _resolved(address)
            if place[1]:
                self._take(place, undo)
            first = undo.enter_context(_bound(family, place, is_first=True))
            if not place[1]:
                self._take(first.getsockname(), undo)
            self.sockets = [first]
            """As many as there are workers; where the kernel can't spread connections, one."""
            for _ in range(count - 1 if _can_spread() else 0):
                place = first.getsockname()
                self.sockets.append(undo.enter_context(_bound(family, place, is_first=False)))
            undo.pop_all()

    def _take(self, place: tuple[Any, ...], undo: ExitStack) -> None:
        held = guard.take(Tcp(place[0], place[1]))
        if held is not None:
            self._guards.append(undo.enter_context(held))

    @property
    def place(self) -> Tcp:
        """The address and the port that was taken."""
        host, port = self.sockets[0].getsockname()[:2]
        return Tcp(host, port)

    def close(self) -> None:
        """Close this process's descriptors, and let others have the address."""
        for each in (*self.sockets, *self._guards):
            each.close()


def listening(address: Tcp, backlog: int) -> socket.socket:
    """Return one socket that listens from now on; who comes before it is served waits. OSError."""
    made = _bound(*_resolved(address), is_first=True)
    try:
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made


def _can_spread() -> bool:
    return sys.platform.startswith("linux")


def _resolved(address: Tcp) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """Return the first address of a name. Raises OSError."""
    host = address.host
    if host == EVERY:
        host = EVERY_IPV6 if _has_ipv6() else EVERY_IPV4
    family, _, _, _, place = socket.getaddrinfo(
        host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return family, place


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind((EVERY_IPV6, 0))
    except OSError:
        return False
    return True


def _bound(
    family: socket.AddressFamily, place: tuple[Any, ...], *, is_first: bool
) -> socket.socket:
    """Return a socket with an address; the first one only if nobody listens there."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if place[1]:  # not held by what connections of an earlier server leave behind
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if not is_first:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(place)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_first and _can_spread():
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except BaseException:
        made.close()
        raise
    return made
