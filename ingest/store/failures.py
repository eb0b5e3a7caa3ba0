"""What can go wrong at Postgres, in two kinds: it refuses rows, or it is not there for any.

Only a closed list of SQLSTATEs is a row's own fault, and told to its sender. Whatever else Postgres
says of a statement with rows may be these rows' (a trigger that fails, no room in one tablespace)
or everybody's (no such table): an empty COPY tells which. A session that ends, time-outs, and the
bare RuntimeError of a dying uvloop transport mean that Postgres is unavailable, or that nobody
knows whether what was sent is stored. Classified by type and SQLSTATE, never by a message's text.
"""

import re
import ssl
from enum import Enum
from typing import Final, NamedTuple

import asyncpg

from ingest.store.reasons import reason_of, reason_of_sqlstate

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
NO_DATA: Final = "02000"
DROPPED: Final = "a trigger dropped the row"
# The session ended, or the server is stopping: it may have committed before it said so.
_AMBIGUOUS_CLASSES: Final = ("08", "57P")
# Data, integrity constraints, WITH CHECK OPTION, limits, RAISE: Postgres judged the rows:
# sending them again comes to the same end.
_REFUSAL_CLASSES: Final = ("22", "23", "44", "54", "P0")
# No writes here, no log-in, no such database, a deadlock, a lock or a statement that took too long:
# found in halves only, if at all, since each try may cost a whole time-out.
_WAITING_CLASSES: Final = ("25", "28", "3D", "40", "55", "57")
# Those, and no room, and an I/O error: it may end by itself, so a row is never given up for it.
_PASSING_CLASSES: Final = (*_WAITING_CLASSES, "08", "53", "58")
# Here Postgres's own words name tables and settings, and quote no value of a row.
_QUOTING_NOTHING: Final = ("23", "25", "28", "42", "53", "55", "57", "58", "XX")
# And here they say nothing else.
_NAMING: Final = "42"
# While connecting: a parameter that Postgres does not know, or a value that is none.
_MISCONFIGURED: Final = ("22023", "42601", "42704")
_TEXT_CHARS_MAX: Final = 200
UNTOLD: Final = "XX000"
"""Something failed within Postgres; Citus says so of whatever a node has said of a COPY."""
_UNIQUE_VIOLATION: Final = "23505"
CHECK_VIOLATION: Final = "23514"
"""Of a CHECK, or for want of a partition; Citus names no CHECK."""
# "COPY events, line 638, column event_params"; the words are translated, the number is not. At the
# start of a line and the last such one: lines before it may quote what a client sent.
_COPY_LINE: Final = re.compile(r"^COPY \S+\D+(\d+)", re.MULTILINE)


class Named(NamedTuple):
    """What of the schema Postgres named with an error; empty where it named nothing."""

    table: str = ""
    column: str = ""
    constraint: str = ""


NOTHING: Final = Named()


class RowRefused(Exception):  # noqa: N818 - an outcome, handled by taking the row out
    """Postgres refused one row or more of a statement; nothing of it is known to be stored."""

    def __init__(
        self,
        index: int | None,
        sqlstate: str,
        message: str,
        *,
        is_told: bool = True,
        is_doubtful: bool = False,
        named: Named = NOTHING,
    ) -> None:
        super().__init__(message)
        self.index = index
        """Which row, from 0; None when the error did not say."""
        self.sqlstate = sqlstate
        self.message = message
        """In Postgres's words, which may quote what the row holds."""
        self.is_told = is_told
        """Whether its sender is told that the row is bad: its data is, whoever looks at it. False
        for what a CHECK or a trigger of the operator's refuses, say: it may be mended one day."""
        self.is_doubtful = is_doubtful
        """Whether Postgres has not judged the row, but failed: it may be no row's fault at all."""
        self.named = named

    @property
    def is_waiting(self) -> bool:
        """Whether Postgres waited for something, maybe as long as it may."""
        return not self.sqlstate or self.sqlstate.startswith(_WAITING_CLASSES)

    @property
    def is_passing(self) -> bool:
        """Whether it may end by itself, as when a tablespace is full."""
        return not self.sqlstate or self.sqlstate.startswith(_PASSING_CLASSES)

    @property
    def reason(self) -> str:
        """What it is and what Postgres named, without any value; for an alarm."""
        found = zip(Named._fields, self.named, strict=True)
        words = reason_of_sqlstate(self.sqlstate)
        return ", ".join([words, *(f"{k} {v}" for k, v in found if v)])


