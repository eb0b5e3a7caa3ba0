"""All sockets at which a server listens: made and kept by the supervisor, for as long as it lives.

So no queued connection is ever reset, whoever of the workers dies or is replaced: a socket has its
queue until its last descriptor is closed, and the successor finds it as it was. Workers are handed
descriptors, and listen when they are ready; until then the kernel refuses whoever comes.
"""

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar

import structlog

from ingest.addresses import Address, Tcp, Unix
from ingest.config import Config, Dashboard, Monitoring, Server
from ingest.errors import StartupError
from ingest.supervisor import systemd, tcp, unix
from ingest.supervisor.tcp import TcpSockets
from ingest.supervisor.unix import UnixSocket

log = structlog.get_logger(__name__)

_BACKLOG: Final = 128
"""Of the metrics' own address and of the dashboard's, which a few ask."""
_TAKEN_TIMEOUT_S: Final = 2.0
"""So long the workers of a server that was killed may take to let go of its addresses."""
_USUAL: Final = Tcp(Dashboard().host, Dashboard().port)
"""Where questions are asked if nobody says otherwise."""
_USUAL_TIMEOUT_S: Final = 0.5
"""And so long the insights process of such a server may take to let go of it."""
_TAKEN_INTERVAL_S: Final = 0.02

Made = TypeVar("Made")


class Sockets:
    """The sockets of one server."""

    def __init__(self, workers: int) -> None:
        self._by_worker: list[list[socket.socket]] = [[] for _ in range(workers)]
        self._monitor: socket.socket | None = None
        self._dashboard: socket.socket | None = None
        self._tcp: list[TcpSockets] = []
        self._unix: list[UnixSocket] = []
        self.addresses: list[str] = []
        """Where it listens, for people: `http://127.0.0.1:8080`, `unix:/run/nonito.sock`."""
        self.port = 0
        """The port of the first TCP one; 0 if there is none."""
        self.are_lent = False
        """Whether they are systemd's, and outlive this server: then no worker may change them."""

    def of(self, worker: int) -> list[int]:
        """Return the descriptors of a worker: one for each address."""
        return [each.fileno() for each in self._by_worker[worker]]

    @property
    def monitor(self) -> int | None:
        """The descriptor of the metrics' own address, for all workers; None without one."""
        return self._monitor.fileno() if self._monitor is not None else None

    @property
    def dashboard(self) -> int | None:
        """The descriptor of where questions are asked; None where they are not."""
        return self._dashboard.fileno() if self._dashboard is not None else None

    @property
    def dashboard_address(self) -> str:
        """Where that is, for people; empty without it."""
        return f"http://{_place(self._dashboard)}" if self._dashboard is not None else ""

    def add_tcp(self, made: TcpSockets) -> None:
        """Have each worker listen at an address."""
        self._tcp.append(made)
        for worker, sockets in enumerate(self._by_worker):
            sockets.append(made.sockets[worker % len(made.sockets)])
        self._tell(made.place)

    def add_unix(self, made: UnixSocket) -> None:
        """Have all workers listen at a path."""
        self._unix.append(made)
        for sockets in self._by_worker:
            sockets.append(made.socket)
        self._tell(made.place)

    def add_lent(self, lent: list[socket.socket]) -> None:
        """Have workers share what systemd has made."""
        self._by_worker = systemd.share(lent, len(self._by_worker))
        self.are_lent = True
        for each in dict.fromkeys(_place(each) for each in lent):
            self._tell(each)

    def add_monitor(self, made: socket.socket) -> None:
        """Have all workers share the metrics' own address."""
        self._monitor = made

    def add_dashboard(self, made: socket.socket | None) -> None:
        """Have the insights process take questions, and its successors."""
        self._dashboard = made

    def _tell(self, place: Address) -> None:
        is_tcp = isinstance(place, Tcp)
        self.addresses.append(f"http://{place}" if is_tcp else str(place))
        if isinstance(place, Tcp) and not self.port:
            self.port = place.port

    def release(self) -> None:
        """Close the supervisor's descriptors, when nobody who ends is replaced any more.

        From then on each address is free as soon as the last worker stops listening.
        """
        for tcp_sockets in self._tcp:
            tcp_sockets.close()
        for sockets in self._by_worker:
            for each in sockets:
                each.close()
        for each in filter(None, (self._monitor, self._dashboard)):
            each.close()
        self._monitor = self._dashboard = None

    def close(self) -> None:
        """Close everything, and remove the files of unix sockets."""
        self.release()
        for each in self._unix:
            each.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def bind(
    settings: Config, workers: int, environment: MutableMapping[str, str] = os.environ
) -> Sockets:
    """Return the sockets of a server: systemd's where it has passed some, else its own.

    Of its own none listens yet but the metrics', where whoever comes early waits. Raises
    StartupError with one line that says which address can't be had and why; then nothing is left.
    """
    inherited = systemd.take(environment)
    with ExitStack() as undo:
        if inherited.events:
            made = undo.enter_context(Sockets(workers))
            made.add_lent(inherited.events)
        else:
            made = undo.enter_context(_bound(settings.server, workers))
        if inherited.monitor:
            made.add_monitor(inherited.monitor[0])
        elif settings.metrics.port:
            made.add_monitor(bind_monitor(settings.metrics))
        undo.pop_all()
    return made


