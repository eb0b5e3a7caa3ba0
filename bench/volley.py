"""One entry's run with wrk as the sender: warm-up, window, and the audit of both."""

from typing import TYPE_CHECKING, NamedTuple

from bench import database, machine, payloads, wrk, wrk_audit
from bench.wrk import Sent, Shot

if TYPE_CHECKING:
    from bench.contest import Arena
    from bench.machine import Usage
    from bench.servers import Target


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


def fire(arena: "Arena", target: "Target", connections: int, rules: Rules) -> Volley:
    """Load a server that runs already and whose table is empty."""
    shot = Shot(target, arena.key, payloads.example(), connections, arena.cores.others)
    faults: list[str] = []
    if arena.warm_up_s:
        _send(arena, shot, arena.warm_up_s, rules, faults)
    server, postgres = machine.usage(target.pid), machine.usage(arena.postgres_pid)
    sent = _send(arena, shot, arena.seconds, rules, faults)
    server_after, postgres_after = machine.usage(target.pid), machine.usage(arena.postgres_pid)
    if rules.stores:
        faults += wrk_audit.altered(arena.database_url, shot.payload, arena.key)
    if rules.has_metrics:
        faults += wrk_audit.other_statuses(target)
    return Volley(
        sent,
        _cpu_s(server, server_after),
        server_after.rss_bytes if server_after else 0,
        _cpu_s(postgres, postgres_after),
        faults,
    )


def _send(arena: "Arena", shot: Shot, seconds: float, rules: Rules, faults: list[str]) -> Sent:
    """Run wrk once, and add what is wrong with what it counted."""
    before = database.count(arena.database_url) if rules.stores else 0
    sent = wrk.run(shot, seconds)
    faults += sent.said.faults
    if rules.stores:
        rows = wrk_audit.settled_rows(arena.database_url) - before
        faults += wrk_audit.miscounted(rows, sent.said.requests, shot.connections)
    return sent


def _cpu_s(before: "Usage | None", after: "Usage | None") -> float:
    return after.cpu_s - before.cpu_s if before and after else 0.0
