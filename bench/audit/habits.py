"""The clients' habits: eight kinds of them, in each of two apps."""

from random import Random
from typing import Final, NamedTuple

_PIPELINERS, _QUITTERS, _SPOILERS, _POISONERS = {1, 5}, {2, 7}, {3, 6}, {3, 5, 6}
_CHUNKERS, _BATCHERS, _IMPATIENT = {4}, {6, 7}, {4, 7}
_CLAIMERS, _KEYERS, _REMEMBERERS, _GUARDED = (
    {1, 2, 4, 5, 6, 7},
    {2, 4, 5},
    {1, 2, 4, 6},
    {2, 3, 5, 6},
)
_BATCH_EVENTS_MAX: Final = 40
_KINDS: Final = 8


class Habits(NamedTuple):
    """How one client behaves; shares are of its requests or of its events."""

    depth: int
    """How many requests it pipelines."""
    quits: float
    """Requests that it doesn't wait for."""
    bad: float
    poison: float
    guarded: float
    claims: float
    """Events that have an id or a key of its own, and those that it sends again."""
    keys: float
    """Of its new claims those that are keys; the others are ids."""
    timestamps: float
    early: float
    """Requests that ask for an answer before they are stored."""
    is_chunked: bool
    events_max: int
    """In a request; more than one makes it a batch."""


def habits(number: int, random: Random) -> Habits:
    """Return the habits of a client; every kind is among any eight of them."""
    kind = number % _KINDS
    is_batcher = kind in _BATCHERS
    return Habits(
        depth=random.choice((2, 3, 4)) if kind in _PIPELINERS else 1,
        quits=random.uniform(0.1, 0.5) if kind in _QUITTERS else 0.0,
        bad=random.uniform(0.05, 0.4) if kind in _SPOILERS else 0.0,
        poison=random.uniform(0.001, 0.01) if kind in _POISONERS else 0.0,
        guarded=random.uniform(0.05, 0.2) if kind in _GUARDED else 0.0,
        claims=random.uniform(0.02, 0.1 if is_batcher else 0.4) if kind in _CLAIMERS else 0.0,
        keys=0.7 if kind in _KEYERS else 0.0,
        timestamps=random.uniform(0.02, 0.1) if kind in _REMEMBERERS else 0.0,
        early=random.uniform(0.02, 0.1) if kind in _IMPATIENT else 0.0,
        is_chunked=kind in _CHUNKERS,
        events_max=_BATCH_EVENTS_MAX if is_batcher else 1,
    )
