"""The server under audit: a real process on a fixed port, started again whenever it has ended."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

from bench import machine, servers
from bench.audit.failpoints import BUG_VARIABLE, FILE_VARIABLE
from bench.errors import BenchError
from ingest import config

_ROOT: Final = Path(__file__).parents[2]
_PORTS: Final = (20_000, 30_000)  # below those that the kernel gives to clients
_PORT_TRIES: Final = 100
_POLL_S: Final = 0.01
_EXIT_TIMEOUT_S: Final = 30.0
_COMMAND_TIMEOUT_S: Final = 120.0
_NONITO: Final = (sys.executable, "-m", "bench.audit.server")
_LOG_SHOWN_CHARS: Final = 3_000
_DISARMING_S: Final = 5.0
"""So long a busy process may take to hear that its failpoints are disarmed, and die of one yet."""


class ServerProcess:
    """The launcher with a fixed port; its log is a file in `directory`, of all its lives."""

    def __init__(
        self, directory: Path, settings: Mapping[str, object], cores: frozenset[int], bug: str
    ) -> None:
        self.port = free_port()
        self.log_path = directory / "server.log"
        self._failpoints = directory / "failpoints"
        self._settings = {key: value for key, value in settings.items() if key in config.FIELDS}
        self._cores = cores
        self._bug = bug
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.is_death_expected = False
        """Whether a failpoint may kill it now."""
        self._disarmed_s = -_DISARMING_S
        self.starts = 0
        self.unexpected_ends: list[str] = []
        """Of lives that ended though nobody had ended them."""

    @property
    def pid(self) -> int | None:
        """The living process, if there is one."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def rss_bytes(self) -> int:
        """Return its resident memory; 0 while it is away."""
        found = machine.usage(self.pid)
        return found.rss_bytes if found else 0

    def log(self) -> str:
        """Return the end of what it logged."""
        with suppress(OSError):
            return self.log_path.read_text(errors="replace")[-_LOG_SHOWN_CHARS:]
        return ""

    def spawn(self) -> None:
        """Start it, and don't wait for anything."""
        self.starts += 1
        with machine.pinned(self._cores), self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*_NONITO, "serve", "--port", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,  # where no config.toml lies
                env=self._environment(str(self._failpoints)),
            )

    def command(self, *arguments: str) -> None:
        """Run another `nonito` command beside the server, with the same bug; wait for its end."""
        with self.log_path.open("ab") as log:
            subprocess.run(  # noqa: S603 - our own program
                [*_NONITO, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env=self._environment(""),
                check=False,  # 1 if any was refused again
                timeout=_COMMAND_TIMEOUT_S,
            )

    def _environment(self, failpoints: str) -> Mapping[str, str]:
        variables = {FILE_VARIABLE: failpoints, BUG_VARIABLE: self._bug, "PYTHONPATH": str(_ROOT)}
        return servers.environment(self._settings) | variables

    async def wait_until_listening(self, timeout_s: float) -> None:
        """Wait until it takes connections; raise BenchError when it does not in time."""
        end_s = time.monotonic() + timeout_s
        while not _accepts(self.port):
            if time.monotonic() > end_s:
                raise BenchError(f"the server does not listen:\n{self.log()}")
            await asyncio.sleep(_POLL_S)

    def kill(self) -> None:
        """Kill -9; the process is gone afterwards."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(_EXIT_TIMEOUT_S)

    async def terminate(self) -> int:
        """Send SIGTERM and return the exit code; kill it and return -9 when it takes too long."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(process.wait, _EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return await asyncio.to_thread(process.wait, _EXIT_TIMEOUT_S)

    def limit_files(self, bytes_max: int) -> None:
        """Have the living process's writes past this size of a file fail, the last one in parts."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                resource.prlimit(
                    self.pid, resource.RLIMIT_FSIZE, (bytes_max, resource.RLIM_INFINITY)
                )

    def arm(self, failpoints: str) -> None:
        """Set the living process's failpoints; an empty text disarms all."""
        self._failpoints.write_text(failpoints)
        if self.pid is not None:
            os.kill(self.pid, signal.SIGUSR1)

    def disarm(self) -> None:
        """Disarm the living process's failpoints, behind which it is expected to live again."""
        self.arm("")
        self.is_death_expected = False
        self._disarmed_s = time.monotonic()

    async def watch(self) -> None:
        """For ever: start it again when it ended by itself, and remember that it did."""
        while True:
            await asyncio.sleep(_POLL_S)
            process = self._process
            code = process.poll() if process is not None else None
            if code is None:
                continue
            is_late = time.monotonic() - self._disarmed_s < _DISARMING_S
            if not (self.is_death_expected or is_late) or code != -signal.SIGKILL:
                self.unexpected_ends.append(f"exit code {code}")
            self._failpoints.write_text("")
            self.is_death_expected = False
            self.spawn()


def free_port() -> int:
    """Return a port that nobody uses and that no client is given by the kernel."""
    random = Random()  # noqa: S311 - any port will do
    for _ in range(_PORT_TRIES):
        port = random.randrange(*_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise BenchError("no free port was found")


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0
