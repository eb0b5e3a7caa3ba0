"""The audit's checker, on several servers: what befalls one of them is no other's excuse."""

import time
from random import Random

from bench.audit.findings import Findings
from bench.audit.history import EARLY, KEPT_OUT, LOST, UNANSWERED
from bench.audit.memory import Memory
from bench.audit.scrape import Scrapes
from bench.audit.verdicts import SEVERAL, Observed, reach
from bench.audit.workload import POISON
from tests.bench.audit.scenario import IDS, TOLD, WORKLOAD, Scenario, params_of

KILL = {"kill": frozenset({LOST, EARLY, KEPT_OUT})}


def _kill(scenario: Scenario, server: int) -> None:
    scenario.recorder.fault("kill", "begun", server)
    scenario.recorder.fault("kill", "ended", server)


def test_kill_of_one_server_excuses_no_lost_connection_to_another(scenario: Scenario) -> None:
    """Only those to itself."""
    _kill(scenario, 1)
    scenario.recorder.unknown(scenario.send(server=1).token, LOST)
    assert scenario.broken(KILL) == set()
    scenario.recorder.unknown(scenario.send(server=0).token, LOST)
    assert scenario.broken(KILL) == {"always-answered"}


def test_retry_at_another_server_is_judged_by_where_it_went(scenario: Scenario) -> None:
    """Its first try was lost with the server that was killed."""
    _kill(scenario, 1)
    event = scenario.send(claim="key order 1", server=1)
    scenario.recorder.unknown(event.label, LOST)
    second = scenario.again(event, server=0)
    scenario.recorder.unknown(second.label, LOST)
    assert scenario.broken(KILL) == {"always-answered"}


def test_early_acknowledgement_is_lost_by_its_own_server_s_crash_only(scenario: Scenario) -> None:
    """That of another one costs it nothing."""
    event = scenario.send(server=0)
    scenario.recorder.early(event.label, "01a20775-3827-7f9a-a84b-77c69c54c242", "")
    _kill(scenario, 1)
    assert scenario.broken(KILL) == {"early-kept"}
    _kill(scenario, 0)
    assert scenario.broken(KILL) == set()


def test_client_is_kept_out_of_the_server_that_is_down_alone(scenario: Scenario) -> None:
    """Another one lets it in."""
    since_ns = time.monotonic_ns()
    _kill(scenario, 1)
    scenario.recorder.outside(1, since_ns, 1)
    assert scenario.broken(KILL) == set()
    scenario.recorder.outside(1, since_ns, 0)
    assert scenario.broken(KILL) == {"always-answered"}


def test_what_befalls_all_servers_excuses_each(scenario: Scenario) -> None:
    """Postgres is one for all of them."""
    excuses = {"hang": frozenset({UNANSWERED})}
    scenario.recorder.fault("hang", "begun")
    for server in (0, 1):
        scenario.recorder.unknown(scenario.send(server=server).token, UNANSWERED)
    scenario.recorder.fault("hang", "ended")
    assert scenario.broken(excuses) == set()


def test_event_is_sent_again_mostly_to_another_server() -> None:
    """And in the end to its own, where nobody asks another one."""
    memory, random = Memory(servers=2), Random(1)
    events = [WORKLOAD.good(1, number, random, f"key {number}") for number in range(50)]
    memory.retry(events, 0)
    asked = [memory.again(random, 0, takes_keys=True) for _ in range(50)]
    assert 0 < sum(each is not None for each in asked) < 25
    assert all(memory.again(random, 1, takes_keys=True) for _ in range(25))


def test_some_events_are_sent_to_another_server_at_the_same_time() -> None:
    """Where there is another one."""
    random = Random(1)
    several, alone = Memory(servers=2), Memory(servers=1)
    for number in range(100):
        event = WORKLOAD.good(1, number, random, f"key {number}")
        several.keep(event, 0, random)
        alone.keep(event, 0, random)
    assert len(several._due) > 2
    assert not alone._due


def test_server_that_does_not_follow_is_found(scenario: Scenario) -> None:
    """A key that was revoked at another one opens it still."""
    assert scenario.broken() == set()
    scenario.recorder.unfollowed("server 1 takes a key that was revoked 10.0 s ago")
    assert scenario.broken() == {"keys-followed"}


def test_event_that_two_servers_set_aside_is_found(scenario: Scenario) -> None:
    """Under two ids, where one was sent."""
    event = scenario.send(POISON)
    scenario.recorder.answered(event.label, 202, IDS[98], TOLD)
    scenario.rejected[IDS[98]] = params_of(event)
    assert scenario.broken() == set()
    scenario.rejected[IDS[99]] = params_of(event)
    assert scenario.broken() == {"stored-once"}


def test_one_server_is_not_judged_by_what_takes_two() -> None:
    """It would always keep that."""
    for servers in (1, 2):
        observed = Observed(Scrapes(count=1), servers=servers)
        judged = {each.invariant for each in reach(Findings(), observed)}
        assert (judged >= SEVERAL) is (servers > 1)
