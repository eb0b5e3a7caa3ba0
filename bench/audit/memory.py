"""What clients remember of what they have claimed, so as to send it again."""

from collections import deque
from collections.abc import Iterable
from random import Random
from typing import Final

from bench.audit.workload import GOOD, GUARDED, SentEvent

_KEPT_MAX: Final = 2_048
_AGAIN: Final = 0.3
_REUSED: Final = 0.1


class Memory:
    """The claims of one app's clients. Any of them sends another's again: a user has two tabs."""

    def __init__(self) -> None:
        self._kept: deque[SentEvent] = deque(maxlen=_KEPT_MAX)
        self._due: deque[SentEvent] = deque(maxlen=_KEPT_MAX)
        self._attempts = 0

    def keep(self, event: SentEvent) -> None:
        """Remember an event that is about to be sent."""
        if event.claim and event.expected in {GOOD, GUARDED}:
            self._kept.append(event)

    def retry(self, events: Iterable[SentEvent]) -> None:
        """Have these sent again soon, as far as they have a claim: nobody knows what they became.

        What was refused with a 4xx is not among them.
        """
        self._due.extend(each for each in events if each.claim)

    def again(self, random: Random, *, takes_keys: bool) -> SentEvent | None:
        """Return another attempt with an event, or None: one that is due, or now and then any."""
        if self._due and (takes_keys or not self._due[0].key):
            return self._next_attempt(self._due.popleft())
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

    def _next_attempt(self, event: SentEvent) -> SentEvent:
        self._attempts += 1
        return event._replace(attempt=self._attempts)
