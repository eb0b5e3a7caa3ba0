"""The insights process: beside the workers, and what becomes of it hurts no events."""

import signal
import socket
from pathlib import Path

import pytest
import structlog

from ingest.addresses import Tcp
from ingest.config import Config, Dashboard
from ingest.errors import StartupError
from ingest.insights_extra import INSTALL, PACKAGES
from ingest.supervisor import insights, sockets
from tests.conftest import StartServer
from tests.support.server import Server, wait_for

pytestmark = pytest.mark.slow

EVENT = {"event_name": "page_view"}


def started(url: str, start_server: StartServer, archive: Path) -> Server:
    """Return a server with an insights process."""
    server = start_server(
        url,
        archive__enabled="true",
        archive__path=archive,
        dashboard__enabled="true",
        dashboard__port=0,
    )
    wait_for(lambda: is_up(server), 30)
    return server


def is_up(server: Server) -> bool:
    """Whether the insights process says that it runs."""
    return server.metrics()["nonito_insights_up"] == 1


def test_it_runs_beside_the_workers_at_low_priority(
    database_url: str, start_server: StartServer, tmp_path: Path
) -> None:
    """One of it; the processor, and memory when that is short, are the workers'."""
    server = started(database_url, start_server, tmp_path)
    (process,) = server.insights()
    assert process.nice() >= 10
    assert Path(f"/proc/{process.pid}/oom_score_adj").read_text() == "500\n"
    assert server.stop() == 0
    assert not process.is_running()


def test_killed_again_and_again_it_is_replaced_and_events_are_taken(
    database_url: str, start_server: StartServer, tmp_path: Path
) -> None:
    """And the server still ends in good order."""
    server = started(database_url, start_server, tmp_path)
    for kills in (1, 2):
        (process,) = server.insights()
        process.kill()
        process.wait(10)
        assert server.post(EVENT).status_code == 200
        wait_for(lambda: bool(server.insights()) and is_up(server), 30)
        assert server.metrics()["nonito_insights_restarts_total"] == kills
    assert "the insights process ended, another one is started" in server.logs()
    assert server.stop() == 0


def test_sighup_replaces_it(database_url: str, start_server: StartServer, tmp_path: Path) -> None:
    """When the workers are new already; it is no restart."""
    server = started(database_url, start_server, tmp_path)
    (before,) = server.insights()
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: not before.is_running() and is_up(server), 30)
    assert len(server.insights()) == 1
    assert server.metrics()["nonito_insights_restarts_total"] == 0
    assert server.stop() == 0


def test_it_ends_with_its_supervisor(
    database_url: str, start_server: StartServer, tmp_path: Path
) -> None:
    """However that ends."""
    server = started(database_url, start_server, tmp_path)
    (process,) = server.insights()
    server.process.kill()
    process.wait(10)


@pytest.mark.parametrize("missing", PACKAGES)
def test_without_its_packages_there_is_none_and_the_log_says_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of them is imported to see that."""
    monkeypatch.setattr(insights, "find_spec", lambda name: None if name == missing else object())
    with structlog.testing.capture_logs() as lines:
        assert not insights.is_wanted(Config())
    assert [(line["log_level"], line["mend"]) for line in lines] == [("info", INSTALL)]


def test_usual_address_that_is_taken_stops_nothing_and_a_chosen_one_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second server on one machine takes events; an operator's own choice is an order."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartupError, match=rf"127.0.0.1:{port}.*dashboard.port"):
            sockets.bind_dashboard(Dashboard(port=port))
        monkeypatch.setattr(sockets, "_USUAL", Tcp("127.0.0.1", port))
        with structlog.testing.capture_logs() as lines:
            assert sockets.bind_dashboard(Dashboard(port=port)) is None
        assert f"127.0.0.1:{port}" in lines[0]["reason"]
