"""A real server process, started by its command, with a key to send events with."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any, Final

import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 60.0
COMMAND = (sys.executable, "-m", "ingest")

NO_INSIGHTS: Final = {"archive.enabled": "false", "dashboard.enabled": "false"}
"""Settings of a server that only takes events."""
LANES: Final = [
    pytest.param(each, id=each, marks=pytest.mark.both_lanes) for each in ("true", "false")
]
"""With the fast lane, and without: values of `server.fast_lane` for a test that has both."""
ONE_EVENT: Final[dict[str, Any]] = {
    "spool__enabled": "false",
    "queue__events_max": 1,
    "writer__batch_events_max": 1,
    "writer__connections": 1,
}
"""Settings, as `StartServer` has them, of a server with room for one event beside one in a COPY."""


def environment(settings: Mapping[str, object] | None = None) -> dict[str, str]:
    """Return this process's environment with settings, named `section.key`, and no others."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("NONITO_") and name != "DATABASE_URL"
    }
    # FAST_LANE=false runs whatever does not choose a lane itself on aiohttp's; one worker, whatever
    # the machine has, and no insights process.
    usual = {"server.fast_lane": os.environ.get("FAST_LANE", "true"), "server.workers": 1}
    for key, value in (usual | NO_INSIGHTS | dict(settings or {})).items():
        kept[f"NONITO_{key.replace('.', '_').upper()}"] = str(value)
    return kept


class Server:
    """A running server: its process, its address, and an API key of the database it uses."""

    def __init__(self, process: subprocess.Popen[bytes], logs: IO[bytes], key: str) -> None:
        self.process = process
        """The supervisor's."""
        self.key = key
        self._logs = logs
        self.url = ""
        self.port = 0
        self.greeting = ""

    def wait_until_ready(self) -> None:
        """Read the greeting, which ends with the line that names the address."""
        assert self.process.stdout is not None
        first = self.process.stdout.readline().decode()
        if not first.startswith("Listening on "):
            raise AssertionError(f"the server did not start: {first}{self.logs()}")
        self.greeting = first
        self.url = first.removeprefix("Listening on ").strip()
        self.port = int(self.url.rsplit(":", 1)[1])

    def post(self, body: object, **headers: str) -> requests.Response:
        """Post one event as JSON with the server's key."""
        return requests.post(
            f"{self.url}/event", json=body, headers={"X-API-Key": self.key, **headers}, timeout=30
        )

    def get(self, path: str) -> requests.Response:
        """Get a path of the server."""
        return requests.get(f"{self.url}{path}", timeout=30)

    def metrics(self) -> dict[str, float]:
        """Scrape: every sample by its name, with the values of its labels behind it."""
        found = {}
        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                labels = ",".join(sample.labels.values())
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found

    def logs(self) -> str:
        """Return what was logged so far."""
        self._logs.seek(0)
        return self._logs.read().decode()

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        """Send a signal and return the exit code; SIGKILL goes to all processes."""
        if number is signal.SIGKILL:
            self.kill()
        self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def workers(self) -> list[psutil.Process]:
        """Return the processes that serve now, those of the lowest numbers first."""
        return sorted(workers_of(self.process.pid), key=_number)

    def insights(self) -> list[psutil.Process]:
        """Return the insights process; none while there is none, two while one is replaced."""
        return [each for each in children_of(self.process.pid) if "insights" in _words(each)]

    @property
    def questions_url(self) -> str:
        """Where questions are answered, as the server says behind where it listens."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert line.startswith("Answering questions on "), line
        return line.removeprefix("Answering questions on ").strip()

    @property
    def worker_pid(self) -> int:
        """The first of them."""
        return int(self.workers()[0].pid)

    def kill(self) -> None:
        """End all of its processes at once, as a crash of the machine does."""
        kill_server(self.process)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes, such as SIGSTOP."""
        for pid in (self.process.pid, *(each.pid for each in self.workers())):
            os.kill(pid, number)

    def memory_bytes(self) -> int:
        """Return the resident set sizes of those that serve."""
        return sum(int(each.memory_info().rss) for each in self.workers())


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the workers of a supervisor; none if it is gone."""
    return [each for each in children_of(pid) if "worker" in _words(each)]


def children_of(pid: int) -> list[psutil.Process]:
    """Return what a supervisor has started; nothing if it is gone."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children()
    return []


def kill_server(process: subprocess.Popen[Any]) -> None:
    """End a supervisor, its workers and its insights process at once."""
    started = [
        each for each in children_of(process.pid) if {"worker", "insights"} & {*_words(each)}
    ]
    process.kill()  # first: it has nobody replaced any more
    for each in started:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    # Not until they are reaped: init may take seconds to look at whom it adopted.
    wait_for(lambda: not any(is_alive(each) for each in started))


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; one that nobody reaped yet does not."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _words(process: psutil.Process) -> list[str]:
    """Return a process's command line; nothing if it is gone."""
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def _number(process: psutil.Process) -> int:
    with suppress(IndexError, ValueError):
        return int(_words(process)[-1])
    return -1


@contextmanager
def running_server(
    arguments: tuple[str, ...],
    key: str,
    settings: Mapping[str, object] | None = None,
    command: tuple[str, ...] = (),
    port: int | None = 0,
    root: Path = ROOT,
) -> Iterator[Server]:
    """Run `nonito ARGUMENTS serve`; killed at the end if it still runs.

    Port 0 is any free one; with None the settings say where it listens. `root` is the checkout
    whose code it is.
    """
    flags = () if port is None else ("--port", str(port))
    with TemporaryFile() as logs, TemporaryDirectory() as spool:
        process = subprocess.Popen(
            [*(command or COMMAND), *arguments, "serve", *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=logs,
            cwd=ROOT / "tests",  # where no config.toml lies
            env=environment({"spool.path": spool} | dict(settings or {}))
            | {"PYTHONPATH": str(root)},
        )
        with process:
            server = Server(process, logs, key)
            try:
                server.wait_until_ready()
                yield server
            finally:
                kill_server(process)


def wait_for(condition: Any, timeout_s: float = 10.0) -> None:  # noqa: ANN401 - any callable
    """Wait until a condition holds; fail if it does not in time."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "the condition did not come true in time"
        time.sleep(0.02)


def wait_until_drained(server: Server, timeout_s: float = 20.0) -> None:
    """Wait until everything that was spooled is in Postgres."""
    wait_for(lambda: server.metrics()["nonito_spool_events"] == 0, timeout_s)


def books_balance(metrics: Mapping[str, float]) -> float:
    """Return what came in less what became of it; 0 at every scrape."""
    came = metrics["nonito_events_accepted_total"] + metrics["nonito_events_recovered_total"]
    ended = ("committed", "replayed", "dead_lettered", "damaged", "failed", "duplicate")
    gone = sum(metrics[f"nonito_events_{name}_total"] for name in ended)
    gone += sum(metrics[f"nonito_events_left_total{{{place}}}"] for place in ("queue", "spool"))
    return came - gone - metrics["nonito_queue_events"] - metrics["nonito_spool_events"]
