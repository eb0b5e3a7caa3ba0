"""A history in the making, for what judges histories."""

import json
from pathlib import Path
from random import Random

from bench.audit.checker import Stored, check
from bench.audit.excuses import Excuses
from bench.audit.findings import Findings
from bench.audit.history import read
from bench.audit.recorder import Recorder
from bench.audit.rows import StoredEvent, microseconds
from bench.audit.verdicts import INVARIANTS
from bench.audit.workload import GOOD, GUARDED, POISON, SentEvent, Workload

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

    def send(self, kind: str = GOOD, claim: str = "", server: int = 0) -> SentEvent:
        """Note a new event as sent to a server."""
        self.number += 1
        if kind in {GOOD, GUARDED}:
            claimed = {GOOD: WORKLOAD.good, GUARDED: WORKLOAD.guarded}[kind]
            event = claimed(1, self.number, self.random, claim)
        else:
            make = {POISON: WORKLOAD.poison}.get(kind, WORKLOAD.bad)
            event = make(1, self.number, self.random)
        self.recorder.sent(event, server)
        return event

    def again(self, event: SentEvent, attempt: int = 1, server: int = 0) -> SentEvent:
        """Note one more attempt with an event."""
        event = event._replace(attempt=attempt)
        self.recorder.sent(event, server)
        return event

    def claimed(self, claim: str, event_id: str) -> SentEvent:
        """Send, acknowledge and store one event with a claim."""
        event = self.send(claim=claim)
        self.recorder.answered(event.token, 200, event_id, TOLD)
        self.store(event, event_id)
        return event

    def store(self, event: SentEvent, event_id: str, created_us: int = TOLD_US) -> None:
        """Put a row into the table as it should be."""
        name = json.loads(event.body)["event_name"]
        self.rows.append(StoredEvent(0, event_id, name, params_of(event), created_us))

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


def params_of(event: SentEvent) -> str:
    """Return a event's parameters as text."""
    return event.echo.decode().partition(',"event_params":')[2].removesuffix(',"created_at":"')