class RowsDropped(RowRefused):
    """A COPY was committed, and some of its rows are not there: a trigger has dropped them."""

    def __init__(self, stored_rows: int) -> None:
        super().__init__(None, NO_DATA, DROPPED, is_told=False)
        self.stored_rows = stored_rows
        """How many it has stored."""


class Outage(Enum):
    """Whether it is worth asking Postgres again at once."""

    CONNECTION_LOST = "connection lost"
    """This session ended; a new one may work."""
    AWAY = "away"
    """Every session would fail alike, as nobody answers."""
    FAILING = "failing"
    """Every session would fail alike, with Postgres there: it is read-only, or a table is gone."""


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
        text: str = "",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        """A few words without any payload or address, for a log line or an answer."""
        self.stored = stored
        """False: certainly nothing was stored. None: it may have been."""
        self.outage = outage
        self.is_lasting = is_lasting
        """Whether only a change of the configuration can mend it: no use in waiting."""
        self.sqlstate = sqlstate
        """What Postgres called it; empty if it said nothing."""
        self.text = text
        """What Postgres said, and where, for the operator; empty where that may quote a row."""

    def __str__(self) -> str:
        """Say all that there is, for the operator."""
        return f"{self.reason}: {self.text}" if self.text else self.reason

    @property
    def named_reason(self) -> str:
        """The reason, and which table, column or permission it is about, without any address."""
        return str(self) if self.sqlstate.startswith(_NAMING) else self.reason

    def unsent(self) -> "Unavailable":
        """Return it as the failure of rows that were not even sent."""
        return Unavailable(
            self.reason,
            stored=False,
            outage=self.outage,
            is_lasting=self.is_lasting,
            sqlstate=self.sqlstate,
            text=self.text,
        )

    def as_refusal(self) -> RowRefused:
        """Return it as a refusal of one of the rows that were sent, should it be theirs."""
        return RowRefused(None, self.sqlstate, self.text, is_told=False, is_doubtful=True)


class NoTurn(Unavailable):
    """Other processes of this server have all its connections of a kind: nothing of Postgres's."""

    def __init__(self) -> None:
        super().__init__(
            "the server's other processes use all its connections of this kind",
            stored=False,
            outage=Outage.AWAY,
        )


class AlreadyStored(Unavailable):
    """A row's key is in the table: an earlier try with these rows was committed."""


def while_connecting(error: Exception, address: str = "") -> Unavailable:
    """Classify what `asyncpg.connect` raised: nothing was sent yet. `address` is for people."""
    sqlstate = error.sqlstate or "" if isinstance(error, asyncpg.PostgresError) else ""
    is_there = bool(sqlstate) and not sqlstate.startswith(_AMBIGUOUS_CLASSES)
    return Unavailable(
        reason_of(error),
        stored=False,
        outage=Outage.FAILING if is_there else Outage.AWAY,
        is_lasting=sqlstate in _MISCONFIGURED,
        text=_while_connecting_text(error, address),
    )


def _while_connecting_text(error: Exception, address: str) -> str:
    """Return where it was, and Postgres's or OpenSSL's own words, which quote no password."""
    has_words = isinstance(error, asyncpg.PostgresError | ssl.SSLError)
    said = str(error)[:_TEXT_CHARS_MAX] if has_words or type(error) is ConnectionError else ""
    return "; ".join(filter(None, (said, address)))


def while_sending(error: Exception, rows: int = 0) -> RowRefused | Unavailable:
    """Classify what a COPY of `rows` rows, or another statement, raised."""
    match error:
        case asyncpg.PostgresError():
            return _judge(error, rows)
        case asyncpg.InterfaceError():  # the connection was dead before anything was sent
            return Unavailable(reason_of(error), stored=False, outage=Outage.CONNECTION_LOST)
        case TimeoutError():
            return Unavailable(reason_of(error), stored=None, outage=Outage.AWAY)
        case _:
            return Unavailable(reason_of(error), stored=None, outage=Outage.CONNECTION_LOST)


def perhaps_stored(error: asyncpg.PostgresError) -> AlreadyStored:
    """Return what says nothing of a COPY but that it failed, as what is to be merged."""
    return AlreadyStored(
        reason_of(error), stored=False, outage=Outage.FAILING, sqlstate=error.sqlstate or ""
    )


