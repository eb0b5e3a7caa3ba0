"""What clients remember of what they have claimed, so as to send it again."""

from collections import deque
from collections.abc import Iterable
from random import Random
from typing import Final, NamedTuple

from bench.audit.workload import GOOD, GUARDED, SentEvent

_KEPT_MAX: Final = 2_048
_AGAIN: Final = 0.3
_REUSED: Final = 0.1
_AT_ONCE: Final = 0.1
"""The share of claims that are sent to another server before the first one has answered."""
_SAME_SERVER: Final = 0.2
"""How often the server is asked again that has had an event, where there are others."""


class _Due(NamedTuple):
    """An event that is to be sent again, and where it was sent."""

    event: SentEvent
    server: int


class Memory:
    """The claims of one app's clients. Any of them sends another's again: a user has two tabs.

    Of several servers one is mostly asked again what was sent to another one, and now and then at
    the same time.
    """

    def __init__(self, servers: int = 1) -> None:
        self._servers = servers
        self._kept: deque[SentEvent] = deque(maxlen=_KEPT_MAX)
        self._due: deque[_Due] = deque(maxlen=_KEPT_MAX)
        self._attempts = 0

    def keep(self, event: SentEvent, server: int, random: Random) -> None:
        """Remember an event that is about to be sent to a server."""
        if event.claim and event.expected in {GOOD, GUARDED}:
            self._kept.append(event)
            if self._servers > 1 and random.random() < _AT_ONCE:
                self._due.append(_Due(event, server))

    def retry(self, events: Iterable[SentEvent], server: int) -> None:
        """Have these sent again soon, as far as they have a claim: nobody knows what they became.

        What was refused with a 4xx is not among them.
        """
        self._due.extend(_Due(each, server) for each in events if each.claim)

    def again(self, random: Random, server: int, *, takes_keys: bool) -> SentEvent | None:
        """Return another attempt with an event, or None: one that is due, or now and then any."""
        if self._due and (takes_keys or not self._due[0].event.key):
            if not self._is_elsewhere(server) and random.random() > _SAME_SERVER:
                self._due.rotate(-1)
                return None
            return self._next_attempt(self._due.popleft().event)
        if self._kept and random.random() < _AGAIN:
            event = random.choice(self._kept)
            if takes_keys or not event.key:
                return self._next_attempt(event)
        return None

    def used(self, random: Random, *, takes_keys: bool) -> str:
        """Return a claim that is used, for another event, now and then; else an empty text."""
        if self._kept and random.random() < _REUSED:
            event = random.choice(self._kept)
            if takes_keys or not event.key:
                return event.claim
        return ""

    def _is_elsewhere(self, server: int) -> bool:
        """Whether the first that is due was sent to another server, or there is no other."""
        return self._servers == 1 or self._due[0].server != server

    def _next_attempt(self, event: SentEvent) -> SentEvent:
        self._attempts += 1
        return event._replace(attempt=self._attempts)
