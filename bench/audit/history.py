"""A history as it is read back: one record an attempt, the faults' times, and what is odd about it.

A run has millions of attempts, so a record keeps where its lines are, and reads a body, an id or a
time from the mapped file when it is asked for: 0.35 KB an attempt, not 1.3.
"""

import mmap
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from bench.errors import BenchError

EVERY: Final = -1
"""Stands for all servers at once, where a single one has its number."""
UNANSWERED: Final = "no answer in time"
LOST: Final = "connection lost"
QUIT: Final = "client left"
DISMISSED: Final = "connection closed behind an answer that said so"
KEPT_OUT: Final = "not let in"
MIXED: Final = "mixed up"
TOLD: Final = "sent before"
EARLY: Final = "acknowledged early"
UNSURE: Final = "may have been sent before"

_TEXTS: Final = (b"held", b"unstaffed", b"unfollowed")
_ACKS: Final = frozenset({200, 202})
_EARLY_STATUS: Final = 202


class Record:
    """One attempt to send an event, and what came of it."""

    __slots__ = (
        "_answer_at", "_lines", "_sent_at", "again", "claim", "code", "expected", "first", "rows",
        "server", "status",
    )  # fmt: skip

    def __init__(
        self, lines: "Lines", sent_at: int, expected: str, claim: str = "", server: int = 0
    ) -> None:
        self._lines = lines
        self._sent_at = sent_at
        self._answer_at = -1
        self.expected = expected
        self.claim = claim
        """The id or key that the client has given it; empty for none."""
        self.server = server
        """Which one it was sent to."""
        self.first = self
        """The record of the event's first attempt."""
        self.again: list[Record] = _NO_RECORDS
        """Of the first attempt: the further ones."""
        self.status = 0
        """200 or 202, the refusal's status, or 0 for unknown."""
        self.code = ""
        """The refusal's code, why the outcome is unknown, or which kind of success it was: TOLD,
        EARLY, UNSURE, or empty for the usual one."""
        self.rows = 0
        """Of the first attempt: how many stored rows carry the event's token."""

    def repeat(self, server: int) -> "Record":
        """Return the record of another attempt with the same event."""
        other = Record(self._lines, self._sent_at, self.expected, self.claim, server)
        other.first = self
        self.again = [*self.again, other]
        return other

    def settle(self, answer_at: int, status: int, code: str) -> None:
        """Note what came of it, and where that stands."""
        self._answer_at, self.status, self.code = answer_at, status, sys.intern(code)

    @property
    def attempts(self) -> "list[Record]":
        """All attempts with this event; this is the first one's record."""
        return [self, *self.again]

    @property
    def is_settled(self) -> bool:
        """Whether its outcome was noted."""
        return self._answer_at >= 0

    @property
    def is_acked(self) -> bool:
        """Whether it was answered 200 or 202, of any kind."""
        return self.status in _ACKS

    @property
    def is_early(self) -> bool:
        """Whether it was acknowledged before it was durable."""
        return self.code == EARLY

    @property
    def is_unsure(self) -> bool:
        """Whether its success told a row that may be another in the end."""
        return self.code == UNSURE

    @property
    def is_promised(self) -> bool:
        """Whether it was acknowledged as durable."""
        return self.is_acked and not self.is_early

    @property
    def is_refused(self) -> bool:
        """Whether the answer says that this attempt has stored nothing."""
        return bool(self.status) and not self.is_acked

    @property
    def body(self) -> bytes:
        """What was sent."""
        return self._lines.fields(self._sent_at)[4]

    @property
    def id(self) -> str:
        """The id that its success told; empty if it told none."""
        return self._told(-2)

    @property
    def created_at(self) -> str:
        """The time that its success told."""
        return self._told(-1)

    @property
    def row(self) -> bytes:
        """The row that it was told is stored; only where its code is TOLD."""
        return self._lines.fields(self._answer_at)[-1]

    @property
    def port(self) -> int:
        """The client's port; only where its code is LOST."""
        port = self._lines.fields(self._answer_at)[4:]
        return int(port[0]) if port else 0

    @property
    def sent_ns(self) -> int:
        """When the event was sent first, by the monotonic clock."""
        return int(self._lines.fields(self._sent_at)[1])

    @property
    def at_ns(self) -> int:
        """When its outcome was noted, by the monotonic clock; 0 if it never was."""
        return int(self._lines.fields(self._answer_at)[1]) if self.is_settled else 0

    def _told(self, which: int) -> str:
        if not self.is_acked or self.code == TOLD:
            return ""
        return self._lines.fields(self._answer_at)[which].decode()


_NO_RECORDS: Final[list[Record]] = []


class Lines:
    """The lines of a history, each known by where it begins."""

    def __init__(self, content: mmap.mmap | bytes) -> None:
        self._content = content

    def fields(self, at: int) -> list[bytes]:
        """Return the fields of the line that begins there."""
        return self._content[at : self._content.find(b"\n", at)].split(b"\t")

    def next(self, at: int) -> int:
        """Return where the next line begins; 0 if this one is torn, or there is none."""
        return self._content.find(b"\n", at) + 1


class Window(NamedTuple):
    """When a fault lasted, in nanoseconds of the monotonic clock."""

    fault: str
    begin_ns: int
    end_ns: int
    server: int = EVERY
    """Whom it befell."""