def perhaps_committed(error: asyncpg.PostgresError) -> Unavailable:
    """Return what says nothing of a COMMIT but that it failed, on whichever node."""
    return Unavailable(reason_of(error), stored=None, outage=Outage.CONNECTION_LOST)


def of_row(error: asyncpg.PostgresError) -> RowRefused:
    """Return what Postgres said of one row that was sent alone."""
    sqlstate = error.sqlstate or ""
    return RowRefused(
        0,
        sqlstate,
        _message(error),
        is_told=sqlstate in ROW_ERRORS,
        is_doubtful=not _is_judgement(error),
        named=_named(error),
    )


def _judge(error: asyncpg.PostgresError, rows: int) -> RowRefused | Unavailable:
    """Classify what Postgres said."""
    sqlstate, reason = error.sqlstate or "", reason_of(error)
    if sqlstate in ROW_ERRORS:
        return RowRefused(_row_index(error, rows), sqlstate, _message(error), named=_named(error))
    if _has_ended_session(error):
        return without_rows(error)
    if sqlstate == _UNIQUE_VIOLATION:
        text = _text(error)
        return AlreadyStored(
            reason, stored=None, outage=Outage.FAILING, sqlstate=sqlstate, text=text
        )
    if rows and not sqlstate.startswith(_WAITING_CLASSES):
        return _refusal(error, rows)
    return without_rows(error)


def is_of_node(error: asyncpg.PostgresError) -> bool:
    """Return whether Postgres tells of a connection of its own that it has lost, to another node.

    The session in which it does goes on.
    """
    return (error.sqlstate or "").startswith("08") and error.severity_en == "ERROR"


def without_rows(error: asyncpg.PostgresError) -> Unavailable:
    """Classify what Postgres said of a statement whose failure can be no row's."""
    sqlstate, reason = error.sqlstate or "", reason_of(error)
    if _has_ended_session(error):
        return Unavailable(reason, stored=None, outage=Outage.CONNECTION_LOST)
    return Unavailable(
        reason,
        stored=False,
        outage=Outage.FAILING,
        sqlstate=sqlstate,
        text=_text(error),
    )


def _has_ended_session(error: asyncpg.PostgresError) -> bool:
    """Whether the session is over; a trigger's own session to elsewhere (dblink) is not ours.

    Postgres then says ERROR in the field that is never translated, which a pooler does not send.
    """
    sqlstate = error.sqlstate or ""
    is_of_session = not sqlstate or sqlstate.startswith(_AMBIGUOUS_CLASSES)
    return is_of_session and error.severity_en != "ERROR"


def _refusal(error: asyncpg.PostgresError, rows: int) -> RowRefused:
    """Return the refusal of rows for what is not their data's fault."""
    return RowRefused(
        _row_index(error, rows),
        error.sqlstate or "",
        _message(error),
        is_told=False,
        is_doubtful=not _is_judgement(error),
        named=_named(error),
    )


def _is_judgement(error: asyncpg.PostgresError) -> bool:
    """Whether it is the row that is refused, and not Postgres that has failed.

    A CHECK of the operator's has a name. Without one, a stray's partition was attached while the
    stray waited for the default one, and sent again it goes there; or there is no partition.
    """
    sqlstate = error.sqlstate or ""
    is_for_want_of_a_partition = sqlstate == CHECK_VIOLATION and not error.constraint_name
    is_of_row = sqlstate == NO_DATA or sqlstate.startswith(_REFUSAL_CLASSES)
    return is_of_row and not is_for_want_of_a_partition


def _row_index(error: asyncpg.PostgresError, rows: int) -> int | None:
    found = _COPY_LINE.findall(error.context or "")
    index = int(found[-1]) - 1 if found else -1
    return index if 0 <= index < rows else None


def _message(error: asyncpg.PostgresError) -> str:
    return " ".join(part for part in (error.message, error.detail) if part)


def _named(error: asyncpg.PostgresError) -> Named:
    return Named(error.table_name or "", error.column_name or "", error.constraint_name or "")


def _text(error: asyncpg.PostgresError) -> str:
    if not (error.sqlstate or "").startswith(_QUOTING_NOTHING):
        return ""
    return (error.message or "")[:_TEXT_CHARS_MAX]
