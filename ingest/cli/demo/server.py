"""The demo's server: `nonito serve` as anybody runs it, as a process of our own."""

import asyncio
import os
import re
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from ingest.errors import StartupError

HOST: Final = "127.0.0.1"
_START_TIMEOUT_S: Final = 180.0  # more than what a start waits for its Postgres
_END_TIMEOUT_S: Final = 40.0  # more than `server.shutdown_timeout_s`
_KILLED_TIMEOUT_S: Final = 5.0
_PLACES: Final = re.compile(r"Listening on (http\S+)\nAnswering questions on (http\S+)\n")
_LISTENS: Final = "Listening on "
_SETTING: Final = re.compile(r"NONITO_.*|DATABASE_URL")


class Ended(Exception):  # noqa: N818 - no error of ours
    """The server has ended by itself, and said why."""


class Server:
    """A server, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.address = ""
        """Where it takes events, once it is ready."""
        self.dashboard = ""

    @classmethod
    async def start(cls, config: Path, held: int) -> Self:
        """Start it with a configuration file alone; `held` is a descriptor for it to hold."""
        environment = {
            name: value for name, value in os.environ.items() if not _SETTING.fullmatch(name)
        }
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "ingest", "--config", str(config), "serve"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=[held],
                # Ctrl-C at a terminal is ours to hear, who tells it.
                process_group=0,
                env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def wait_until_ready(self) -> None:
        """Wait until it serves; raise Ended, or StartupError if it has no dashboard."""
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        said = ""
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                for _ in range(2):
                    said += (await self._process.stdout.readline()).decode()
        except TimeoutError:
            raise StartupError(f"the server took longer than {_START_TIMEOUT_S:.0f} s") from None
        if not said.startswith(_LISTENS):
            raise Ended
        if (places := _PLACES.fullmatch(said)) is None:
            raise StartupError("the server has no dashboard: choose --dashboard-port")
        self.address, self.dashboard = places.groups()

    async def wait(self) -> int:
        """Wait until it has ended; return its exit code, or the negative number of a signal."""
        return await self._process.wait()

    def stop(self) -> None:
        """Have it end in good order; said twice, at once."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    async def end(self) -> int:
        """Wait for the end that it was told of, or bring it about; return as `wait` does."""
        for timeout_s in (_END_TIMEOUT_S, _KILLED_TIMEOUT_S):
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    return await self.wait()
            with suppress(ProcessLookupError):
                self._process.kill()
        raise StartupError(f"the server's process {self._process.pid} can't be ended")


def require_free(port: int, option: str) -> None:
    """Raise StartupError if somebody listens at a port already; any is free that is 0."""
    try:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((HOST, port))
    except OSError as error:
        raise StartupError(
            f"can't listen on {HOST}:{port}: {error.strerror}; choose another port with {option}"
        ) from error
