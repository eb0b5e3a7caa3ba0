"""The checker: compares a history with what is stored, and says what it found.

It is told nothing but the history, the rows and the ids that the server set aside, so that it can
be tried on histories that are known to be wrong. What it counts, by the name of an invariant:

- An event acknowledged with 200 is in `events` exactly once, under its id, as it was sent and with
  the `created_at` that the answer told. With 202 the same, once the spool is empty.
- `rejected_events` excuses nothing but poison, which Postgres itself refuses and the audit knows
  beforehand: acknowledged with 202 it is there and not in `events`. A good event there is lost if
  it was acknowledged, and wrongly refused if its outcome was unknown.
- What was refused is not stored; what is unknown at most once; what was never sent not at all.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple

from bench.audit.history import LOST, UNANSWERED, History, Record
from bench.audit.workload import GOOD, POISON, TOKEN, TOKEN_FIELD

_SHOWN_MAX: Final = 5
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_GRACE_NS: Final = 1_500_000_000
"""How long behind a fault its excuses hold: a batch may be on its way when it is lifted."""
_CLIENT_ERRORS: Final = range(400, 500)
_OK: Final = 200
_load: Final = partial(json.loads, parse_float=Decimal)  # every digit counts

Excuses = dict[str, frozenset[str]]
"""Codes of refusal, and LOST, that clients may see during a fault, by its name."""


class StoredEvent(NamedTuple):
    """One stored event."""

    id: str
    name: str
    params: str
    """JSON as Postgres prints it."""
    created_us: int
    """Microseconds since 1970."""


class Stored(NamedTuple):
    """What the database holds."""

    rows: Iterable[StoredEvent]
    rejected: dict[str, str]
    """What the server set aside in `rejected_events`: parameters as text, by id."""


@dataclass
class Findings:
    """What is wrong, by invariant: how often, and the first few of each."""

    counts: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[str]] = field(default_factory=dict)

    def add(self, invariant: str, text: str) -> None:
        """Count one."""
        self.counts[invariant] += 1
        shown = self.shown.setdefault(invariant, [])
        if len(shown) < _SHOWN_MAX:
            shown.append(text)


@dataclass
class EventCounts:
    """How many events there were of each kind, apart from what is wrong."""

    acked_200: int = 0
    acked_202: int = 0
    refused: int = 0
    unknown: int = 0
    rows: int = 0
    unknown_stored: int = 0
    rejected: int = 0
    lost: int = 0
    doubled: int = 0
    phantom: int = 0
    damaged: int = 0
    """Acknowledged, spoilt on the spool's disk by the audit itself, and not stored: no loss."""


def check(
    history: History, stored: Stored | None, excuses: Excuses
) -> tuple[Findings, EventCounts]:
    """Return everything that is wrong, and the counts.

    Without `stored`, for the spool is not empty, only the answers are checked.
    """
    table = _TableCheck(history, stored.rejected if stored else {})
    if stored is not None:
        for row in stored.rows:
            table.take(row)
        table.close()
    _check_answers(history, table.findings, excuses)
    _count(history, table.counts)
    return table.findings, table.counts


