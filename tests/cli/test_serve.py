"""The command line of `nonito serve`, and the process that goes on without what has read it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.support.command import complaint, run
from tests.support.server import COMMAND, ROOT, environment, running_server

NONITO: Final = Path(sys.executable).with_name("nonito")
IMPORTED: Final = """
import atexit, sys
atexit.register(lambda: print("imported:", *sys.modules))
from ingest.cli import main
main()
"""


def test_supervisor_holds_nothing_that_it_does_not_need(database_url: str) -> None:
    """It lives as long as the server: click and OpenSSL alone would be 2.4 MB of 16."""
    command = (sys.executable, "-c", IMPORTED)
    with running_server(("--database-url", database_url), "", command=command) as server:
        server.stop()
        assert server.process.stdout is not None
        modules = set(server.process.stdout.read().decode().rpartition("imported:")[2].split())
    taking_events, others = {"aiohttp", "asyncpg", "orjson", "uvloop"}, {"difflib", "rich"}
    spared = {"click", "ssl", "_ssl", "_hashlib"} | taking_events | others
    assert {"asyncio", "ingest.supervisor.supervisor", "structlog"} <= modules
    assert modules & spared == set()


@pytest.mark.parametrize("name", ["worker", "insights"])
def test_child_of_the_supervisor_holds_nothing_for_a_terminal(name: str) -> None:
    """Nobody but the supervisor tells it what to do."""
    shown = run(name, command=(sys.executable, "-c", IMPORTED))
    modules = set(shown.stdout.rpartition("imported:")[2].split())
    assert complaint(shown) == "nonito: this is started by nonito serve alone"
    assert f"ingest.cli.{name}" in modules
    assert modules & {"click", "rich"} == set()


SIGNALLED = """
import os, signal
begin = os.execv
def execv(*arguments):
    os.kill(os.getpid(), signal.{})
    begin(*arguments)
os.execv = execv
from ingest.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_signal_that_comes_when_the_command_line_is_read_is_not_lost(
    number: signal.Signals, tmp_path: Path
) -> None:
    """The process is just about to begin anew, without click."""
    command = (sys.executable, "-c", SIGNALLED.format(number.name))
    ended = run("--data-dir", str(tmp_path / "data"), "serve", "--port", "0", command=command)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + number, "", "")
    assert not (tmp_path / "data").exists()


def test_process_keeps_its_id_and_its_names(database_url: str) -> None:
    """As `ps`, `pgrep` and systemd know it, and no child inherits what it told itself."""
    arguments = ("--database-url", database_url)
    with running_server(arguments, "", command=(str(NONITO),)) as server:
        process = psutil.Process(server.process.pid)
        (worker,) = server.workers()
        assert process.name() == "nonito"
        assert process.cmdline()[1:] == [str(NONITO), *arguments, "serve", "--port", "0"]
        assert "NONITO_COMMAND_LINE" not in worker.environ()


def test_greeting_that_nobody_reads_is_no_traceback(database_url: str, tmp_path: Path) -> None:
    """As with `nonito serve | head -0`."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as unread:
        ended = subprocess.run(
            [*COMMAND, "--database-url", database_url, "serve", "--port", "0"],
            cwd=ROOT / "tests",
            env=environment({"spool.path": tmp_path / "spool"}) | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=unread,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "BrokenPipe" not in ended.stderr
