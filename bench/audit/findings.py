"""What the checker finds: what is wrong, by invariant, and how many events had which outcome."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

_SHOWN_MAX: Final = 5


@dataclass
class Findings:
    """What is wrong, by invariant: how often, and the first few of each."""

    counts: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[str]] = field(default_factory=dict)

    def add(self, invariant: str, text: str) -> None:
        """Count one."""
        self.counts[invariant] += 1
        shown = self.shown.setdefault(invariant, [])
        if len(shown) < _SHOWN_MAX:
            shown.append(text)


@dataclass
class EventCounts:
    """How many attempts to send an event had each outcome, and how many rows there are."""

    acked_200: int = 0
    acked_202: int = 0
    acked_early: int = 0
    """Of those with 202: before they were durable, as was asked for."""
    told: int = 0
    """Of all acknowledged: that the event was sent before, and what is stored."""
    unsure: int = 0
    """Of those with 202: that the event may have been sent before."""
    again: int = 0
    """Attempts behind an event's first."""
    claims: int = 0
    """Ids and keys of clients, each of which stands for one event."""
    refused: int = 0
    unknown: int = 0
    rows: int = 0
    unknown_stored: int = 0
    rejected: int = 0
    """In `rejected_events` at the end."""
    retried: int = 0
    """Taken from there by `nonito rejected retry` before."""
    early_lost: int = 0
    """Acknowledged early, gone in a crash: that is what early means."""
    lost: int = 0
    doubled: int = 0
    phantom: int = 0
    damaged: int = 0
    """Acknowledged, spoilt on the spool's disk by the audit itself, and not stored: no loss."""
