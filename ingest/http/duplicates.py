"""What a client is told of an event that it had sent before, or may have: `Nonito-Duplicate`."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from ingest.delivery.outcome import Ack, Duplicate, Outcome
from ingest.errors import Code, Refusal

_HEADER: Final = "Nonito-Duplicate"


class Known(StrEnum):
    """Whether an event was stored before."""

    NEW = "new"
    STORED = "true"
    DIFFERENT = "different"
    """Another one is, under its id or key; nothing of this one will be."""
    UNSURE = "unknown"
    """Only Postgres knows."""


_HEADERS: Final[Mapping[Known, Mapping[str, str]]] = {
    known: MappingProxyType({_HEADER: known.value} if known is not Known.NEW else {})
    for known in Known
}


def known(outcome: Ack | Duplicate) -> Known:
    """Return whether an event was stored before."""
    if isinstance(outcome, Duplicate):
        if outcome.is_different:
            return Known.DIFFERENT
        return Known.STORED if outcome.ack is Ack.COMMITTED else Known.UNSURE
    return Known.UNSURE if outcome is Ack.UNCHECKED else Known.NEW


def headers_of(outcome: Ack | Duplicate) -> Mapping[str, str]:
    """Return what the headers of a success say of its row."""
    return _HEADERS[known(outcome)]


def conflict_of(outcome: Outcome) -> Refusal | None:
    """Return the refusal of an event in whose place another one is stored; None for any other.

    For clients that ask for it (`Prefer: handling=strict`); others are told the other one's row.
    """
    if isinstance(outcome, Duplicate) and outcome.is_different:
        return Refusal(
            Code.CONFLICT,
            "Another event has this id or Idempotency-Key; nothing of this one is stored.",
        )
    return None
