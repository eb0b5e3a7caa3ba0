"""The audit's judge, on histories that are known to be right or wrong."""

import json
from pathlib import Path
from random import Random

import pytest

from bench.audit.checker import Excuses, Findings, Row, Stored, judge, microseconds
from bench.audit.history import LOST, UNANSWERED, Story, read
from bench.audit.recorder import Oracle
from bench.audit.scrape import Books, imbalance
from bench.audit.verdicts import INVARIANTS, Observed, reach
from bench.audit.workload import GOOD, POISON, Maker, Request
from bench.metrics import parse

IDS = [f"01a20775-3827-7f9a-a84b-{number:012x}" for number in range(100)]
TOLD = "2026-01-10T12:00:00.123Z"
TOLD_US = microseconds(TOLD)
MAKER = Maker("run", 1)


class Tale:
    """A history in the making, and what is stored beside it."""

    def __init__(self, directory: Path) -> None:
        self.oracle = Oracle(directory / "history")
        self.rows: list[Row] = []
        self.rejected: dict[str, str] = {}
        self.random = Random(1)
        self.number = 0

    def send(self, kind: str = GOOD) -> Request:
        """Note a new request as sent."""
        self.number += 1
        make = {GOOD: MAKER.good, POISON: MAKER.poison}.get(kind, MAKER.bad)
        request = make(1, self.number, self.random)
        self.oracle.sent(request)
        return request

    def store(self, request: Request, event_id: str, created_us: int = TOLD_US) -> None:
        """Put a row into the table as it should be."""
        name = json.loads(request.body)["event_name"]
        self.rows.append(Row(event_id, name, params_of(request), created_us))

    def acked(self, status: int = 200, kind: str = GOOD) -> Request:
        """Send, acknowledge and store one event."""
        request = self.send(kind)
        self.oracle.answered(request.token, status, IDS[self.number], TOLD)
        self.store(request, IDS[self.number])
        return request

    def judge(self, excuses: Excuses | None = None) -> Findings:
        """Read the history back and return what is wrong with it."""
        stored = Stored(self.rows, self.rejected)
        return judge(read(self.oracle.path), stored, excuses or {})[0]

    def broken(self, excuses: Excuses | None = None) -> set[str]:
        """Return which invariants are broken."""
        found = set(self.judge(excuses).counts)
        assert found <= INVARIANTS.keys()
        return found


@pytest.fixture
def tale(tmp_path: Path) -> Tale:
    """An empty history with forty good events in it already."""
    made = Tale(tmp_path)
    for number in range(40):
        made.acked(202 if number % 5 == 0 else 200)
    return made


def test_honest_history_has_no_findings(tale: Tale) -> None:
    """Every kind of answer, each with what may be stored for it."""
    tale.oracle.refused(tale.send("bad").token, 400, tale_code(tale))
    tale.oracle.refused(tale.send(POISON).token, 400, POISON)
    tale.oracle.unknown(tale.send().token, "client left")
    stored = tale.send()
    tale.oracle.unknown(stored.token, "client left")
    tale.store(stored, IDS[90])
    aside = tale.send(POISON)
    tale.oracle.answered(aside.token, 202, IDS[91], TOLD)
    tale.rejected[IDS[91]] = params_of(aside)
    assert tale.broken() == set()


def tale_code(tale: Tale) -> str:
    """Return the code that the last request of a history must get."""
    return list(read(tale.oracle.path).records.values())[-1].expected


def params_of(request: Request) -> str:
    """Return a request's parameters as text."""
    return request.echo.decode().partition(',"event_params":')[2].removesuffix(',"created_at":"')


def test_acknowledged_event_without_a_row_is_lost(tale: Tale) -> None:
    """Whichever status it had."""
    for index in (0, 1):
        row = tale.rows.pop(index)
        assert tale.broken() == {"stored-once"}
        tale.rows.insert(index, row)
    assert tale.broken() == set()


def test_event_stored_under_two_ids_is_doubled(tale: Tale) -> None:
    """The second row is also one that nobody was told of."""
    tale.rows.append(tale.rows[3]._replace(id=IDS[95]))
    assert tale.broken() == {"stored-once", "nothing-else"}


def test_unknown_event_may_be_stored_once_but_not_twice(tale: Tale) -> None:
    """With other ids, since nobody knows the first."""
    request = tale.send()
    tale.oracle.unknown(request.token, "client left")
    tale.store(request, IDS[92])
    assert tale.broken() == set()
    tale.store(request, IDS[93])
    assert tale.broken() == {"stored-once"}


def test_row_that_nobody_sent_is_a_phantom(tale: Tale) -> None:
    """Also one without a token."""
    tale.rows.append(Row(IDS[94], "x", '{"audit": "run-9-9"}', 0))
    assert tale.broken() == {"nothing-else"}
    tale.rows[-1] = Row(IDS[94], "x", "{}", 0)
    assert tale.broken() == {"nothing-else"}


def test_id_given_to_two_events_is_found(tale: Tale) -> None:
    """Two answers with one id can't both be true."""
    request = tale.send()
    tale.oracle.answered(request.token, 200, IDS[1], TOLD)
    assert "stored-once" in tale.broken()


@pytest.mark.parametrize("kind", ["bad", POISON])
def test_refused_event_that_is_stored_is_found(tale: Tale, kind: str) -> None:
    """Whatever it was refused for."""
    request = tale.send(kind)
    tale.oracle.refused(request.token, 400, tale_code(tale))
    tale.rows.append(Row(IDS[90], "x", f'{{"audit": "{request.token}"}}', TOLD_US))
    assert "refused-absent" in tale.broken()


