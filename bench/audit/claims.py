"""Claims: all events of an app with one id or one key of the client's are one row, and told so."""

from collections import Counter

from bench.audit.findings import EventCounts, Findings
from bench.audit.history import TOLD, History, Record
from bench.audit.rows import StoredEvent, is_told, microseconds
from bench.audit.workload import app_of_token

Claimed = tuple[int, str]
"""An app and a claim of its clients."""


class _Row:
    """What is stored for a claim."""

    __slots__ = ("created_us", "id", "token")

    def __init__(self, token: str, row: StoredEvent) -> None:
        self.token, self.id, self.created_us = token, row.id, row.created_us


class Claims:
    """Follows what is stored for each claim, and compares it with what was told."""

    def __init__(self, history: History, findings: Findings, counts: EventCounts) -> None:
        self._findings = findings
        self._counts = counts
        self._stored: dict[Claimed, _Row] = {}
        self._told: dict[Claimed, list[Record]] = {}
        self._excepted: set[Claimed] = set()
        self._attempts: Counter[Claimed] = Counter()
        for label, record in history.records.items():
            if record.claim:
                claim = claim_of(label, record)
                self._attempts[claim] += 1
                if record.code == TOLD:
                    self._told.setdefault(claim, []).append(record)
        counts.claims = len(self._attempts)

    def except_(self, claim: Claimed) -> None:
        """Let another event than was told be stored: the told one was set aside, or spoilt."""
        self._excepted.add(claim)

    def take(self, token: str, record: Record, row: StoredEvent) -> None:
        """Check a row whose event has a claim."""
        claim = claim_of(token, record)
        if claim in self._stored:
            self._counts.doubled += 1
            other = self._stored[claim].token
            self._findings.add("stored-once", f"{claim[1]} is stored for {other} and for {token}")
            return
        self._stored[claim] = _Row(token, row)
        if record.claim.startswith("id ") and record.claim != f"id {row.id}":
            self._findings.add("as-sent", f"{token}, {record.claim}, is stored as {row.id}")
        for told in self._told.get(claim, ()):
            if claim not in self._excepted and not is_told(told.row, row):
                shown = f"{claim[1]}: told {told.row[:200]!r}, stored {str(row)[:200]}"
                self._findings.add("retries-told", shown)

    def is_stored(self, claim: Claimed) -> bool:
        """Whether any row is."""
        return claim in self._stored

    def compare(self, label: str, record: Record) -> None:
        """Compare what one attempt was promised with what is stored, if anything is."""
        claim = claim_of(label, record)
        stored = self._stored.get(claim)
        if stored is None or claim in self._excepted or not record.id or record.is_early:
            return
        if record.is_unsure and self._attempts[claim] > 1:
            return  # that another one is stored is what the answer said
        promised = (label.partition(".")[0], record.id, microseconds(record.created_at))
        if promised != (stored.token, stored.id, stored.created_us):
            told = f"{label}, {claim[1]}, was told {record.id} {record.created_at}"
            self._findings.add(
                "retries-told", f"{told}; stored is {stored.token} {stored.id} {stored.created_us}"
            )


def claim_of(label: str, record: Record) -> Claimed:
    """Return whose claim it is, and what."""
    return app_of_token(label), record.claim
