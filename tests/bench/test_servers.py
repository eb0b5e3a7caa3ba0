"""What a run starts: how many workers it has, which processes they are, what each part costs."""

import os

import pytest

from bench import machine, servers
from bench.errors import BenchError
from bench.load import site
from tests.conftest import StartServer


def test_server_has_one_worker_unless_it_is_told_otherwise() -> None:
    """So that figures are one process's on any machine, whatever the caller's environment says."""
    assert servers.environment({})["NONITO_SERVER_WORKERS"] == "1"
    assert servers.environment({servers.WORKERS: 4})["NONITO_SERVER_WORKERS"] == "4"
    assert servers.environment({})["NONITO_ARCHIVE_ENABLED"] == "false"


def test_costs_are_those_of_supervisor_and_workers_and_of_nobody_else(database_url: str) -> None:
    """All of them together are the server's, and the supervisor's part can be told apart."""
    cores = machine.split_cores(2)
    with servers.ours(database_url, cores.server, {servers.WORKERS: 2}) as endpoint:
        workers = servers.workers(endpoint)
        assert len(workers) == 2
        assert endpoint.pid not in workers
        parts = [machine.usage_alone(pid) for pid in (endpoint.pid, *workers)]
        whole = machine.usage(endpoint.pid)
    assert whole is not None
    memory = [part.rss_bytes for part in parts if part is not None]
    assert len(memory) == 3
    assert whole.rss_bytes == pytest.approx(sum(memory), rel=0.1)
    assert parts[0] is not None
    assert 0 < parts[0].cpu_s < whole.cpu_s


def test_found_server_is_known_by_its_supervisor(
    database_url: str, start_server: StartServer
) -> None:
    """Whichever of its processes is seen to listen; its workers are counted."""
    server = start_server(database_url, server__workers=2)
    found = servers.locate(server.url)
    assert found.pid == server.process.pid
    assert sorted(servers.workers(found)) == sorted(each.pid for each in server.workers())
    with site.prepare(server.url, server.key, None, 1) as prepared:
        assert prepared.workers == 2


def test_workers_of_a_found_server_can_not_be_chosen() -> None:
    """Rather than an option without effect."""
    with (
        pytest.raises(BenchError, match="--workers"),
        site.prepare("http://127.0.0.1:1", "nk_x", None, 2),
    ):
        pass


def test_cores_are_shared_out_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One a worker, as far as one is left for the client and Postgres."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    for workers, own in ((1, {0}), (2, {0, 1}), (8, {0, 1, 2})):
        cores = machine.split_cores(workers)
        assert cores.server == own
        assert cores.others == {0, 1, 2, 3} - own
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    alone = machine.split_cores(2)
    assert alone.server == alone.others == {5}
