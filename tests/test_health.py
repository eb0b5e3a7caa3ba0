"""`nonito health`, and the container's health check: they ask the server that is configured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.observe.test_monitor import free_port
from tests.support.command import Nonito, complaint, run_here, succeed
from tests.support.server import ROOT, environment

nonito = pytest.fixture(run_here)


def container_check() -> list[str]:
    """Return the command of the Dockerfile's health check."""
    (line,) = [
        line
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("HEALTHCHECK")
    ]
    found: list[str] = json.loads(line.partition(" CMD ")[2])
    return found


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_server_is_asked_at_its_configured_port(
    database_url: str, start_server: StartServer, nonito: Nonito, host: str
) -> None:
    """Also one that listens on every interface."""
    server = start_server(database_url, server__host=host)
    settings = {"server.host": host, "server.port": server.port}
    assert succeed(nonito("health", settings=settings)) == ""


def test_metrics_address_is_asked_where_there_is_one(
    database_url: str, start_server: StartServer, nonito: Nonito
) -> None:
    """It answers when clients have taken all connections."""
    port = free_port()
    start_server(database_url, metrics__port=port)
    settings = {"server.port": free_port(), "metrics.port": port}
    assert succeed(nonito("health", settings=settings)) == ""


def test_server_that_does_not_answer_is_one_line(nonito: Nonito) -> None:
    """And exit code 1; also where nobody can know the port."""
    port = free_port()
    said = complaint(nonito("health", settings={"server.port": port}))
    assert f"127.0.0.1:{port} does not answer: Connection refused" in said
    assert "server.port is 0" in complaint(nonito("health", settings={"server.port": 0}))


def test_container_s_check_follows_the_configured_port(
    database_url: str, start_server: StartServer, tmp_path: Path
) -> None:
    """The Dockerfile's own command, in the environment of a container."""
    server = start_server(database_url)
    for port, code in ((server.port, 0), (free_port(), 1)):
        settings = {"server.host": "0.0.0.0", "server.port": port}
        found = environment(settings) | {"PYTHONPATH": str(ROOT)}
        found["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{found['PATH']}"
        ended = subprocess.run(container_check(), env=found, cwd=tmp_path, timeout=60, check=False)
        assert ended.returncode == code
