"""A history as it is read back: one record a token, the faults' times, and what is odd about it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from bench.errors import BenchError

UNANSWERED: Final = "no answer in time"
LOST: Final = "connection lost"
QUIT: Final = "client left"
MIXED: Final = "mixed up"


class Record:
    """What was sent under one token, and what came of it."""

    __slots__ = ("at_ns", "body", "code", "created_at", "expected", "id", "is_settled", "status")

    def __init__(self, expected: str, body: bytes) -> None:
        self.expected = expected
        self.body = body
        self.status = 0
        """200 or 202, the refusal's status, or 0 for unknown."""
        self.code = ""
        """The refusal's code, or why the outcome is unknown."""
        self.id = ""
        self.created_at = ""
        self.at_ns = 0
        """When its outcome was noted, by the monotonic clock."""
        self.is_settled = False

    @property
    def is_acked(self) -> bool:
        """Whether it was answered 200 or 202."""
        return self.status in {200, 202}


class Window(NamedTuple):
    """When a fault lasted, in nanoseconds of the monotonic clock."""

    fault: str
    begin_ns: int
    end_ns: int


@dataclass
class History:
    """A whole history."""

    records: dict[str, Record] = field(default_factory=dict)
    """By token."""
    windows: list[Window] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    """Answers that did not belong to their requests, shown shortly."""
    damaged: set[str] = field(default_factory=set)
    """Tokens whose copy on the spool's disk the audit itself has damaged."""
    odd: list[str] = field(default_factory=list)
    """Entries that no honest history has: an answer to nothing, or a second one."""


def read(path: Path) -> History:
    """Return what a file has kept; raise BenchError when it can't be read."""
    history = History()
    open_faults: dict[str, int] = {}
    try:
        with path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):  # the last one may be torn if the audit itself was killed
                    _take(history, open_faults, line[:-1].split(b"\t"))
    except (OSError, ValueError) as error:
        raise BenchError(f"the history {path} can't be read: {error}") from error
    return history


def _take(history: History, open_faults: dict[str, int], fields: list[bytes]) -> None:
    kind, at_ns = fields[0], int(fields[1])
    first = fields[2].decode()
    match kind:
        case b"sent":
            if first in history.records:
                history.odd.append(f"{first} was sent twice")
            history.records[first] = Record(fields[3].decode(), fields[4])
        case b"acked" | b"refused" | b"unknown" | b"mixed":
            _settle(history, first, at_ns, kind, [each.decode() for each in fields[3:]])
        case b"fault" if fields[3] == b"begun":
            open_faults[first] = at_ns
        case b"fault":
            history.windows.append(Window(first, open_faults.pop(first, at_ns), at_ns))
        case b"damaged":
            history.damaged.add(first)
        case _:
            return


def _settle(history: History, token: str, at_ns: int, kind: bytes, fields: list[str]) -> None:
    record = history.records.get(token)
    if record is None or record.is_settled:
        history.odd.append(f"{token} was answered {'again' if record else 'but never sent'}")
        return
    record.is_settled, record.at_ns = True, at_ns
    match kind:
        case b"acked":
            record.status, record.id, record.created_at = int(fields[0]), fields[1], fields[2]
        case b"refused":
            record.status, record.code = int(fields[0]), fields[1]
        case b"unknown":
            record.code = fields[0]
        case _:
            record.code = MIXED
            history.mixed.append(f"{token} got {fields[0]}")
