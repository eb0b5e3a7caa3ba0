"""What can go wrong at Postgres, in two kinds: a row's own fault, and everything else.

Only a closed list of SQLSTATEs is a row's fault. Everything else, including the bare RuntimeError
of a dying uvloop transport, means that Postgres is unavailable, or that nobody knows whether what
was sent is stored. Classified by type and SQLSTATE, never by a message's text.
"""

import re
from enum import Enum
from typing import Final

import asyncpg

ROW_ERRORS: Final = frozenset(
    {
        "22P02",  # invalid text representation
        "22P05",  # untranslatable character
        "22021",  # character not in repertoire
        "22003",  # numeric value out of range
        "22008",  # datetime field overflow
        "54000",  # program limit exceeded
        "54001",  # statement too complex
    }
)
# The session ended, or the server is stopping: it may have committed before it said so.
_AMBIGUOUS_CLASSES: Final = ("08", "57P")
# Data, integrity constraints, WITH CHECK OPTION, limits, RAISE: Postgres judged the rows:
# sending them again comes to the same end.
_REFUSAL_CLASSES: Final = ("22", "23", "44", "54", "P0")
_UNIQUE_VIOLATION: Final = "23505"
_CHECK_VIOLATION: Final = "23514"
# "COPY events, line 638, column event_params"; the words are translated, the number is not. At the
# start of a line and the last such one: lines before it may quote what a client sent.
_COPY_LINE: Final = re.compile(r"^COPY \S+\D+(\d+)", re.MULTILINE)


class RowRefused(Exception):  # noqa: N818 - an outcome, handled by taking the row out
    """Postgres refused one row of a COPY; none of its rows is stored."""

    def __init__(
        self, index: int | None, sqlstate: str, message: str, *, is_told: bool = True
    ) -> None:
        super().__init__(message)
        self.index = index
        """Which row, from 0; None when the error did not say."""
        self.sqlstate = sqlstate
        self.message = message
        self.is_told = is_told
        """Whether its sender is told that the row is bad: its data is, whoever looks at it. False
        for what a CHECK or a trigger of the operator's refuses, say: it may be mended one day."""


class Outage(Enum):
    """Whether it is worth asking Postgres again at once."""

    CONNECTION_LOST = "connection lost"
    """This session ended; a new one may work."""
    AWAY = "away"
    """Every session would fail alike: refused, hung, read-only, a table missing."""


class Unavailable(Exception):  # noqa: N818 - a state of the world, handled
    """Postgres did not do what was asked, and no row is to blame."""

    def __init__(
        self,
        reason: str,
        *,
        stored: bool | None,
        outage: Outage,
        is_lasting: bool = False,
        sqlstate: str = "",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        """A few words without any payload, for a log line or an answer."""
        self.stored = stored
        """False: certainly nothing was stored. None: it may have been."""
        self.outage = outage
        self.is_lasting = is_lasting
        """Whether only a change of the configuration can mend it: no use in waiting."""
        self.sqlstate = sqlstate
        """What Postgres called it; empty if it said nothing."""


class AlreadyStored(Unavailable):
    """A row's key is in the table: an earlier try with these rows was committed."""


def while_connecting(error: Exception) -> Unavailable:
    """Classify what `asyncpg.connect` raised: nothing was sent yet."""
    return Unavailable(_reason(error), stored=False, outage=Outage.AWAY)


def while_sending(error: Exception, rows: int = 0) -> RowRefused | Unavailable:
    """Classify what a COPY of `rows` rows, or another statement, raised."""
    match error:
        case asyncpg.PostgresError():
            return _judge(error, rows)
        case asyncpg.InterfaceError():  # the connection was dead before anything was sent
            return Unavailable(_reason(error), stored=False, outage=Outage.CONNECTION_LOST)
        case TimeoutError():
            return Unavailable(_reason(error), stored=None, outage=Outage.AWAY)
        case _:
            return Unavailable(_reason(error), stored=None, outage=Outage.CONNECTION_LOST)


def _judge(error: asyncpg.PostgresError, rows: int) -> RowRefused | Unavailable:
    """Classify what Postgres said."""
    sqlstate, reason = error.sqlstate or "", _reason(error)
    if sqlstate in ROW_ERRORS:
        return RowRefused(_row_index(error, rows), sqlstate, _message(error))
    if not sqlstate or sqlstate.startswith(_AMBIGUOUS_CLASSES):
        return Unavailable(reason, stored=None, outage=Outage.CONNECTION_LOST)
    if sqlstate == _CHECK_VIOLATION and not error.constraint_name:
        # No CHECK of the operator's, which has a name: a stray's partition was attached while the
        # stray waited for the default one. Sent again it goes there.
        return Unavailable(reason, stored=False, outage=Outage.CONNECTION_LOST)
    if sqlstate == _UNIQUE_VIOLATION:
        return AlreadyStored(reason, stored=None, outage=Outage.AWAY, sqlstate=sqlstate)
    if rows and sqlstate.startswith(_REFUSAL_CLASSES):
        return RowRefused(_row_index(error, rows), sqlstate, _message(error), is_told=False)
    return Unavailable(reason, stored=False, outage=Outage.AWAY, sqlstate=sqlstate)


def _row_index(error: asyncpg.PostgresError, rows: int) -> int | None:
    found = _COPY_LINE.findall(error.context or "")
    index = int(found[-1]) - 1 if found else -1
    return index if 0 <= index < rows else None


def _message(error: asyncpg.PostgresError) -> str:
    return " ".join(part for part in (error.message, error.detail) if part)


def _reason(error: Exception) -> str:
    """Name the failure without its text, which may quote a payload or an address."""
    if isinstance(error, asyncpg.PostgresError):
        return f"{type(error).__name__}, SQLSTATE {error.sqlstate}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return type(error).__name__
