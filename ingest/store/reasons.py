"""What went wrong at Postgres, in a person's words: by type and SQLSTATE, never by a text.

So a reason holds no value, no address and no password, and there are only so many of them: it may
stand in an answer, on `/readyz`, in a log and as a label.
"""

import socket
import ssl
from typing import Final

import asyncpg

_BY_SQLSTATE: Final = {
    "02000": "a trigger drops it",
    "08P01": "a pooler or Postgres refuses the connection",
    "0A000": "Postgres does not support it",
    "23505": "it is there already",
    "25006": "the database is read-only",
    "28P01": "the password is wrong",
    "3D000": "there is no such database",
    "40P01": "two transactions waited for each other",
    "42501": "a permission is missing",
    "42703": "a column is missing",
    "42883": "a function is missing",
    "42P01": "a table is missing",
    "42P07": "a table of that name is there already",
    "53100": "Postgres's disk is full",
    "53200": "Postgres is out of memory",
    "53300": "Postgres has no connection left",
    "55P03": "somebody else holds a lock",
    "57014": "a statement took too long",
    "57P01": "Postgres ended the session",
    "57P02": "Postgres crashed",
    "57P03": "Postgres is starting or stopping",
}
_BY_CLASS: Final = {
    "08": "the connection was lost",
    "22": "the data is invalid",
    "23": "a constraint refuses it",
    "25": "the transaction can't go on",
    "28": "Postgres refuses the log-in",
    "40": "the transaction was rolled back",
    "42": "Postgres can't do it",
    "44": "a view refuses it",
    "53": "Postgres lacks resources",
    "54": "it is beyond a limit of Postgres's",
    "55": "something is not in the state for it",
    "57": "an operator intervened",
    "58": "Postgres's disk or system fails",
    "P0": "a trigger or function refuses it",
    "XX": "Postgres failed within",
}
# In this order: a time-out is an OSError, and nearly all that follows is one as well.
_BY_TYPE: Final = (
    (TimeoutError, "no answer in time"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "TLS failed"),
    (socket.gaierror, "its host's name is not known"),
    (ConnectionRefusedError, "the connection was refused"),
    (FileNotFoundError, "there is no such socket"),
    (PermissionError, "its socket may not be used"),
    (ConnectionError, "the connection was lost"),
    (OSError, "the connection failed"),
    (asyncpg.TargetServerAttributeNotMatched, "no server is of the kind that is asked for"),
    (asyncpg.InterfaceError, "the connection was lost"),
)


def reason_of(error: Exception) -> str:
    """Return what a failure is."""
    if isinstance(error, asyncpg.PostgresError):
        return reason_of_sqlstate(error.sqlstate or "")
    for kind, words in _BY_TYPE:
        if isinstance(error, kind):
            return words
    return f"an unexpected {type(error).__name__}"


def reason_of_sqlstate(sqlstate: str) -> str:
    """Return what Postgres says by a SQLSTATE; empty if it gave none."""
    words = _BY_SQLSTATE.get(sqlstate) or _BY_CLASS.get(sqlstate[:2]) or "Postgres refuses it"
    return f"{words}, SQLSTATE {sqlstate}" if sqlstate else "Postgres ended the session"
