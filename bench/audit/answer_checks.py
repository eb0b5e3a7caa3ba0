"""What a client was answered, beside what it had to be answered."""

from collections.abc import Container
from typing import Final

from bench.audit.excuses import Excused
from bench.audit.findings import Findings
from bench.audit.history import EVERY, KEPT_OUT, LOST, UNANSWERED, History, Record
from bench.audit.workload import GOOD, GUARDED, POISON

_OK: Final = 200
_CLIENT_ERRORS: Final = range(400, 500)
_HANDOVER_S_MAX: Final = 4.0
"""So long an answer may take while workers are replaced: a commit's time-out, the spool, and more
than a busy machine needs; a worker that is told to go has its connections for five. For how long
one was kept from the CPU comes on top."""


def check_answers(history: History, findings: Findings, excused: Excused) -> None:
    """Add what is wrong with any of them."""
    for text in (*history.mixed, *history.odd):
        findings.add("answers-belong", text)
    for each in history.outside:
        if not excused.during(KEPT_OUT, each.begin_ns, each.end_ns, each.server):
            findings.add("always-answered", f"client {each.client} was not let in")
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
        if not excused(record.code.rpartition(" ")[2], record.at_ns, record.server):
            findings.add("no-5xx", f"{label} got {record.status or ''} {record.code}")
    elif record.code == UNANSWERED or not record.is_settled:
        if not excused(UNANSWERED, record.at_ns, record.server):
            findings.add("always-answered", f"{label} got no answer")
    elif record.code == LOST and not _may_be_lost(record, excused):
        findings.add("always-answered", f"{label} lost its connection to a living server")


def _may_be_lost(record: Record, excused: Excused) -> bool:
    """Whether its connection was one that a fault had break."""
    return excused(LOST, record.at_ns, record.server) or excused.breaks(record.port, record.at_ns)


def check_handovers(history: History, findings: Findings, handovers: Container[str]) -> None:
    """Add who waited for a worker to be replaced, by faults that have nobody wait."""
    windows = [window for window in history.windows if window.fault in handovers]
    for label, record in history.records.items() if windows else ():
        if record is not record.first or not record.is_settled:
            continue
        sent_ns, took_s = record.sent_ns, (record.at_ns - record.sent_ns) / 1e9
        is_within = took_s > _HANDOVER_S_MAX and any(
            each.begin_ns <= sent_ns <= each.end_ns and each.server in (EVERY, record.server)
            for each in windows
        )
        if is_within and took_s > _HANDOVER_S_MAX + _starved_s(history, record):
            text = f"{label} waited for {took_s:.1f} s while workers were replaced"
            findings.add("handed-over", text)


def _starved_s(history: History, record: Record) -> float:
    """Return for how long workers of its server were kept from the CPU while it waited."""
    found = (
        each.waited_ns
        for each in history.starved
        if each.server == record.server
        and each.begin_ns <= record.at_ns
        and record.sent_ns <= each.end_ns
    )
    return sum(found) / 1e9
