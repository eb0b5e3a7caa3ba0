"""What a client was answered, beside what it had to be answered."""

from typing import Final

from bench.audit.excuses import Excused
from bench.audit.findings import Findings
from bench.audit.history import LOST, UNANSWERED, History, Record
from bench.audit.workload import GOOD, GUARDED, POISON

_OK: Final = 200
_CLIENT_ERRORS: Final = range(400, 500)


def check_answers(history: History, findings: Findings, excused: Excused) -> None:
    """Add what is wrong with any of them."""
    for text in (*history.mixed, *history.odd):
        findings.add("answers-belong", text)
    for label, record in history.records.items():
        if record.is_acked:
            _check_success(label, record, findings)
        elif record.status in _CLIENT_ERRORS:
            _check_refusal(label, record, findings, excused)
        else:
            _check_failure(label, record, findings, excused)


def _check_success(label: str, record: Record, findings: Findings) -> None:
    if record.expected in {GOOD, GUARDED}:
        return
    if record.expected != POISON or record.status == _OK:
        findings.add("bad-refused", f"{label} ({record.expected}) got {record.status}")


def _check_refusal(label: str, record: Record, findings: Findings, excused: Excused) -> None:
    shown = f"{label} ({record.expected}) got {record.status} {record.code}"
    match record.expected:
        case "good":
            findings.add("good-never-refused", shown)
        case "guarded":
            if record.code != POISON or not excused(POISON, record.at_ns):
                findings.add("good-never-refused", shown)
        case _:
            if record.code != record.expected:
                findings.add("bad-refused", shown)


def _check_failure(label: str, record: Record, findings: Findings, excused: Excused) -> None:
    """Check a 5xx, or the lack of an answer."""
    if record.status or record.code.startswith("5"):
        if not excused(record.code.rpartition(" ")[2], record.at_ns):
            findings.add("no-5xx", f"{label} got {record.status or ''} {record.code}")
    elif record.code == UNANSWERED or not record.is_settled:
        findings.add("always-answered", f"{label} got no answer")
    elif record.code == LOST and not excused(LOST, record.at_ns):
        findings.add("always-answered", f"{label} lost its connection to a living server")
