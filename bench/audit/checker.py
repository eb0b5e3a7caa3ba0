"""The checker: compares a history with what is stored, and says what it found.

It is told nothing but the history, the rows and what the server has set aside, so that it can be
tried on histories that are known to be wrong. What it counts, by the name of an invariant:

- An event acknowledged with 200 is in `events` exactly once, under its id, as it was sent and with
  the `created_at` that the answer told. With 202 the same, once the spool is empty.
- Events of an app with the same id or key of the client's are one row, and whoever sends one again
  is told that row.
- An event that was acknowledged early is stored unless the server or its disk failed just then.
- `rejected_events` excuses nothing but poison, which Postgres itself refuses and the audit knows
  beforehand: acknowledged with 202 it is there and not in `events`. A good event may have been
  there while a fault allows it; in the end `nonito rejected retry` has brought it to `events`.
- What was refused is not stored; what is unknown at most once; what was never sent not at all.
- What was asked meanwhile was answered by that, see `questions`.
"""

from collections.abc import Container, Iterable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from bench.audit.answer_checks import check_answers, check_handovers
from bench.audit.claims import Claims, claim_of
from bench.audit.excuses import ASKED, SET_ASIDE, Excused, Excuses
from bench.audit.findings import EventCounts, Findings
from bench.audit.history import EARLY, TOLD, Aside, History, Record
from bench.audit.questions import Questions
from bench.audit.rows import AsSent, StoredEvent, microseconds
from bench.audit.workload import GOOD, GUARDED, POISON, TOKEN, app_of_token

_OK: Final = 200


class Stored(NamedTuple):
    """What the database holds."""

    rows: Iterable[StoredEvent]
    rejected: dict[str, str]
    """What is left in `rejected_events`: parameters as text, by id."""


def check(
    history: History, stored: Stored | None, excuses: Excuses
) -> tuple[Findings, EventCounts]:
    """Return everything that is wrong, and the counts.

    Without `stored`, for the spool is not empty, only the answers are checked.
    """
    checker = Checker(history, excuses)
    if stored is not None:
        for row in stored.rows:
            checker.take(row)
        checker.close(stored.rejected)
    return checker.findings, checker.counts


