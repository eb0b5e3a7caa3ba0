"""The audit's checker, on histories that are known to be right or wrong."""

import json
from pathlib import Path
from random import Random

import pytest

from bench.audit.checker import Excuses, Findings, Stored, StoredEvent, check, microseconds
from bench.audit.history import LOST, UNANSWERED, History, read
from bench.audit.recorder import Recorder
from bench.audit.scrape import Scrapes, imbalance
from bench.audit.verdicts import INVARIANTS, Observed, reach
from bench.audit.workload import GOOD, POISON, SentEvent, Workload
from bench.metrics import parse

IDS = [f"01a20775-3827-7f9a-a84b-{number:012x}" for number in range(100)]
TOLD = "2026-01-10T12:00:00.123Z"
TOLD_US = microseconds(TOLD)
WORKLOAD = Workload("run", 1)


class Scenario:
    """A history in the making, and what is stored beside it."""

    def __init__(self, directory: Path) -> None:
        self.recorder = Recorder(directory / "history")
        self.rows: list[StoredEvent] = []
        self.rejected: dict[str, str] = {}
        self.random = Random(1)
        self.number = 0

    def send(self, kind: str = GOOD) -> SentEvent:
        """Note a new event as sent."""
        self.number += 1
        make = {GOOD: WORKLOAD.good, POISON: WORKLOAD.poison}.get(kind, WORKLOAD.bad)
        event = make(1, self.number, self.random)
        self.recorder.sent(event)
        return event

    def store(self, event: SentEvent, event_id: str, created_us: int = TOLD_US) -> None:
        """Put a row into the table as it should be."""
        name = json.loads(event.body)["event_name"]
        self.rows.append(StoredEvent(event_id, name, params_of(event), created_us))

    def acked(self, status: int = 200, kind: str = GOOD) -> SentEvent:
        """Send, acknowledge and store one event."""
        event = self.send(kind)
        self.recorder.answered(event.token, status, IDS[self.number], TOLD)
        self.store(event, IDS[self.number])
        return event

    def check(self, excuses: Excuses | None = None) -> Findings:
        """Read the history back and return what is wrong with it."""
        stored = Stored(self.rows, self.rejected)
        return check(read(self.recorder.path), stored, excuses or {})[0]

    def broken(self, excuses: Excuses | None = None) -> set[str]:
        """Return which invariants are broken."""
        found = set(self.check(excuses).counts)
        assert found <= INVARIANTS.keys()
        return found


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    """An empty history with forty good events in it already."""
    made = Scenario(tmp_path)
    for number in range(40):
        made.acked(202 if number % 5 == 0 else 200)
    return made


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


def params_of(event: SentEvent) -> str:
    """Return a event's parameters as text."""
    return event.echo.decode().partition(',"event_params":')[2].removesuffix(',"created_at":"')


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
    scenario.rows.append(StoredEvent(IDS[94], "x", '{"audit": "run-9-9"}', 0))
    assert scenario.broken() == {"nothing-else"}
    scenario.rows[-1] = StoredEvent(IDS[94], "x", "{}", 0)
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
    scenario.rows.append(StoredEvent(IDS[90], "x", f'{{"audit": "{event.token}"}}', TOLD_US))
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
    params = '{"audit": "t", "n": 123456789012345678901234567890, "m": 1e2}'
    body = f'{{"event_name": "n", "event_params": {params}}}'
    recorder.sent(SentEvent("t", GOOD, body.encode(), b""))
    recorder.answered("t", 200, IDS[0], TOLD)
    history = read(tmp_path / "history")
    assert not found(history, '{"n": 123456789012345678901234567890, "m": 100, "audit": "t"}')
    assert found(history, '{"n": 123456789012345678901234567891, "m": 100, "audit": "t"}')


def found(history: History, params: str) -> int:
    """Return how often a row is not as it was sent."""
    rows = [StoredEvent(IDS[0], "n", params, TOLD_US)]
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
    """In either equation, and only then."""
    text = (
        b"# HELP nonito_x y\nnonito_events_accepted_total 10.0\n"
        b"nonito_events_committed_total 5.0\n"
        b"nonito_events_spooled_total 3.0\nnonito_events_failed_total 1.0\n"
        b"nonito_queue_events 1.0\n"
        b"nonito_events_recovered_total 2.0\nnonito_events_replayed_total 4.0\n"
        b'nonito_spool_events 1.0\nnonito_events_refused_total{code="invalid_json"} 7.0\n'
    )
    samples = parse(text)
    assert imbalance(samples) == ""
    assert "off by 1" in imbalance(samples | {"events_accepted_total": 11.0})
    assert "off by -1" in imbalance(samples | {"spool_events": 0.0})