class Outside(NamedTuple):
    """A client that could not connect."""

    client: str
    begin_ns: int
    end_ns: int
    """When it gave up."""
    server: int


class Starved(NamedTuple):
    """When a server's workers were looked at, and for how long one of them had no CPU."""

    server: int
    begin_ns: int
    end_ns: int
    waited_ns: int


class Aside(NamedTuple):
    """What the server has set aside in `rejected_events`, and when."""

    id: str
    at_ns: int
    params: str
    """Parameters as text, as far as the token."""


@dataclass
class History:
    """A whole history."""

    records: dict[str, Record] = field(default_factory=dict)
    """By label."""
    windows: list[Window] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    """Answers that did not belong to their requests, shown shortly."""
    damaged: set[str] = field(default_factory=set)
    """Tokens whose copy on the spool's disk the audit itself has damaged."""
    aside: list[Aside] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    unstaffed: list[str] = field(default_factory=list)
    unfollowed: list[str] = field(default_factory=list)
    broken: dict[int, list[Window]] = field(default_factory=dict)
    """By a client's port: when its connection may have broken, as its worker was ended."""
    outside: list[Outside] = field(default_factory=list)
    starved: list[Starved] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    """Entries that no honest history has: an answer to nothing, or a second one."""


def read(path: Path) -> History:
    """Return what a file has kept; raise BenchError when it can't be read."""
    try:
        return parse(_content(path))
    except (OSError, ValueError) as error:
        raise BenchError(f"the history {path} can't be read: {error}") from error


def parse(content: mmap.mmap | bytes) -> History:
    """Return what these lines tell; raise ValueError for what is no history."""
    history, lines = History(), Lines(content)
    open_faults: dict[tuple[str, int], int] = {}
    at = 0
    while end := lines.next(at):  # the last one may be torn if the audit itself was killed
        _take(history, open_faults, lines, at)
        at = end
    return history


def _content(path: Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        if not path.stat().st_size:
            return b""  # which can't be mapped
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _take(history: History, open_faults: dict[tuple[str, int], int], lines: Lines, at: int) -> None:
    fields = lines.fields(at)
    kind, first = fields[0], fields[2].decode()
    match kind:
        case b"sent":
            expected = sys.intern(fields[3].decode())
            claim, server = fields[5].decode(), int(fields[6])
            _add(history, first, Record(lines, at, expected, claim, server))
        case b"again":
            _add(history, first, history.records[fields[3].decode()].repeat(int(fields[4])))
        case b"acked" | b"unsure" | b"told" | b"early" | b"refused" | b"unknown" | b"mixed":
            _settle(history, first, at, fields)
        case b"fault":
            _take_fault(history, open_faults, first, fields)
        case _:
            _take_seen(history, kind, first, fields)


def _take_seen(history: History, kind: bytes, first: str, fields: list[bytes]) -> None:
    """Take what the audit has done or seen itself."""
    match kind:
        case b"damaged":
            history.damaged.add(first)
        case b"aside":
            history.aside.append(Aside(first, int(fields[3]), fields[4].decode()))
        case b"held" | b"unstaffed" | b"unfollowed":
            kinds = (history.held, history.unstaffed, history.unfollowed)
            dict(zip(_TEXTS, kinds, strict=True))[kind].append(first)
        case b"broke":
            window = Window(first, int(fields[3]), int(fields[1]))
            for port in fields[4].split():
                history.broken.setdefault(int(port), []).append(window)
        case b"outside":
            outside = Outside(first, int(fields[3]), int(fields[1]), int(fields[4]))
            history.outside.append(outside)
        case b"starved":
            starved = Starved(int(first), int(fields[3]), int(fields[1]), int(fields[4]))
            history.starved.append(starved)
        case _:
            return


def _take_fault(
    history: History, open_faults: dict[tuple[str, int], int], name: str, fields: list[bytes]
) -> None:
    at_ns, server = int(fields[1]), int(fields[4])
    if fields[3] == b"begun":
        open_faults[name, server] = at_ns
    else:
        begin_ns = open_faults.pop((name, server), at_ns)
        history.windows.append(Window(name, begin_ns, at_ns, server))


def _add(history: History, label: str, record: Record) -> None:
    if label in history.records:
        history.odd.append(f"{label} was sent twice")
    history.records[label] = record


def _settle(history: History, label: str, at: int, fields: list[bytes]) -> None:
    record = history.records.get(label)
    if record is None or record.is_settled:
        history.odd.append(f"{label} was answered {'again' if record else 'but never sent'}")
        return
    match fields[0]:
        case b"acked":
            record.settle(at, int(fields[3]), "")
        case b"unsure":
            record.settle(at, int(fields[3]), UNSURE)
        case b"told":
            record.settle(at, int(fields[3]), TOLD)
        case b"early":
            record.settle(at, _EARLY_STATUS, EARLY)
        case b"refused":
            record.settle(at, int(fields[3]), fields[4].decode())
        case b"unknown":
            record.settle(at, 0, fields[3].decode())
        case _:
            record.settle(at, 0, MIXED)
            history.mixed.append(f"{label} got {fields[3].decode()}")