def test_altered_payload_or_time_is_found(tale: Tale) -> None:
    """Another name, another member, a microsecond."""
    row = tale.rows[0]
    for change in (
        row._replace(name="other"),
        row._replace(params=f'{row.params[:-1]}, "more": 1}}'),
        row._replace(created_us=TOLD_US + 1),
    ):
        tale.rows[0] = change
        assert tale.broken() == {"as-sent"}


def test_every_digit_counts(tmp_path: Path) -> None:
    """What a double can't hold is compared all the same; how a number is written is not."""
    oracle = Oracle(tmp_path / "history")
    params = '{"audit": "t", "n": 123456789012345678901234567890, "m": 1e2}'
    body = f'{{"event_name": "n", "event_params": {params}}}'
    oracle.sent(Request("t", GOOD, body.encode(), b""))
    oracle.answered("t", 200, IDS[0], TOLD)
    story = read(tmp_path / "history")
    assert not found(story, '{"n": 123456789012345678901234567890, "m": 100, "audit": "t"}')
    assert found(story, '{"n": 123456789012345678901234567891, "m": 100, "audit": "t"}')


def found(story: Story, params: str) -> int:
    """Return how often a row is not as it was sent."""
    rows = [Row(IDS[0], "n", params, TOLD_US)]
    return judge(story, Stored(rows, {}), {})[0].counts["as-sent"]


def test_set_aside_excuses_only_poison_acknowledged_with_202(tale: Tale) -> None:
    """A good event in `rejected_events` is lost, and a 200 never ends there."""
    row = tale.rows.pop(0)
    tale.rejected[row.id] = row.params
    assert tale.broken() == {"stored-once", "good-never-refused"}
    tale.rows.insert(0, row)
    tale.rejected.clear()
    request = tale.send(POISON)
    tale.oracle.answered(request.token, 200, IDS[91], TOLD)
    tale.rejected[IDS[91]] = params_of(request)
    assert tale.broken() == {"stored-once", "bad-refused"}


def test_answer_of_another_request_is_found(tale: Tale) -> None:
    """And a second answer, and an answer to nothing."""
    tale.oracle.mixed(tale.send().token, b"somebody else's")
    assert tale.broken() == {"answers-belong"}
    tale.oracle.refused("run-0-0", 400, "invalid_json")
    assert tale.judge().counts["answers-belong"] == 2


def test_good_event_with_a_4xx_and_bad_one_with_a_2xx_are_found(tale: Tale) -> None:
    """And a bad one with another code than documented."""
    tale.oracle.refused(tale.send().token, 400, POISON)
    assert tale.broken() == {"good-never-refused"}
    bad = tale.send("bad")
    tale.oracle.refused(bad.token, 400, "not_found")
    assert tale.broken() == {"good-never-refused", "bad-refused"}


def test_5xx_is_found_unless_a_fault_excuses_its_code(tale: Tale) -> None:
    """Both those that say the event is not stored and those that don't know."""
    excuses = {"disk-full": frozenset({"overloaded", "database_error"})}
    tale.oracle.fault("disk-full", "begun")
    tale.oracle.refused(tale.send().token, 503, "overloaded")
    tale.oracle.unknown(tale.send().token, "500 database_error")
    tale.oracle.fault("disk-full", "ended")
    assert tale.broken() == {"no-5xx"}
    assert tale.broken(excuses) == set()
    tale.oracle.refused(tale.send().token, 500, "internal_error")
    assert tale.broken(excuses) == {"no-5xx"}


def test_missing_answer_is_found_unless_the_server_was_killed(tale: Tale) -> None:
    """A connection that ends is excused by a kill; silence never."""
    excuses = {"kill": frozenset({LOST})}
    tale.oracle.fault("kill", "begun")
    tale.oracle.unknown(tale.send().token, LOST)
    tale.oracle.fault("kill", "ended")
    assert tale.broken() == {"always-answered"}
    assert tale.broken(excuses) == set()
    tale.oracle.unknown(tale.send().token, UNANSWERED)
    assert tale.broken(excuses) == {"always-answered"}


def test_table_is_not_judged_while_the_spool_is_not_empty(tale: Tale) -> None:
    """What is missing may still come; that it does not come is what is wrong."""
    findings, _ = judge(read(tale.oracle.path), None, {})
    verdicts = {each.invariant: each for each in reach(findings, Observed(Books(scrapes=1)))}
    assert verdicts["stored-once"].is_kept is None
    assert verdicts["spool-drains"].is_kept is False


def test_torn_last_line_is_passed_over(tale: Tale) -> None:
    """A history can be read whatever moment the audit itself ended at."""
    with tale.oracle.path.open("ab") as history:
        history.write(b"sent\t1\trun-1-")
    assert tale.broken() == set()


def test_books_off_by_one_event_do_not_balance() -> None:
    """In either equation, and only then."""
    text = (
        b"# HELP nonito_x y\nnonito_events_accepted_total 10.0\n"
        b"nonito_events_committed_total 5.0\n"
        b"nonito_events_spooled_total 3.0\nnonito_events_failed_total 1.0\n"
        b"nonito_queue_events 1.0\n"
        b"nonito_events_recovered_total 2.0\nnonito_events_replayed_total 4.0\n"
        b'nonito_spool_events 1.0\nnonito_events_rejected_total{code="invalid_json"} 7.0\n'
    )
    samples = parse(text)
    assert imbalance(samples) == ""
    assert "off by 1" in imbalance(samples | {"events_accepted_total": 11.0})
    assert "off by -1" in imbalance(samples | {"spool_events": 0.0})
