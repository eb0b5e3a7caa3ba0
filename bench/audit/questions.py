"""What the asker was answered, judged by the history and by what is stored in the end.

Each event is counted once, none is missing that was acknowledged before a question began, and none
is there that is not stored. An event that was answered with 200 was committed before, so a question
of a later snapshot has it, and each one behind that. While another database stands in the place of
ours, or an operator has taken partitions away, and until the archive is made anew then, an answer
is about something else.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from bench.audit.findings import Findings

INVARIANT: Final = "asked-exactly"
_SLACK_NS: Final = 2_000_000
"""Two clocks are compared, of Postgres and of the audit."""

IsExcused = Callable[[int, int], bool]
"""Whether an answer may be anything, by when its question began and ended."""


class Counted(NamedTuple):
    """An answer that says how many there are."""

    begin_ns: int
    as_of_ns: int
    end_ns: int
    events: int


class Asked(NamedTuple):
    """An answer with all events in it."""

    begin_ns: int
    as_of_ns: int
    """When its snapshot was taken."""
    end_ns: int
    events: int
    distinct: int


@dataclass
class _OfApp:
    """The answers about one app, in their order; `where` is a place in it."""

    asked: list[Asked] = field(default_factory=list)
    first: dict[int, int] = field(default_factory=dict)
    """Where each event was seen first, by its digest."""
    changes: dict[int, list[tuple[int, bool]]] = field(default_factory=lambda: defaultdict(list))
    """Of events that were gone once: where they went and came again."""
    valid: list[int] = field(default_factory=list)
    """Answers that count."""
    snapshots: list[int] = field(default_factory=list)
    """When those were taken."""
    counted: list[Counted] = field(default_factory=list)
    """Those that count."""
    sent: list[int] = field(default_factory=list)
    """When each stored event was sent."""
    committed: list[int] = field(default_factory=list)
    """And when it was acknowledged with 200, if it was."""

    def has(self, event: int, where: int) -> bool:
        """Whether an event was in an answer."""
        if event not in self.first or self.first[event] > where:
            return False
        until = bisect_right(self.changes.get(event, []), (where, True))
        return not until or self.changes[event][until - 1][1]


class Questions:
    """All answers of a run."""

    def __init__(self, path: Path, is_excused: IsExcused) -> None:
        self._apps: dict[int, _OfApp] = defaultdict(_OfApp)
        self.failed: list[str] = []
        """Why questions were not answered."""
        for line in path.read_text().splitlines() if path.exists() else ():
            self._take(line.split("\t"))
        for of_app in self._apps.values():
            for where, each in enumerate(of_app.asked):
                if not is_excused(each.begin_ns, each.end_ns):
                    of_app.valid.append(where)
                    of_app.snapshots.append(each.as_of_ns - _SLACK_NS)
            of_app.counted = [
                each for each in of_app.counted if not is_excused(each.begin_ns, each.end_ns)
            ]

    @property
    def answered(self) -> int:
        """How many answers count."""
        return sum(len(each.valid) + len(each.counted) for each in self._apps.values())

    def _take(self, fields: list[str]) -> None:
        kind, of_app = fields[0], self._apps[int(fields[1])]
        where = len(of_app.asked) - 1
        match kind:
            case "asked":
                of_app.asked.append(Asked(*map(int, fields[2:7])))
            case "counted":
                of_app.counted.append(Counted(*map(int, fields[2:6])))
            case "failed":
                self.failed.append(fields[4])
            case "seen" | "gone":
                for event in (int(each, 16) for each in fields[2].split()):
                    if event in of_app.first:
                        of_app.changes[event].append((where, kind == "seen"))
                    of_app.first.setdefault(event, where)
            case _:
                return

    def judge_counts(self, findings: Findings) -> None:
        """Find answers with an event twice, and events that were in one and not in a later one."""
        for app, of_app in self._apps.items():
            for where in of_app.valid:
                each = of_app.asked[where]
                if each.events != each.distinct:
                    twice = each.events - each.distinct
                    text = f"{twice} of {each.events} events of app {app} are counted twice"
                    findings.add(INVARIANT, f"{text}, at {each.end_ns}")
            for event, changes in of_app.changes.items():
                for where, is_there in changes:
                    self._find_gone(findings, app, event, -1 if is_there else where)

    def _find_gone(self, findings: Findings, app: int, event: int, where: int) -> None:
        of_app = self._apps[app]
        after = bisect_left(of_app.valid, where)
        if where < 0 or after == len(of_app.valid) or of_app.has(event, of_app.valid[after]):
            return
        end_ns = of_app.asked[of_app.valid[after]].end_ns
        text = f"the event {event:x} of app {app} was there before and is not at {end_ns}"
        findings.add(INVARIANT, text)

    def judge_stored(
        self, findings: Findings, app: int, event_id: str, sent_ns: int, committed_ns: int | None
    ) -> None:
        """Check that each answer has a stored event that was acknowledged with 200 before it."""
        of_app, event = self._apps[app], digest(event_id)
        of_app.sent.append(sent_ns)
        if committed_ns is not None:
            of_app.committed.append(committed_ns)
            after = bisect_right(of_app.snapshots, committed_ns)
            if after < len(of_app.valid) and not of_app.has(event, of_app.valid[after]):
                end_ns = of_app.asked[of_app.valid[after]].end_ns
                text = f"{event_id} of app {app}, acknowledged at {committed_ns}, is not counted"
                findings.add(INVARIANT, f"{text} at {end_ns}")
        of_app.first.pop(event, None)

    def judge_rest(self, findings: Findings) -> None:
        """Find events that were counted and are not stored, when all that are were judged.

        And counts that can't be.
        """
        for app, of_app in self._apps.items():
            _judge_counted(findings, app, of_app)
            valid = {*of_app.valid}
            for event, where in of_app.first.items():
                if where in valid:
                    findings.add(INVARIANT, f"{event:x} was counted for app {app} and never stored")


def _judge_counted(findings: Findings, app: int, of_app: _OfApp) -> None:
    of_app.sent.sort()
    of_app.committed.sort()
    for each in of_app.counted:
        least = bisect_left(of_app.committed, each.as_of_ns - _SLACK_NS)
        most = bisect_right(of_app.sent, each.end_ns)
        if not least <= each.events <= most:
            text = f"{each.events} events of app {app} were counted at {each.end_ns}"
            findings.add(INVARIANT, f"{text}, {least} were committed and {most} sent")


def digest(event_id: str) -> int:
    """Return what stands for an id, as `asker.DIGEST` does."""
    found = hashlib.md5(event_id.encode(), usedforsecurity=False).digest()
    return int.from_bytes(found[8:], "little")
