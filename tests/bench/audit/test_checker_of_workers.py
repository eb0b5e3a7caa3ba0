"""The audit's checker, on what becomes of single workers and of those who are connected to them."""

import time

import pytest

from bench.audit import answer_checks
from bench.audit.checker import Checker
from bench.audit.faults import DOWN, SERVER_DOWN
from bench.audit.history import KEPT_OUT, LOST, UNANSWERED, read
from bench.audit.scrape import fallen
from tests.bench.audit.scenario import Scenario


def test_only_connections_of_a_killed_worker_may_break(scenario: Scenario) -> None:
    """Those that it had when it was stopped to be killed, and for a moment only."""
    recorder = scenario.recorder
    recorder.broke(7, time.monotonic_ns(), [50_001, 50_002])
    recorder.unknown(scenario.send().token, LOST, 50_002)
    assert scenario.broken() == set()
    recorder.unknown(scenario.send().token, LOST, 50_003)
    found = scenario.check()
    assert found.counts == {"always-answered": 1}
    assert "lost its connection to a living server" in found.shown["always-answered"][0]


def test_connection_that_broke_long_before_its_worker_was_killed_is_found(
    scenario: Scenario,
) -> None:
    """A port is used again and again."""
    scenario.recorder.unknown(scenario.send().token, LOST, 50_001)
    scenario.recorder.broke(7, time.monotonic_ns(), [50_001])
    assert scenario.broken() == {"always-answered"}


def test_client_that_is_not_let_in_is_found_unless_the_server_is_down(scenario: Scenario) -> None:
    """From its first try on."""
    recorder, excuses = scenario.recorder, {"down": frozenset({KEPT_OUT})}
    since_ns = time.monotonic_ns()
    recorder.fault("down", "begun")
    recorder.fault("down", "ended")
    recorder.outside(1, since_ns)
    assert scenario.broken(excuses) == set()
    assert scenario.broken() == {"always-answered"}


def test_workers_of_a_dead_supervisor_may_see_clients_off(scenario: Scenario) -> None:
    """With a 503, until the next server listens; of a server that lives it is a fault."""
    scenario.recorder.fault(DOWN, "begun")
    scenario.recorder.refused(scenario.send().token, 503, "shutting_down")
    scenario.recorder.fault(DOWN, "ended")
    assert scenario.broken({DOWN: SERVER_DOWN}) == set()
    assert scenario.broken() == {"no-5xx"}


def test_silence_is_excused_while_a_worker_is_stuck(scenario: Scenario) -> None:
    """Its clients wait until it is ended."""
    scenario.recorder.fault("stuck", "begun")
    scenario.recorder.unknown(scenario.send().token, UNANSWERED)
    scenario.recorder.fault("stuck", "ended")
    assert scenario.broken({"stuck": frozenset({UNANSWERED})}) == set()
    assert scenario.broken() == {"always-answered"}


def test_wait_for_a_successor_is_found(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what was sent while workers were replaced, by a fault that has nobody wait."""
    monkeypatch.setattr(answer_checks, "_HANDOVER_S_MAX", 0.0)
    scenario.recorder.fault("hangup", "begun")
    scenario.acked()
    scenario.recorder.fault("hangup", "ended")
    scenario.acked()
    history = read(scenario.recorder.path)
    assert Checker(history, {}, {"hangup"}).findings.counts == {"handed-over": 1}
    assert not Checker(history, {}, {"kill"}).findings.counts


def test_wait_for_the_cpu_is_nobody_s_wait_for_a_successor(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it was as long, and at that server."""
    monkeypatch.setattr(answer_checks, "_HANDOVER_S_MAX", 0.0)
    since_ns = time.monotonic_ns()
    scenario.recorder.fault("hangup", "begun")
    scenario.acked()
    scenario.recorder.fault("hangup", "ended")
    for server, waited_ns, found in ((0, 1, 1), (1, 10**9, 1), (0, 10**9, 0)):
        scenario.recorder.starved(server, since_ns, waited_ns)
        checker = Checker(read(scenario.recorder.path), {}, {"hangup"})
        assert checker.findings.counts["handed-over"] == found


def test_workers_that_are_not_replaced_are_found(scenario: Scenario) -> None:
    """And those that outlive their supervisor: the faults look for them."""
    scenario.recorder.unstaffed("1 worker, 60 s on")
    assert scenario.check().shown == {"staffed": ["1 worker, 60 s on"]}


def test_counter_that_goes_down_is_found() -> None:
    """Whatever its labels; a gauge may."""
    before = {'requests_total{status="200"}': 5.0, "commit_seconds_sum": 1.0, "queue_events": 9.0}
    same = before | {"queue_events": 0.0}
    assert fallen(before, same) == ""
    assert fallen(before, same | {"commit_seconds_sum": 2.0}) == ""
    shown = fallen(before, same | {'requests_total{status="200"}': 4.0})
    assert shown == 'requests_total{status="200"} went from 5 to 4; 1 in all went down'
    assert fallen(before, {"commit_seconds_sum": 1.0})
