"""The server under audit: real processes on a fixed port, started again whenever they have ended.

A life is one supervisor's. Its workers come and go, by their own deaths and by its doing; which of
them the audit has ended, `ended` says, so that others can be told from them in the log.
"""

import asyncio
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from bench import machine, metrics, servers
from bench.audit import session
from bench.audit.failpoints import BUG_VARIABLE, FILE_VARIABLE, deaths
from bench.audit.sockets import free_port
from bench.errors import BenchError
from ingest import config

_ROOT: Final = Path(__file__).parents[2]
_POLL_S: Final = 0.01
_STAFF_POLL_S: Final = 0.05
_UP: Final = "worker_up"
_INSIGHTS_UP: Final = "insights_up"
_WORKER: Final = "worker"
_INSIGHTS: Final = "insights"
"""Commands, by which it is seen what a process is."""
_EXIT_TIMEOUT_S: Final = 30.0
_COMMAND_TIMEOUT_S: Final = 120.0
_NONITO: Final = (sys.executable, "-m", "bench.audit.server")
_GREETING: Final = b"Listening on "
_LOG_SHOWN_CHARS: Final = 3_000
_DISARMING_S: Final = 5.0
"""So long a busy process may take to hear that its failpoints are disarmed, and die of one yet."""


class ServerProcess:
    """The launcher with a fixed port; its log is a file in `directory`, of all its lives."""

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, object],
        cores: frozenset[int],
        bug: str,
        workers: int = 1,
    ) -> None:
        self.port = free_port()
        self.log_path = directory / "server.log"
        self._failpoints = directory / "failpoints"
        self._settings = {key: value for key, value in settings.items() if key in config.FIELDS}
        self._cores = cores
        self._bug = bug
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._log_bytes = 0
        """Of the lives before this one."""
        self._orphans: list[int] = []
        """Processes whose supervisor was killed alone, and that may be there yet."""
        self.workers_wanted = workers
        """As many a life has, unless another number is given at its start."""
        self._workers = workers
        self.is_death_expected = False
        """Whether a failpoint may kill it now."""
        self._disarmed_s = -_DISARMING_S
        self.starts = 0
        self.unexpected_ends: list[str] = []
        """Of lives that ended though nobody had ended them."""
        self.ended: dict[int, str] = {}
        """Processes that the audit has ended, and how they have to have ended then."""
        self.is_up = False
        """Whether it has said that it listens, and was not told to end since."""
        self.on_up: Callable[[bool], None] = lambda _: None
        """Told whenever `is_up` changes."""

    @property
    def pid(self) -> int | None:
        """The living supervisor, if there is one."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def workers(self) -> list[int]:
        """Its living workers, the oldest first; also those that are replaced, or start yet."""
        return [pid for pid in self._members if _WORKER in session.arguments(pid)]

    @property
    def insights(self) -> int | None:
        """Its insights process, if it has one at the moment."""
        found = [pid for pid in self._members if _INSIGHTS in session.arguments(pid)]
        return found[-1] if found else None

    @property
    def _members(self) -> list[int]:
        """Its living processes but for the supervisor, the oldest first."""
        return session.members(self._process.pid) if self._process is not None else []

    def is_staffed(self) -> bool:
        """Whether there are as many workers as there have to be, and all of them serve."""
        if self.pid is None or len(self.workers) != self._workers:
            return False
        samples = self._scrape()
        return all(samples.get(f'{_UP}{{worker="{each}"}}') for each in range(self._workers))

    def has_insights(self) -> bool:
        """Whether its insights process serves."""
        return bool(self._scrape().get(_INSIGHTS_UP))

    def _scrape(self) -> metrics.Samples:
        """Return what its metrics say; nothing while nobody answers."""
        with suppress(OSError, ValueError):
            return metrics.scrape("127.0.0.1", self.port)
        return {}

    def rss_bytes(self) -> int:
        """Return the resident memory of its largest process; 0 while it is away."""
        if (pid := self.pid) is None:
            return 0
        return max((session.rss_bytes(each) for each in (pid, *self._members)), default=0)

    def log(self) -> str:
        """Return the end of what it logged."""
        with suppress(OSError):
            return self.log_path.read_text(errors="replace")[-_LOG_SHOWN_CHARS:]
        return ""

    def spawn(self, workers: int = 0) -> None:
        """Start it, and don't wait for anything."""
        self.starts += 1
        self._workers = workers or self.workers_wanted
        counted = ("--workers", str(self._workers))
        with machine.pinned(self._cores), self.log_path.open("ab") as log:
            self._log_bytes = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*_NONITO, "serve", "--port", str(self.port), *counted],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,  # where no config.toml lies
                env=self._environment(str(self._failpoints), self._bug),
                start_new_session=True,
            )

    def command(self, *arguments: str) -> None:
        """Run another `nonito` command beside the server, with the same bug; wait for its end."""
        with self.log_path.open("ab") as log:
            self._command(arguments, self._bug, log)  # 1 if any was refused again

    def ask(self, *arguments: str) -> tuple[int, str]:
        """Run an honest `nonito` command; return its exit code and what it says."""
        with tempfile.TemporaryFile() as said:
            code = self._command(arguments, "", said)
            said.seek(0)
            return code, said.read().decode(errors="replace")

    def _command(self, arguments: Sequence[str], bug: str, output: IO[bytes]) -> int:
        return subprocess.run(  # noqa: S603 - our own program
            [*_NONITO, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=self._directory,
            env=self._environment("", bug),
            check=False,
            timeout=_COMMAND_TIMEOUT_S,
        ).returncode

    def _environment(self, failpoints: str, bug: str) -> Mapping[str, str]:
        variables = {FILE_VARIABLE: failpoints, BUG_VARIABLE: bug, "PYTHONPATH": str(_ROOT)}
        return servers.environment(self._settings) | variables

    async def wait_until_listening(self, timeout_s: float) -> None:
        """Wait until all of it takes connections; raise BenchError when it does not in time."""
        end_s = time.monotonic() + timeout_s
        while not self._look():
            if time.monotonic() > end_s:
                raise BenchError(f"the server does not listen:\n{self.log()}")
            await asyncio.sleep(_POLL_S)

    async def wait_until_staffed(self, timeout_s: float) -> bool:
        """Wait until as many workers serve as have to; return whether they do in time."""
        end_s = time.monotonic() + timeout_s
        while not await asyncio.to_thread(self.is_staffed):
            if time.monotonic() > end_s:
                return False
            await asyncio.sleep(_STAFF_POLL_S)
        return True

    def kill(self) -> None:
        """Kill -9 all of its processes at once, as a machine's crash does; none is left."""
        process, self._process = self._process, None  # `watch` is not to start it again
        left, self._orphans = self._orphans, []
        self._set_up(is_up=False)
        if process is not None:
            process.kill()  # first: it replaces nobody any more
            session.send(session.members(process.pid), signal.SIGKILL)
            process.wait(_EXIT_TIMEOUT_S)
            left = [*left, *session.members(process.pid)]
        session.send(left, signal.SIGKILL)
        session.wait_until_gone(left, _EXIT_TIMEOUT_S)

    def kill_supervisor(self) -> None:
        """Kill -9 the supervisor alone; `orphans` are left to end by themselves."""
        process, self._process = self._process, None
        if process is None:
            return
        self._set_up(is_up=False)
        process.kill()
        process.wait(_EXIT_TIMEOUT_S)
        self._orphans = session.members(process.pid)

    def outliving(self, timeout_s: float) -> list[int]:
        """Return the processes that are there, a time behind their supervisor's end."""
        self._orphans = session.wait_until_gone(self._orphans, timeout_s)
        return self._orphans

    def kill_member(self, pid: int) -> None:
        """Kill -9 one of its workers, or its insights process."""
        self.ended[pid] = "SIGKILL"
        session.send([pid], signal.SIGKILL)

    def stop_worker(self, pid: int) -> None:
        """Send SIGTERM to one of its workers alone."""
        self.ended.setdefault(pid, "exit code 0")
        session.send([pid], signal.SIGTERM)

    def hang_up(self) -> None:
        """Send it SIGHUP."""
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    async def terminate(self) -> int:
        """Send SIGTERM and return the exit code; kill it and return -9 when it takes too long."""
        process, self._process = self._process, None
        if process is None:
            return 0
        self._set_up(is_up=False)
        process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(process.wait, _EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process = process
            await asyncio.to_thread(self.kill)
            return -signal.SIGKILL

    def limit_files(self, bytes_max: int) -> None:
        """Have the workers' writes past this size of a file fail, the last one in parts."""
        for pid in self.workers:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (bytes_max, resource.RLIM_INFINITY))

    def arm(self, failpoints: str) -> None:
        """Set the failpoints of all, also of those to come; an empty text disarms them."""
        self._failpoints.write_text(failpoints)
        session.send(self._members, signal.SIGUSR1)

    def disarm(self) -> None:
        """Disarm the failpoints, behind which all of it is expected to live again."""
        self.arm("")
        self.is_death_expected = False
        self._disarmed_s = time.monotonic()

    def deaths(self) -> list[int]:
        """Return the processes that have died of failpoints."""
        with suppress(OSError):
            return [int(each) for each in deaths(self._failpoints).read_text().split()]
        return []

    async def watch(self) -> None:
        """For ever: start it again when it ended by itself, and remember that it did."""
        while True:
            await asyncio.sleep(_POLL_S)
            process = self._process
            if process is None or (code := process.poll()) is None:
                self._look()
                continue
            self._set_up(is_up=False)
            self._orphans += session.members(process.pid)
            is_late = time.monotonic() - self._disarmed_s < _DISARMING_S
            if not (self.is_death_expected or is_late) or code != -signal.SIGKILL:
                self.unexpected_ends.append(f"exit code {code}")
            self._failpoints.write_text("")
            self.is_death_expected = False
            self.spawn()

    def _look(self) -> bool:
        """Look whether it has said that it listens."""
        if not self.is_up and self._process is not None and self._has_greeted():
            self._set_up(is_up=True)
        return self.is_up

    def _has_greeted(self) -> bool:
        with suppress(OSError), self.log_path.open("rb") as log:
            log.seek(self._log_bytes)
            return _GREETING in log.read()
        return False

    def _set_up(self, *, is_up: bool) -> None:
        if is_up is not self.is_up:
            self.is_up = is_up
            self.on_up(is_up)
