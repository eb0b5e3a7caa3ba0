"""`ops/nonito.service`: systemd understands it, and the server can live within its limits."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from ingest import config as config_module
from ingest.config import Config
from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, make_key
from tests.http.cases import KEY, post
from tests.http.checks import assert_success
from tests.ops.prometheus import OPS
from tests.support import trace
from tests.support.proxies import free_port
from tests.support.raw import Answer, RawClient
from tests.support.server import COMMAND, running_server, wait_for, wait_until_drained

pytestmark = pytest.mark.slow

SERVICE = OPS / "nonito.service"
SOCKET = OPS / "nonito.socket"
EXPOSURE_MAX = 1.5
"""Of 10; a service without any of it has 9.6."""
CONFINED = (
    "import ctypes; assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0;"  # PR_SET_MDWE
    "from ingest.cli import main; main()"
)
"""Runs the server without memory that is writable and executable."""

_AS_ROOT = {"fchown"}
"""SQLite gives its files to the database's owner if it is root, which the unit's user is not."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze"
)


def setting(name: str) -> str:
    """Return what the unit says last of a setting."""
    found: list[str] = re.findall(rf"(?m)^{name}=(.*)$", SERVICE.read_text())
    return found[-1]


def systemd_analyze(*arguments: object) -> str:
    """Return what it says; it must be content."""
    ended = subprocess.run(
        ["systemd-analyze", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def permitted() -> set[str]:
    """Return the system calls that the unit permits."""
    permitted: set[str] = set()
    for line in re.findall(r"(?m)^SystemCallFilter=(.*)$", SERVICE.read_text()):
        calls = {call for name in line.lstrip("~").split() for call in calls_of(name)}
        permitted = permitted - calls if line.startswith("~") else permitted | calls
    return permitted


def calls_of(group: str) -> set[str]:
    """Return the system calls of a group, and of the groups in it; one that is none is itself."""
    if not group.startswith("@"):
        return {group}
    names = re.findall(r"(?m)^    ([@a-z]\S*)", systemd_analyze("syscall-filter", group))
    plain = {name for name in names if not name.startswith("@")}
    return plain.union(*(calls_of(name) for name in names if name.startswith("@")))


@needs_systemd
def test_systemd_takes_every_line(tmp_path: Path) -> None:
    """It knows all settings and their values, and finds the service as confined as it can be."""
    unit, listening = tmp_path / "nonito.service", tmp_path / "nonito.socket"
    unit.write_text(SERVICE.read_text().replace("/opt/nonito/bin/nonito", sys.executable))
    listening.write_text(SOCKET.read_text())
    systemd_analyze("verify", unit, listening)
    said = systemd_analyze("security", "--offline=true", unit)
    exposure = re.search(r"Overall exposure level for nonito.service: ([\d.]+)", said)
    assert exposure
    assert float(exposure[1]) <= EXPOSURE_MAX


def test_it_waits_for_the_server_and_gives_it_files_enough() -> None:
    """Longer than a stop may take; as many files as connections, and some."""
    config = Config()
    name, _, drain_s = setting("Environment").partition("=")
    assert config_module.ENVIRONMENT[name] == "server.drain_s"
    stop_s = int(drain_s) + config.server.shutdown_timeout_s
    assert int(setting("TimeoutStopSec")) >= stop_s + 10
    assert int(setting("TimeoutStartSec")) >= config.database.start_timeout_s + 60
    assert (setting("Type"), setting("NotifyAccess")) == ("notify", "main")
    assert int(setting("LimitNOFILE")) >= config.limits.connections_max + 128
    assert setting("KillMode") == "mixed"
    assert setting("WorkingDirectory") == f"%S/{setting('StateDirectory')}"
    assert not Path(config.spool.path).is_absolute()


@needs_systemd
def test_server_does_all_its_work_within_what_the_unit_permits(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    """Events, an outage, the spool, a scrape and a stop, without one call that would be denied.

    It listens at a port and at a path.
    """
    if obstacle := trace.obstacle():
        pytest.skip(obstacle)
    output = tmp_path / "calls"
    tracer = ("strace", "-D", "-f", "-qq", "-o", str(output))
    command = (*tracer, sys.executable, "-c", CONFINED)
    url = own_cluster.url(OWN_DATABASE)
    settings = {"server.listen": f"127.0.0.1:0 unix:{tmp_path}/events.sock"}
    with running_server(
        ("--database-url", url), make_key(url), settings, command=command, port=None
    ) as server:
        assert server.post({"event_name": "a"}).status_code == 200
        own_cluster.stop()
        assert server.post({"event_name": "a"}).status_code == 202
        own_cluster.start()
        wait_until_drained(server)
        assert server.stop() == 0
    used = set(re.findall(r"(?m)^\d+ +([a-z]\w*)\(", output.read_text()))
    assert {"execve", "accept4"} <= used
    assert used & {"fsync", "fdatasync"}
    assert used - permitted() - (_AS_ROOT if os.geteuid() == 0 else set()) == set()


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="not installed")
def test_whoever_connects_before_the_server_runs_is_served_by_it(
    database_url: str, tmp_path: Path
) -> None:
    """At a port and at a path, which systemd has and keeps; and so after a restart."""
    port, path = free_port(), tmp_path / "x.sock"
    key = make_key(database_url)
    passed = ["NONITO_SPOOL_PATH", "NONITO_SERVER_FAST_LANE", "PYTHONPATH"]
    activate = (
        *("systemd-socket-activate", "-l", f"127.0.0.1:{port}", "-l", str(path)),
        *(part for name in passed for part in ("-E", name)),
        *COMMAND,
    )
    request = post().replace(KEY, key.encode())
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(ask_once_it_listens, port, request)
        arguments = ("--database-url", database_url)
        with running_server(arguments, key, command=activate, port=None) as server:
            assert server.url == f"http://127.0.0.1:{port}"
            assert_success(early.result(60))
            assert server.process.stdout is not None
            assert server.process.stdout.readline().decode() == f"Listening on unix:{path}\n"
            assert server.stop() == 0
    assert path.exists()


def ask_once_it_listens(port: int, request: bytes) -> Answer:
    """Connect as soon as anybody listens, and wait for the answer."""
    found: list[RawClient] = []

    def connect() -> bool:
        try:
            found.append(RawClient(port, timeout_s=60))
        except ConnectionRefusedError:
            return False
        return True

    wait_for(connect)
    with closing(found[0]) as client:
        return client.ask(request)


def test_server_tells_systemd_when_it_serves_reloads_and_stops(
    database_url: str, tmp_path: Path
) -> None:
    """As `Type=notify` waits for it; and that it is alive, as long as it is."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        heard: list[str] = []

        def hear(line: str) -> None:
            while line not in heard:
                heard.extend(manager.recv(4096).decode().splitlines())
            heard.clear()

        told = ("env", f"NOTIFY_SOCKET={tmp_path}/notify", "WATCHDOG_USEC=500000", *COMMAND)
        arguments = ("--database-url", database_url)
        with running_server(arguments, make_key(database_url), command=told) as server:
            hear("READY=1")
            hear("WATCHDOG=1")
            server.process.send_signal(signal.SIGHUP)
            hear("RELOADING=1")
            hear("READY=1")
            assert server.stop() == 0
            hear("STOPPING=1")
