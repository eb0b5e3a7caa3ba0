"""Answers that are still right: nothing has come since that could change them."""

from collections import OrderedDict
from typing import Final, NamedTuple

BYTES_MAX: Final = 16 * 1024 * 1024
ANSWER_BYTES_MAX: Final = 1024 * 1024


class State(NamedTuple):
    """What the events were: by any other of these they are other events."""

    mark: int
    tail_rows: int
    links: str | None = None
    erased: int = 0


class Kept(NamedTuple):
    """An answer, of which events, and as of when."""

    data: bytes
    state: State
    as_of_s: float


class Cache:
    """Bounded in bytes; what was not asked for longest goes first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self._bytes = 0

    def find(self, question: bytes) -> Kept | None:
        """Return what is kept of a question."""
        if (kept := self._kept.get(question)) is not None:
            self._kept.move_to_end(question)
        return kept

    def keep(self, question: bytes, answer: Kept) -> None:
        """Keep the answer of a question, unless it is very long."""
        if (before := self._kept.pop(question, None)) is not None:
            self._bytes -= _size(question, before)
        if len(answer.data) > ANSWER_BYTES_MAX:
            return
        self._kept[question] = answer
        self._bytes += _size(question, answer)
        while self._bytes > BYTES_MAX:
            self._bytes -= _size(*self._kept.popitem(last=False))


def _size(question: bytes, kept: Kept) -> int:
    return len(question) + len(kept.data) + 200
