"""A start and its end, as the log has them, and as somebody sees them who changes their mind."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest import __version__
from ingest.store.cluster import Cluster
from ingest.store.embedded import find_programs
from tests.conftest import StartServer
from tests.support.postgres import kill, passable_directory
from tests.support.server import COMMAND, ROOT, environment, kill_server, wait_for

pytestmark = pytest.mark.slow

SECRET = "hunter2"
AWAY = f"postgresql://somebody:{SECRET}@127.0.0.1:1/events"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path; a Postgres that is left in it is killed."""
    with passable_directory() as directory:
        yield directory
        kill(Cluster(directory / "data", find_programs()))


@pytest.mark.parametrize(
    "form",
    [
        f"postgresql://postgres:{SECRET}@/{{name}}?host={{host}}",
        "postgresql://postgres@/{name}?host={host}",
        f"host={{host}} dbname={{name}} user=postgres password={SECRET}",
    ],
    ids=["with a password", "without", "no URL"],
)
def test_log_says_where_a_server_serves_from_when_to_when(
    start_server: StartServer, database_url: str, form: str
) -> None:
    """One line for each, as JSON where all of it is; the password is in neither."""
    name, host = database_url.partition("@/")[2].split("?host=")
    server = start_server(form.format(name=name, host=host))
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.logs().splitlines()]
    (serving,) = [line for line in lines if line["message"] == "serving"]
    assert (serving["address"], serving["version"]) == (server.url, __version__)
    assert serving["workers"] == 1
    assert name in serving["database"]
    assert lines[-1]["message"] == "stopped"
    assert SECRET not in server.logs()


def starts_postgres(place: Path, logged: Path) -> bool:  # noqa: ARG001 - as the others
    """Whether the embedded Postgres is being started."""
    return (place / "data" / "postgres" / "postmaster.pid").exists()


def makes_a_cluster(place: Path, logged: Path) -> bool:  # noqa: ARG001 - as the others
    """Whether a new cluster is being made."""
    return (place / "data" / "postgres.unfinished").exists()


def prepares(place: Path, logged: Path) -> bool:  # noqa: ARG001 - as the others
    """Whether tables are being made."""
    return '"migrated"' in logged.read_text()


def waits_for_postgres(place: Path, logged: Path) -> bool:  # noqa: ARG001 - as the others
    """Whether it waits for a Postgres that is away."""
    return "waiting for Postgres" in logged.read_text()


MOMENTS = {
    "making a cluster": ("", makes_a_cluster, signal.SIGINT),
    "starting Postgres": ("", starts_postgres, signal.SIGTERM),
    "making tables": ("", prepares, signal.SIGINT),
    "waiting for Postgres": (AWAY, waits_for_postgres, signal.SIGINT),
}


@pytest.mark.parametrize(("url", "has_come", "number"), MOMENTS.values(), ids=MOMENTS)
def test_early_end_is_no_traceback_and_leaves_nothing_running(
    place: Path, url: str, has_come: Callable[[Path, Path], bool], number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM before it serves, whatever it is just doing."""
    logged = place / "log"
    settings = {
        "database.url": url,
        "database.data_dir": place / "data",
        "spool.path": place / "spool",
    }
    with logged.open("wb") as errors:
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0"],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=ROOT / "tests",
            env=environment(settings) | {"PYTHONPATH": str(ROOT)},
        )
        with process:
            try:
                wait_for(lambda: has_come(place, logged), timeout_s=60)
                process.send_signal(number)
                assert process.wait(60) in {128 + number, 0}
            finally:
                kill_server(process)
    assert "Traceback" not in logged.read_text()
    assert "exc_info" not in logged.read_text()
    assert not (place / "data" / "postgres" / "postmaster.pid").exists()


def test_interrupted_before_it_has_read_the_command(place: Path) -> None:
    """Most of a start is Python reading our code."""
    code = (
        "import _thread, builtins, signal, sys\n"
        # A shell has its background commands ignore it, and so would we.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "read = builtins.__import__\n"
        "def interrupt(name, *rest):\n"
        "    if name == 'click':\n"
        "        builtins.__import__ = read\n"
        "        _thread.interrupt_main()\n"
        "    return read(name, *rest)\n"
        "from ingest.cli import main\n"
        "builtins.__import__ = interrupt\n"
        "main()\n"
    )
    ended = subprocess.run(
        [*COMMAND[:1], "-c", code, "--version"],
        cwd=place,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (130, "")
