"""Excuses: what clients may see, and what may happen to an event, because of a fault."""

from collections.abc import Iterable
from itertools import chain
from typing import Final

from bench.audit.history import EARLY, EVERY, KEPT_OUT, History

SET_ASIDE: Final = "set aside"
"""The excuse for a good event in `rejected_events`, until it is taken from there again."""
ASKED: Final = "asked"
"""The excuse for answers about something else than all events that were stored."""

_GRACE_NS: Final = 1_500_000_000
"""How long behind a fault its excuses hold: a batch may be on its way when it is lifted."""
_ISOLATING_NS: Final = 30_000_000_000
"""How long behind its refusal an event may be set aside: the others of its replay's transaction, up
to 20,000, are tried before. 17 s were seen, of 2,382 events, where the machine had much else to do.
"""
_QUEUED_NS: Final = 5_000_000_000
"""How long an event may be in the queue at most, in a hang of Postgres."""
_NOTICED_NS: Final = 500_000_000
"""How long it may take to notice that a server has ended by itself."""
_BEFORE_NS: Final = {EARLY: _QUEUED_NS, KEPT_OUT: _NOTICED_NS}

Excuses = dict[str, frozenset[str]]
"""By a fault's name: codes of refusal that clients may see, LOST for connections, KEPT_OUT where
none can be made, UNANSWERED, EARLY for early acknowledgements that are lost, SET_ASIDE for events
that are, ASKED for answers to questions."""


Span = tuple[int, int]


class Excused:
    """Says whether a fault excuses what happened at a time, and at which server."""

    def __init__(self, history: History, excuses: Excuses) -> None:
        self._spans: dict[tuple[str, int], list[Span]] = {}
        self._broken = history.broken
        for window in history.windows:
            for code in excuses.get(window.fault, ()):
                begin_ns = window.begin_ns - _BEFORE_NS.get(code, 0)
                span = (begin_ns, window.end_ns + _GRACE_NS)
                self._spans.setdefault((code, window.server), []).append(span)

    def __call__(self, code: str, at_ns: int, server: int = EVERY) -> bool:
        """Whether one of this server's, or of all servers, does; `code` as in Excuses."""
        return any(begin <= at_ns <= end for begin, end in self._of(code, server))

    def during(self, code: str, begin_ns: int, end_ns: int, server: int = EVERY) -> bool:
        """Whether a fault excuses what lasted from one time to another."""
        spans = self._of(code, server)
        return any(begin <= end_ns and begin_ns <= end for begin, end in spans)

    def breaks(self, port: int, at_ns: int) -> bool:
        """Whether a client's connection was one of a worker that was ended just then."""
        windows = self._broken.get(port, ())
        return any(each.begin_ns <= at_ns <= each.end_ns + _GRACE_NS for each in windows)

    def lately(self, code: str, at_ns: int) -> bool:
        """Whether a fault excuses what has come of a refusal by a time."""
        spans = self._of(code, EVERY)
        return any(begin <= at_ns <= end + _ISOLATING_NS for begin, end in spans)

    def _of(self, code: str, server: int) -> Iterable[Span]:
        whole = self._spans.get((code, EVERY), ())
        return whole if server == EVERY else chain(whole, self._spans.get((code, server), ()))
