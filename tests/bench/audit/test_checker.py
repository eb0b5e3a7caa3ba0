"""The audit's checker, on histories that are known to be right or wrong."""

import time
from pathlib import Path

import pytest

from bench.audit.checker import Stored, check
from bench.audit.excuses import SET_ASIDE, Excuses
from bench.audit.history import EARLY, LOST, UNANSWERED, History, read
from bench.audit.recorder import Recorder
from bench.audit.rows import StoredEvent, microseconds
from bench.audit.scrape import Scrapes, imbalance
from bench.audit.verdicts import Observed, reach
from bench.audit.workload import GOOD, GUARDED, POISON, SentEvent
from bench.metrics import parse
from tests.bench.audit.scenario import IDS, TOLD, TOLD_US, WORKLOAD, Scenario, params_of


def test_honest_history_has_no_findings(scenario: Scenario) -> None:
    """Every kind of answer, each with what may be stored for it."""
    scenario.recorder.refused(scenario.send("bad").token, 400, scenario_code(scenario))
    scenario.recorder.refused(scenario.send(POISON).token, 400, POISON)
    scenario.recorder.unknown(scenario.send().token, "client left")
    stored = scenario.send()
    scenario.recorder.unknown(stored.token, "client left")
    scenario.store(stored, IDS[90])
    aside = scenario.send(POISON)
    scenario.recorder.answered(aside.token, 202, IDS[91], TOLD)
    scenario.rejected[IDS[91]] = params_of(aside)
    assert scenario.broken() == set()


def scenario_code(scenario: Scenario) -> str:
    """Return the code that the last event of a history must get."""
    return list(read(scenario.recorder.path).records.values())[-1].expected


def test_acknowledged_event_without_a_row_is_lost(scenario: Scenario) -> None:
    """Whichever status it had."""
    for index in (0, 1):
        row = scenario.rows.pop(index)
        assert scenario.broken() == {"stored-once"}
        scenario.rows.insert(index, row)
    assert scenario.broken() == set()


def test_event_stored_under_two_ids_is_doubled(scenario: Scenario) -> None:
    """The second row is also one that nobody was told of."""
    scenario.rows.append(scenario.rows[3]._replace(id=IDS[95]))
    assert scenario.broken() == {"stored-once", "nothing-else"}


def test_unknown_event_may_be_stored_once_but_not_twice(scenario: Scenario) -> None:
    """With other ids, since nobody knows the first."""
    event = scenario.send()
    scenario.recorder.unknown(event.token, "client left")
    scenario.store(event, IDS[92])
    assert scenario.broken() == set()
    scenario.store(event, IDS[93])
    assert scenario.broken() == {"stored-once"}


def test_row_that_nobody_sent_is_a_phantom(scenario: Scenario) -> None:
    """Also one without a token."""
    scenario.rows.append(StoredEvent(1, IDS[94], "x", '{"audit": "run-9-9"}', 0))
    assert scenario.broken() == {"nothing-else"}
    scenario.rows[-1] = StoredEvent(0, IDS[94], "x", "{}", 0)
    assert scenario.broken() == {"nothing-else"}


def test_id_given_to_two_events_is_found(scenario: Scenario) -> None:
    """Two answers with one id can't both be true."""
    event = scenario.send()
    scenario.recorder.answered(event.token, 200, IDS[1], TOLD)
    assert "stored-once" in scenario.broken()


@pytest.mark.parametrize("kind", ["bad", POISON])
def test_refused_event_that_is_stored_is_found(scenario: Scenario, kind: str) -> None:
    """Whatever it was refused for."""
    event = scenario.send(kind)
    scenario.recorder.refused(event.token, 400, scenario_code(scenario))
    scenario.rows.append(StoredEvent(0, IDS[90], "x", f'{{"audit": "{event.token}"}}', TOLD_US))
    assert "refused-absent" in scenario.broken()


def test_altered_payload_or_time_is_found(scenario: Scenario) -> None:
    """Another name, another member, a microsecond."""
    row = scenario.rows[0]
    for change in (
        row._replace(name="other"),
        row._replace(params=f'{row.params[:-1]}, "more": 1}}'),
        row._replace(created_us=TOLD_US + 1),
    ):
        scenario.rows[0] = change
        assert scenario.broken() == {"as-sent"}