def _bound(server: Server, workers: int) -> Sockets:
    mode, owner = int(server.unix_mode.replace("o", ""), 8), unix.owner_of(server.unix_owner)
    with ExitStack() as undo:
        made = undo.enter_context(Sockets(workers))
        for address in server.addresses:
            mend = "server.listen" if server.listen else "server.host and server.port"
            with _told(address, f"set {mend}"):
                if isinstance(address, Unix):
                    made.add_unix(_patiently(partial(UnixSocket, address, mode, owner)))
                else:
                    made.add_tcp(_patiently(partial(TcpSockets, address, workers)))
        undo.pop_all()
    return made


def bind_monitor(metrics: Monitoring) -> socket.socket:
    """Return the socket of the metrics' own address, at which it listens; raise StartupError."""
    address = Tcp(metrics.host, metrics.port)
    with _told(address, "set metrics.host and metrics.port"):
        return _patiently(lambda: tcp.listening(address, _BACKLOG))


def bind_dashboard(dashboard: Dashboard) -> socket.socket | None:
    """Return the socket at which questions are asked, and at which it listens.

    None, with a warning, where the address that is the default is somebody else's: that keeps no
    events from being taken. Raises StartupError for one that an operator has chosen.
    """
    address = Tcp(dashboard.host, dashboard.port)
    is_chosen = address != _USUAL
    timeout_s = _TAKEN_TIMEOUT_S if is_chosen else _USUAL_TIMEOUT_S
    try:
        with _told(address, "set dashboard.host and dashboard.port"):
            return _patiently(lambda: tcp.listening(address, _BACKLOG), timeout_s)
    except StartupError as error:
        if is_chosen:
            raise
        log.warning("no questions are answered", reason=str(error))
        return None


def _patiently(make: Callable[[], Made], timeout_s: float = _TAKEN_TIMEOUT_S) -> Made:
    """Return what is made; wait a little for an address that somebody has. Raises OSError."""
    end_s = time.monotonic() + timeout_s
    while True:
        try:
            return make()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > end_s:
                raise
        time.sleep(_TAKEN_INTERVAL_S)


@contextmanager
def _told(address: Address, mend: str) -> Iterator[None]:
    """Say of an error which address it is about."""
    try:
        yield
    except OSError as error:
        raise StartupError(
            f"can't listen on {address}: {_reason(address, error)}; {mend}"
        ) from error


def _reason(address: Address, error: OSError) -> str:
    if isinstance(address, Unix) and isinstance(error, FileNotFoundError):
        return f"there is no directory {Path(address.path).parent}"
    return error.strerror or str(error)


def _place(listening: socket.socket) -> Address:
    """Return the address of a socket that is there."""
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return Unix(os.fsdecode(name))
    return Tcp(*name[:2])