class Checker:
    """Lays every stored row beside the record of what was sent, one after the other."""

    def __init__(
        self,
        history: History,
        excuses: Excuses,
        handovers: Container[str] = (),
        answers: Path | None = None,
    ) -> None:
        self.findings = Findings()
        self.counts = EventCounts()
        self._history = history
        self._excused = Excused(history, excuses)
        self._claims = Claims(history, self.findings, self.counts)
        self._as_sent = AsSent()
        self._rejected: dict[str, str] = {}
        self._spoilt: set[object] = set()
        self._spoilt_claims = {
            claim_of(token, record)
            for token in history.damaged
            if (record := history.records.get(token)) and record.claim
        }
        """What is sent again while the first try waits in the spool shares that one copy's fate."""
        check_answers(history, self.findings, self._excused)
        check_handovers(history, self.findings, handovers)
        for text in history.held:
            self.findings.add("none-held-up", text)
        for text in history.unstaffed:
            self.findings.add("staffed", text)
        for text in history.unfollowed:
            self.findings.add("keys-followed", text)
        self._take_aside()
        _count(history, self.counts)
        self.questions: Questions | None = None
        """What was asked meanwhile, if anybody did."""
        if answers is not None:
            is_excused = partial(self._excused.during, ASKED)
            self.questions = Questions(answers, is_excused)
            self.questions.judge_counts(self.findings)

    def take(self, row: StoredEvent) -> None:
        """Check one stored row."""
        self.counts.rows += 1
        token, record = self._sent(row.params)
        if record is None:
            self._phantom(f"the row {row.id} was never sent: {row.params[:100]}")
            return
        record.rows += 1
        if self.questions is not None:
            committed_ns = _committed_ns(record)
            sent_ns = record.sent_ns
            self.questions.judge_stored(self.findings, row.app, row.id, sent_ns, committed_ns)
        if record.rows > 1:
            self.counts.doubled += 1
            text = f"{token} is stored {record.rows} times, also as {row.id}"
            self.findings.add("stored-once", text)
        if row.app != app_of_token(token):
            self._phantom(f"{token} is stored for app {row.app}")
        if all(each.is_refused for each in record.attempts):
            shown = f"{record.status} {record.code}"
            self.findings.add("refused-absent", f"{token} got {shown} and is stored")
        self._compare(token, record, row)

    def close(self, rejected: dict[str, str]) -> None:
        """Check what has no row, and what is still set aside."""
        self._rejected = rejected
        self.counts.rejected = len(rejected)
        seen: set[str] = set()
        for event_id, params in rejected.items():
            token, record = self._sent(params)
            if token in seen:
                self.findings.add("stored-once", f"{token} is set aside twice, also as {event_id}")
            seen.add(token)
            if record is None:
                self._phantom(f"{event_id} was set aside and never sent: {params[:100]}")
            elif record.expected in {GOOD, GUARDED}:
                text = f"{token} is set aside as {event_id}, though nothing is against it"
                self.findings.add("good-never-refused", text)
        missing: set[tuple[int, str]] = set()
        for label, record in self._history.records.items():
            self.counts.unknown_stored += not record.status and bool(record.rows)
            if record.is_acked:
                self._check_acked(label, record, missing)
        if self.questions is not None:
            self.questions.judge_rest(self.findings)

    def judge_loss(self, told: int) -> None:
        """Check that the server said of as many events as are lost that they are."""
        if self.counts.damaged > told:
            text = f"{self.counts.damaged} events are lost, {told} were told of"
            self.findings.add("loss-told", text)

    def _check_acked(self, label: str, record: Record, missing: set[tuple[int, str]]) -> None:
        if not record.claim:
            if not record.rows:
                self._miss(label, record)
            return
        claim = claim_of(label, record)
        if self._claims.is_stored(claim):
            self._claims.compare(label, record)
        elif claim not in missing and self._miss(label, record):
            missing.add(claim)  # said once

    def _miss(self, label: str, record: Record) -> bool:
        """Note that an acknowledged event is not stored; return whether that is a loss."""
        token = label.partition(".")[0]
        claim = claim_of(label, record) if record.claim else None
        is_poison = record.expected == POISON and record.status != _OK
        if is_poison and record.id in self._rejected:
            return False
        if token in self._history.damaged or claim in self._spoilt_claims:
            self._spoilt.add(token if claim is None else claim)
            self.counts.damaged = len(self._spoilt)
        elif record.is_early and self._may_be_lost(record):
            self.counts.early_lost += 1
        elif record.is_early:
            self.findings.add("early-kept", f"{label}, acknowledged early, is lost without a crash")
            return True
        else:
            self.counts.lost += 1
            where = " (it is in rejected_events)" if record.id in self._rejected else ""
            shown = f"{record.status} as {record.id or 'sent before'}"
            text = f"{label}, acknowledged with {shown}, is lost{where}"
            self.findings.add("stored-once", text)
            return True
        return False

    def _may_be_lost(self, record: Record) -> bool:
        """Whether an early acknowledgement may have come to nothing: by a crash, or a rule."""
        is_refused = record.expected == GUARDED and self._excused(POISON, record.at_ns)
        return is_refused or self._excused(EARLY, record.at_ns, record.server)

    def _sent(self, params: str) -> tuple[str, Record | None]:
        """Return whose parameters they are."""
        match = TOKEN.search(params.encode())
        token = match[1].decode() if match else ""
        return token, self._history.records.get(token)

    def _compare(self, token: str, record: Record, row: StoredEvent) -> None:
        if record.expected not in {GOOD, GUARDED, POISON}:
            return  # its body may be no JSON; that it is stored at all is what is wrong
        if not self._as_sent(token, record, row):
            self.findings.add("as-sent", f"{token} is stored as {row.name} {row.params[:200]}")
        if record.claim:
            self._claims.take(token, record, row)
        elif record.is_acked and row.id != record.id:
            self._phantom(f"{token} was acknowledged as {record.id} and stored as {row.id}")
        elif record.is_acked and microseconds(record.created_at) != row.created_us:
            told = f"{record.created_at}, stored {row.created_us}"
            self.findings.add("as-sent", f"{token}: created_at told {told}")

    def _take_aside(self) -> None:
        """Check what was set aside at any time."""
        self.counts.retried = len(self._history.aside)
        for aside in self._history.aside:
            token, record = self._sent(aside.params)
            if record is None:
                self._phantom(f"{aside.id} was set aside and never sent: {aside.params[:100]}")
                continue
            if record.claim:
                self._claims.except_(claim_of(token, record))
            if not self._may_be_aside(record, aside):
                text = f"{token} was set aside as {aside.id}"
                self.findings.add("good-never-refused", text)
        for token in self._history.damaged:
            if (record := self._history.records.get(token)) and record.claim:
                self._claims.except_(claim_of(token, record))

    def _may_be_aside(self, record: Record, aside: Aside) -> bool:
        match record.expected:
            case "good":
                return self._excused.lately(SET_ASIDE, aside.at_ns)
            case "guarded":
                return self._excused.lately(POISON, aside.at_ns)
            case _:
                return True

    def _phantom(self, text: str) -> None:
        self.counts.phantom += 1
        self.findings.add("nothing-else", text)


def _committed_ns(record: Record) -> int | None:
    """Return when it was first known that an event is in Postgres; None if that was not told."""
    return min((each.at_ns for each in record.attempts if each.status == _OK), default=None)


def _count(history: History, counts: EventCounts) -> None:
    for record in history.records.values():
        counts.again += record is not record.first
        if record.is_acked:
            counts.acked_200 += record.status == _OK
            counts.acked_202 += record.status != _OK
            counts.acked_early += record.is_early
            counts.told += record.code == TOLD
            counts.unsure += record.is_unsure
        elif record.status:
            counts.refused += 1
        else:
            counts.unknown += 1