class _TableCheck:
    """Lays every stored row beside the record of what was sent."""

    def __init__(self, history: History, rejected: dict[str, str]) -> None:
        self.findings = Findings()
        self.counts = EventCounts(rejected=len(rejected))
        self._records = history.records
        self._rejected = rejected
        self._damaged = history.damaged
        self._tokens_by_id: dict[str, str] = {}
        self._seen: Counter[str] = Counter()
        for token, record in history.records.items():
            if record.is_acked and record.id in self._tokens_by_id:
                other = self._tokens_by_id[record.id]
                self.findings.add("stored-once", f"{token} and {other} got the same id {record.id}")
            elif record.is_acked:
                self._tokens_by_id[record.id] = token

    def take(self, row: StoredEvent) -> None:
        """Check one stored row."""
        self.counts.rows += 1
        params = _load(row.params)
        token = params.get(TOKEN_FIELD)
        record = self._records.get(token) if isinstance(token, str) else None
        if record is None:
            self._phantom(f"the row {row.id} was never sent: {row.params[:100]}")
            return
        self._seen[token] += 1
        if self._seen[token] > 1:
            self._double(f"{token} is stored {self._seen[token]} times, also as {row.id}")
        if record.is_acked and row.id != record.id:
            self._phantom(f"{token} was acknowledged as {record.id} and stored as {row.id}")
        elif record.status and not record.is_acked:
            shown = f"{record.status} {record.code}"
            self.findings.add("refused-absent", f"{token} got {shown} and is stored")
        elif self._tokens_by_id.get(row.id, token) != token:
            self._phantom(f"{token} is stored under the id of {self._tokens_by_id[row.id]}")
        self._compare(token, record, row, params)

    def _compare(
        self, token: str, record: Record, row: StoredEvent, params: dict[str, Any]
    ) -> None:
        if record.expected not in {GOOD, POISON}:
            return  # its body may be no JSON; that it is stored at all is what is wrong
        sent = _load(record.body)
        if (row.name, params) != (sent["event_name"], sent["event_params"]):
            self.findings.add("as-sent", f"{token} is stored as {row.name} {row.params[:200]}")
        if record.is_acked and microseconds(record.created_at) != row.created_us:
            told = f"{record.created_at}, stored {row.created_us}"
            self.findings.add("as-sent", f"{token}: created_at told {told}")

    def close(self) -> None:
        """Check what has no row, and what was set aside."""
        for event_id, params in self._rejected.items():
            self._take_rejected(event_id, params)
        for token, record in self._records.items():
            is_stored = token in self._seen
            if not record.status:
                self.counts.unknown_stored += is_stored
            elif record.is_acked and not is_stored and not self._is_set_aside(record):
                if token in self._damaged:
                    self.counts.damaged += 1
                    continue
                where = " (it is in rejected_events)" if record.id in self._rejected else ""
                self.counts.lost += 1
                self.findings.add(
                    "stored-once",
                    f"{token}, acknowledged with {record.status} as {record.id}, is lost{where}",
                )

    def _take_rejected(self, event_id: str, params: str) -> None:
        match = TOKEN.search(params.encode())
        token = match[1].decode() if match else ""
        record = self._records.get(token)
        if record is None:
            self._phantom(f"{event_id} was set aside and never sent: {params[:100]}")
        elif record.expected == GOOD:
            self.findings.add("good-never-refused", f"{token} was set aside as {event_id}")

    def _is_set_aside(self, record: Record) -> bool:
        is_poison = record.expected == POISON and record.status != _OK
        return is_poison and record.id in self._rejected

    def _phantom(self, text: str) -> None:
        self.counts.phantom += 1
        self.findings.add("nothing-else", text)

    def _double(self, text: str) -> None:
        self.counts.doubled += 1
        self.findings.add("stored-once", text)


def _check_answers(history: History, findings: Findings, excuses: Excuses) -> None:
    for text in history.mixed:
        findings.add("answers-belong", text)
    for text in history.odd:
        findings.add("answers-belong", text)
    excused = _Excused(history, excuses)
    for token, record in history.records.items():
        _check_answer(token, record, findings, excused)


def _check_answer(token: str, record: Record, findings: Findings, excused: "_Excused") -> None:
    if record.is_acked:
        _check_success(token, record, findings)
    elif record.status in _CLIENT_ERRORS:
        _check_refusal(token, record, findings)
    else:
        _check_failure(token, record, findings, excused)


def _check_success(token: str, record: Record, findings: Findings) -> None:
    if record.expected == GOOD or (record.expected == POISON and record.status != _OK):
        return
    findings.add("bad-refused", f"{token} ({record.expected}) got {record.status}")


def _check_refusal(token: str, record: Record, findings: Findings) -> None:
    shown = f"{token} ({record.expected}) got {record.status} {record.code}"
    if record.expected == GOOD:
        findings.add("good-never-refused", shown)
    elif record.code != record.expected:
        findings.add("bad-refused", shown)


def _check_failure(token: str, record: Record, findings: Findings, excused: "_Excused") -> None:
    """Check a 5xx, or the lack of an answer."""
    if record.status or record.code.startswith("5"):
        if not excused(record.code.rpartition(" ")[2], record.at_ns):
            findings.add("no-5xx", f"{token} got {record.status or ''} {record.code}")
    elif record.code == UNANSWERED or not record.is_settled:
        findings.add("always-answered", f"{token} got no answer")
    elif record.code == LOST and not excused(LOST, record.at_ns):
        findings.add("always-answered", f"{token} lost its connection to a living server")


class _Excused:
    """Says whether a fault excuses what a client saw at a time."""

    def __init__(self, history: History, excuses: Excuses) -> None:
        self._spans: dict[str, list[tuple[int, int]]] = {}
        for window in history.windows:
            for code in excuses.get(window.fault, ()):
                span = (window.begin_ns, window.end_ns + _GRACE_NS)
                self._spans.setdefault(code, []).append(span)

    def __call__(self, code: str, at_ns: int) -> bool:
        return any(begin <= at_ns <= end for begin, end in self._spans.get(code, ()))


def _count(history: History, counts: EventCounts) -> None:
    for record in history.records.values():
        if record.is_acked:
            counts.acked_200 += record.status == _OK
            counts.acked_202 += record.status != _OK
        elif record.status:
            counts.refused += 1
        else:
            counts.unknown += 1


def microseconds(text: str) -> int:
    """Return an RFC 3339 time as microseconds since 1970; -1 when it is none."""
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
    except (ValueError, TypeError):
        return -1