def test_every_digit_counts(tmp_path: Path) -> None:
    """What a double can't hold is compared all the same; how a number is written is not."""
    recorder = Recorder(tmp_path / "history")
    params = '{"audit": "run-1-1", "n": 123456789012345678901234567890, "m": 1e2}'
    body = f'{{"event_name": "n", "event_params": {params}}}'
    recorder.sent(SentEvent("run-1-1", GOOD, body.encode(), b""))
    recorder.answered("run-1-1", 200, IDS[0], TOLD)
    history = read(tmp_path / "history")
    assert not found(history, '{"n": 123456789012345678901234567890, "m": 100, "audit": "run-1-1"}')
    assert found(history, '{"n": 123456789012345678901234567891, "m": 100, "audit": "run-1-1"}')


def found(history: History, params: str) -> int:
    """Return how often a row is not as it was sent."""
    rows = [StoredEvent(0, IDS[0], "n", params, TOLD_US)]
    return check(history, Stored(rows, {}), {})[0].counts["as-sent"]


def test_set_aside_excuses_only_poison_acknowledged_with_202(scenario: Scenario) -> None:
    """A good event in `rejected_events` is lost, and a 200 never ends there."""
    row = scenario.rows.pop(0)
    scenario.rejected[row.id] = row.params
    assert scenario.broken() == {"stored-once", "good-never-refused"}
    scenario.rows.insert(0, row)
    scenario.rejected.clear()
    event = scenario.send(POISON)
    scenario.recorder.answered(event.token, 200, IDS[91], TOLD)
    scenario.rejected[IDS[91]] = params_of(event)
    assert scenario.broken() == {"stored-once", "bad-refused"}


def test_set_aside_is_excused_while_a_fault_allows_it_and_only_until_it_is_retried(
    scenario: Scenario,
) -> None:
    """A guarded event by a rule against its kind, any good one by what concerns all."""
    excuses: Excuses = {"rule": frozenset({POISON}), "repair": frozenset({POISON, SET_ASIDE})}
    for kind, fault in ((GUARDED, "rule"), (GOOD, "repair")):
        event = scenario.send(kind)
        event_id = IDS[scenario.number]
        scenario.recorder.answered(event.token, 202, event_id, TOLD)
        scenario.recorder.fault(fault, "begun")
        scenario.recorder.aside(event_id, time.monotonic_ns(), params_of(event))
        scenario.recorder.fault(fault, "ended")
        assert scenario.broken(excuses) == {"stored-once"}
        scenario.rejected[event_id] = params_of(event)
        assert scenario.broken(excuses) == {"stored-once", "good-never-refused"}
        scenario.rejected.clear()
        scenario.store(event, event_id)
        assert scenario.broken(excuses) == set()
    assert scenario.broken({"rule": excuses["rule"]}) == {"good-never-refused"}
    assert scenario.check().counts["good-never-refused"] == 2


@pytest.mark.parametrize("claim", [f"id {IDS[98]}", "key order 1"])
def test_events_with_one_claim_are_one_row_for_each_app(scenario: Scenario, claim: str) -> None:
    """Another client's event with it, too; another app's is another."""
    scenario.claimed(claim, IDS[98])
    other = scenario.send(claim=claim)
    excuses = {"kill": frozenset({LOST})}
    scenario.recorder.fault("kill", "begun")
    scenario.recorder.unknown(other.token, LOST)
    scenario.recorder.fault("kill", "ended")
    elsewhere = WORKLOAD.good(8, 1, scenario.random, claim)
    scenario.recorder.sent(elsewhere)
    scenario.recorder.answered(elsewhere.token, 200, IDS[98], TOLD)
    scenario.store(elsewhere, IDS[98])
    assert "nothing-else" in scenario.broken(excuses)
    scenario.rows[-1] = scenario.rows[-1]._replace(app=1)
    assert not scenario.broken(excuses)
    scenario.store(other, IDS[97])
    assert "stored-once" in scenario.broken(excuses)


def test_claim_whose_only_copy_the_audit_has_spoilt_is_not_lost(scenario: Scenario) -> None:
    """Whoever sent it again while the first waited on the disk was told that one's row."""
    first, again = (scenario.send(claim="key order 1") for _ in range(2))
    for event in (first, again):
        scenario.recorder.answered(event.token, 202, IDS[1], TOLD)
    scenario.recorder.damaged(first.token)
    assert scenario.broken() == set()


