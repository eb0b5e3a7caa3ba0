"""Counts: all that processes have counted, as a row of whole numbers that can be added up.

Each number has its place, the same in every process. Times are whole microseconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise, product
from operator import attrgetter
from typing import Final

from ingest.errors import STATUS, Code
from ingest.observe.histogram import EVENTS, SECONDS, Histogram
from ingest.observe.metrics import EVENT_ROUTE, OTHER_ROUTE, ROUTES, Metrics
from ingest.share.labels import LABELS_MAX

Answer = tuple[str, int]
"""A route and a status."""

_OK: Final = 200
ANSWERS: Final[Sequence[Answer]] = tuple(
    product(sorted(ROUTES), sorted({_OK, 202, 204, 207, 304, *STATUS.values()}))
)
_COUNTED: Final = (
    *("replayed_events", "dead_lettered_events", "damaged_events"),
    *("spooled_events", "recovered_events"),
    *("committed_events", "failed_events", "duplicate_events"),
    *("async_acks", "async_refused_events"),
    *("dropped_partitions", "expired_events"),
)
"""Attributes of `Metrics`: what leaves the spool, what comes into it, and others.

In this order they are read, while the spool's thread may find events that are damaged.
"""
_read: Final = attrgetter(*_COUNTED)
NUMBERS: Final = (*_COUNTED, "refused_connections", "cpu_us")
HISTOGRAMS: Final[Mapping[str, Histogram]] = {
    "batch_events": Histogram(EVENTS, parts=1),
    "commit_s": Histogram(SECONDS),
    "loop_lag_s": Histogram(SECONDS),
    "wait_s": Histogram(SECONDS),
}
"""Empty ones."""
_LENGTHS: Final = (
    *(len(part) for part in (NUMBERS, ANSWERS, Code)),
    LABELS_MAX + 1,
    *(len(each.numbers) for each in HISTOGRAMS.values()),
)
_PARTS: Final = tuple(slice(*ends) for ends in pairwise(accumulate(_LENGTHS, initial=0)))
_ANSWER_PLACES: Final = {answer: place for place, answer in enumerate(ANSWERS)}
_UNKNOWN_PLACE: Final = _ANSWER_PLACES[OTHER_ROUTE, STATUS[Code.INTERNAL_ERROR]]
"""Of an answer that there should not be: it shows as a failure."""
_CODE_PLACES: Final = {code: place for place, code in enumerate(Code)}


def tally(
    metrics: Metrics,
    waits_s: Histogram,
    accepted: Iterable[int],
    refused_connections: int,
    cpu_us: int,
) -> list[int]:
    """Return the counts of this process; `accepted` are events by the place of an app's label."""
    answers, refusals = [0] * len(ANSWERS), [0] * len(_CODE_PLACES)
    for answer, count in metrics.answers.items():
        answers[_ANSWER_PLACES.get(answer, _UNKNOWN_PLACE)] += count
    answers[_ANSWER_PLACES[EVENT_ROUTE, _OK]] += metrics.committed_answers
    answers[_ANSWER_PLACES[EVENT_ROUTE, STATUS[Code.TOO_MANY_REQUESTS]]] += metrics.over_answers
    for code, count in metrics.refusals.items():
        refusals[_CODE_PLACES[code]] = count
    refusals[_CODE_PLACES[Code.TOO_MANY_REQUESTS]] += metrics.over_answers
    return [
        *_read(metrics),
        refused_connections,
        cpu_us,
        *answers,
        *refusals,
        *accepted,
        *metrics.batch_events.numbers,
        *metrics.commit_s.numbers,
        *metrics.loop_lag_s.numbers,
        *waits_s.numbers,
    ]


def events_in_spool(row: Sequence[int]) -> int:
    """Return what such a row says to be in the spool.

    Whose thread goes on counting: read another time it might not be what the row has.
    """
    *gone, spooled, recovered = row[:5]
    return spooled + recovered - sum(gone)


class Counts:
    """What such rows add up to, by name."""

    def __init__(self, row: Sequence[int]) -> None:
        numbers, answers, refusals, accepted, *rest = (row[part] for part in _PARTS)
        self._numbers = dict(zip(NUMBERS, numbers, strict=True))
        self.answers = dict(zip(ANSWERS, answers, strict=True))
        self.refusals = dict(zip(Code, refusals, strict=True))
        self.accepted = accepted
        """Events by the place of an app's label; the last are those of all other apps."""
        self.histograms = {
            name: empty.like(numbers)
            for (name, empty), numbers in zip(HISTOGRAMS.items(), rest, strict=True)
        }

    @staticmethod
    def nothing() -> list[int]:
        """Return a row of which nothing was counted."""
        return [0] * sum(_LENGTHS)

    def __getitem__(self, name: str) -> int:
        """Return one of NUMBERS."""
        return self._numbers[name]
