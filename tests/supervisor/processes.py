"""Processes that accept on a supervisor's sockets, and clients of theirs."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest import config
from ingest.config import Config
from tests.support.server import ROOT

ACCEPTOR = ROOT / "tests" / "supervisor" / "acceptor.py"
HOST = "127.0.0.1"
TIMEOUT_S = 20.0


def settings(**server: object) -> Config:
    """Return a configuration with settings of `[server]`."""
    flags = {f"server.{name}": value for name, value in server.items()}
    return config.load(Path("/dev/null"), {}, flags)


class Acceptor:
    """A process that accepts, and says who it is."""

    def __init__(self, descriptors: list[int]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(ACCEPTOR), *map(str, descriptors)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=descriptors,
            env={"PYTHONPATH": str(ROOT)},
            text=True,
            bufsize=1,
        )

    def tell(self, line: str) -> None:
        """Tell it something, and wait until it has done so."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        assert self.process.stdout.readline() == "done\n"

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(TIMEOUT_S)

    def end(self) -> None:
        """Let it end by itself, or kill it."""
        with self.process:
            assert self.process.stdin is not None
            self.process.stdin.close()
            try:
                self.process.wait(TIMEOUT_S)
            finally:
                self.process.kill()


@contextmanager
def accepting(*workers: list[int]) -> Iterator[list[Acceptor]]:
    """Have a process accept for each worker, with its descriptors."""
    found = [Acceptor(descriptors) for descriptors in workers]
    try:
        for each in found:
            each.tell("listen")
        yield found
    finally:
        for each in found:
            each.end()


def connect(place: int | str) -> socket.socket:
    """Connect to a port, or a path."""
    if isinstance(place, int):
        return socket.create_connection((HOST, place), TIMEOUT_S)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(TIMEOUT_S)
    try:
        client.connect(place)
    except OSError:
        client.close()
        raise
    return client


def ask(place: int | str | socket.socket) -> int:
    """Return the process id of who serves a connection."""
    with place if isinstance(place, socket.socket) else connect(place) as client:
        client.sendall(b"?")
        answer = client.recv(100)
    assert answer
    return int(answer)