def test_claim_that_is_acknowledged_and_not_stored_is_lost(scenario: Scenario) -> None:
    """Also if only a retry was acknowledged, and told what is stored."""
    event = scenario.claimed("key order 1", IDS[98])
    row = scenario.rows.pop()
    assert scenario.broken() == {"stored-once"}
    scenario.recorder.told(scenario.again(event).label, 200, told_row(event, IDS[98]))
    assert scenario.check().counts["stored-once"] == 1
    scenario.rows.append(row)
    assert scenario.broken() == set()


def test_retry_that_is_told_anything_but_what_is_stored_is_found(scenario: Scenario) -> None:
    """Its own parameters, another id, another time; with 200, or as if it were new."""
    event = scenario.claimed("key order 1", IDS[98])
    other = scenario.send(claim="key order 1")
    scenario.recorder.told(other.label, 200, told_row(event, IDS[98]))
    assert scenario.broken() == set()
    wrong = (
        told_row(other, IDS[98]),
        told_row(event, IDS[97]),
        told_row(event, IDS[98]).replace(b"00.123Z", b"00.124Z"),
    )
    for attempt, row in enumerate(wrong, 1):
        scenario.recorder.told(scenario.again(event, attempt).label, 200, row)
        assert scenario.check().counts["retries-told"] == attempt
    scenario.recorder.answered(scenario.again(event, 9).label, 202, IDS[96], TOLD)
    assert scenario.check().counts["retries-told"] == 4
    scenario.recorder.unsure(scenario.again(event, 10).label, 202, IDS[96], TOLD)
    assert scenario.check().counts["retries-told"] == 4
    assert scenario.broken() == {"retries-told"}


def test_row_that_only_another_try_could_replace_is_stored_if_there_is_none(
    scenario: Scenario,
) -> None:
    """Else the answer's "unknown" would excuse any row."""
    event = scenario.send(claim="key order 2")
    scenario.recorder.unsure(event.label, 202, IDS[97], TOLD)
    assert scenario.broken() == {"stored-once"}
    scenario.store(event, IDS[96])
    assert scenario.broken() == {"retries-told"}
    scenario.recorder.unsure(scenario.again(event).label, 202, IDS[96], TOLD)
    assert scenario.broken() == set()


def told_row(event: SentEvent, event_id: str) -> bytes:
    """Return a stored event as a retry's answer has it."""
    return b'{"id":"%b%b%b"}' % (event_id.encode(), event.echo, TOLD.encode())


def test_refused_attempt_excuses_no_other_of_its_event(scenario: Scenario) -> None:
    """The first try found the spool full, the second was stored."""
    excuses = {"full": frozenset({"overloaded"})}
    scenario.recorder.fault("full", "begun")
    event = scenario.send(claim="key order 1")
    scenario.recorder.refused(event.label, 503, "overloaded")
    scenario.recorder.fault("full", "ended")
    second = scenario.again(event)
    scenario.recorder.answered(second.label, 200, IDS[98], TOLD)
    assert scenario.broken(excuses) == {"stored-once"}
    scenario.store(event, IDS[98])
    assert scenario.broken(excuses) == set()


def test_early_acknowledgement_is_lost_by_a_crash_only(scenario: Scenario) -> None:
    """And what is stored of it is what was told."""
    event = scenario.send()
    scenario.recorder.early(event.label, IDS[98], TOLD)
    assert scenario.broken() == {"early-kept"}
    scenario.recorder.fault("kill", "begun")
    scenario.recorder.fault("kill", "ended")
    assert scenario.broken({"kill": frozenset({EARLY})}) == set()
    scenario.store(event, IDS[97])
    assert scenario.broken() == {"nothing-else"}


def test_client_s_timestamp_is_stored_as_it_was_sent(scenario: Scenario) -> None:
    """In whatever zone it was written, and nothing where none was sent."""
    happened = WORKLOAD.happened(scenario.random)
    event = WORKLOAD.good(1, 99, scenario.random, "", happened)
    scenario.recorder.sent(event)
    scenario.recorder.answered(event.token, 200, IDS[98], TOLD)
    scenario.store(event, IDS[98])
    assert scenario.broken() == {"as-sent"}
    row = scenario.rows.pop()
    scenario.rows.append(row._replace(timestamp_us=microseconds(happened)))
    assert scenario.broken() == set()
    scenario.rows[0] = scenario.rows[0]._replace(timestamp_us=microseconds(happened))
    assert scenario.broken() == {"as-sent"}


