"""One entry's run with wrk as the sender: warm-up, window, and the audit of both."""

from typing import NamedTuple

from bench import machine
from bench.compare import wrk, wrk_audit
from bench.compare.setup import Setup
from bench.compare.wrk import Sent, Shot
from bench.load import database, payloads
from bench.machine import Usage
from bench.servers import Endpoint


class Volley(NamedTuple):
    """What came of it."""

    sent: Sent
    server_cpu_s: float
    server_rss_bytes: int
    postgres_cpu_s: float
    faults: list[str]


class Rules(NamedTuple):
    """What an entry is held to."""

    stores: bool
    has_metrics: bool


def fire(setup: Setup, endpoint: Endpoint, connections: int, rules: Rules) -> Volley:
    """Load a server that runs already and whose table is empty."""
    shot = Shot(endpoint, setup.key, payloads.example(), connections, setup.cores.others)
    faults: list[str] = []
    if setup.warm_up_s:
        _send(setup, shot, setup.warm_up_s, rules, faults)
    server, postgres = machine.usage(endpoint.pid), machine.usage(setup.postgres_pid)
    sent = _send(setup, shot, setup.seconds, rules, faults)
    server_after, postgres_after = machine.usage(endpoint.pid), machine.usage(setup.postgres_pid)
    if rules.stores:
        faults += wrk_audit.altered(setup.database_url, shot.payload, setup.key)
    if rules.has_metrics:
        faults += wrk_audit.other_statuses(endpoint)
    return Volley(
        sent,
        _cpu_s(server, server_after),
        server_after.rss_bytes if server_after else 0,
        _cpu_s(postgres, postgres_after),
        faults,
    )


def _send(setup: Setup, shot: Shot, seconds: float, rules: Rules, faults: list[str]) -> Sent:
    """Run wrk once, and add what is wrong with what it counted."""
    before = database.count(setup.database_url) if rules.stores else 0
    sent = wrk.run(shot, seconds)
    faults += sent.said.faults
    if rules.stores:
        rows = wrk_audit.settled_rows(setup.database_url) - before
        faults += wrk_audit.miscounted(rows, sent.said.requests, shot.connections)
    return sent


def _cpu_s(before: Usage | None, after: Usage | None) -> float:
    return after.cpu_s - before.cpu_s if before and after else 0.0