def test_good_events_that_others_hold_up_are_found(scenario: Scenario) -> None:
    """Whatever the fault has seen."""
    scenario.recorder.held("trigger-drops: 3 of 9 wait")
    assert scenario.broken() == {"none-held-up"}


def test_answer_of_another_request_is_found(scenario: Scenario) -> None:
    """And a second answer, and an answer to nothing."""
    scenario.recorder.mixed(scenario.send().token, b"somebody else's")
    assert scenario.broken() == {"answers-belong"}
    scenario.recorder.refused("run-0-0", 400, "invalid_json")
    assert scenario.check().counts["answers-belong"] == 2


def test_good_event_with_a_4xx_and_bad_one_with_a_2xx_are_found(scenario: Scenario) -> None:
    """And a bad one with another code than documented."""
    scenario.recorder.refused(scenario.send().token, 400, POISON)
    assert scenario.broken() == {"good-never-refused"}
    bad = scenario.send("bad")
    scenario.recorder.refused(bad.token, 400, "not_found")
    assert scenario.broken() == {"good-never-refused", "bad-refused"}


def test_5xx_is_found_unless_a_fault_excuses_its_code(scenario: Scenario) -> None:
    """Both those that say the event is not stored and those that don't know."""
    excuses = {"disk-full": frozenset({"overloaded", "database_error"})}
    scenario.recorder.fault("disk-full", "begun")
    scenario.recorder.refused(scenario.send().token, 503, "overloaded")
    scenario.recorder.unknown(scenario.send().token, "500 database_error")
    scenario.recorder.fault("disk-full", "ended")
    assert scenario.broken() == {"no-5xx"}
    assert scenario.broken(excuses) == set()
    scenario.recorder.refused(scenario.send().token, 500, "internal_error")
    assert scenario.broken(excuses) == {"no-5xx"}


def test_missing_answer_is_found_unless_the_server_was_killed(scenario: Scenario) -> None:
    """A connection that ends is excused by a kill; silence never."""
    excuses = {"kill": frozenset({LOST})}
    scenario.recorder.fault("kill", "begun")
    scenario.recorder.unknown(scenario.send().token, LOST)
    scenario.recorder.fault("kill", "ended")
    assert scenario.broken() == {"always-answered"}
    assert scenario.broken(excuses) == set()
    scenario.recorder.unknown(scenario.send().token, UNANSWERED)
    assert scenario.broken(excuses) == {"always-answered"}


def test_table_is_not_judged_while_the_spool_is_not_empty(scenario: Scenario) -> None:
    """What is missing may still come; that it does not come is what is wrong."""
    findings, _ = check(read(scenario.recorder.path), None, {})
    verdicts = {each.invariant: each for each in reach(findings, Observed(Scrapes(count=1)))}
    assert verdicts["stored-once"].is_kept is None
    assert verdicts["spool-drains"].is_kept is False


def test_torn_last_line_is_passed_over(scenario: Scenario) -> None:
    """A history can be read whatever moment the audit itself ended at."""
    with scenario.recorder.path.open("ab") as history:
        history.write(b"sent\t1\trun-1-")
    assert scenario.broken() == set()


def test_books_off_by_one_event_do_not_balance() -> None:
    """In any of the equations, and only then."""
    text = (
        b"# HELP nonito_x y\nnonito_events_accepted_total 10.0\n"
        b"nonito_events_committed_total 5.0\n"
        b"nonito_events_spooled_total 3.0\nnonito_events_failed_total 1.0\n"
        b"nonito_queue_events 1.0\n"
        b"nonito_events_recovered_total 2.0\nnonito_events_replayed_total 4.0\n"
        b'nonito_spool_events 1.0\nnonito_events_refused_total{code="invalid_json"} 7.0\n'
        b'nonito_app_events_accepted_total{app="a"} 4.0\n'
        b'nonito_app_events_accepted_total{app="other"} 6.0\n'
    )
    samples = parse(text)
    assert imbalance(samples) == ""
    assert "off by 1" in imbalance(samples | {"events_accepted_total": 11.0})
    assert "off by -1" in imbalance(samples | {"spool_events": 0.0})
    of_one_app = 'app_events_accepted_total{app="a"}'
    assert "off by 2" in imbalance(samples | {of_one_app: 2.0})
