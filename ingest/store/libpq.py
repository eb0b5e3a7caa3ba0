"""How libpq is told where to connect: its parameters, and the two forms that they are written in.

No message quotes a value, nor a name that may be a piece of one: a password that is not encoded may
stand anywhere.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from ingest.errors import StartupError

SHAPE: Final = (
    "database.url can't be used: it must read postgresql://user:password@host:5432/name, with"
    " special characters in the user's name and password percent-encoded (@ is %40, / is %2F,"
    " ? is %3F, # is %23)"
)
_KEYWORDS_BEGIN: Final = re.compile(r"\s*[a-z_]+\s*=")
_KEYWORD: Final = re.compile(
    r"\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)"
)
_USED_NAMES: Final = """
host port dbname user password passfile service application_name options sslmode sslnegotiation
sslcert sslkey sslpassword sslrootcert sslcrl ssl_min_protocol_version ssl_max_protocol_version
target_session_attrs krbsrvname gsslib
"""
_UNUSED_NAMES: Final = """
fallback_application_name gssdelegation gssencmode keepalives keepalives_count keepalives_idle
keepalives_interval load_balance_hosts max_protocol_version min_protocol_version oauth_client_id
oauth_client_secret oauth_issuer oauth_scope replication require_auth requirepeer requiressl
scram_client_key scram_server_key servicefile sslcertmode sslcompression sslcrldir sslkeylogfile
sslsni tcp_user_timeout
"""
USED: Final = frozenset(_USED_NAMES.split())
UNUSED: Final = {
    **dict.fromkeys(_UNUSED_NAMES.split(), ""),
    "channel_binding": "sslmode=verify-full tells a false server, too",
    "client_encoding": "it is always UTF8",
    "connect_timeout": "set database.connect_timeout_s",
    "hostaddr": "host is looked up",
}
"""libpq's other parameters, and what to set instead."""
_SAME: Final = {"database": "dbname"}
_KNOWN: Final = USED | UNUSED.keys() | _SAME.keys()
_LIKENESS_MIN: Final = 0.8


def read(text: str) -> tuple[Mapping[str, str], str]:
    """Return the parameters of a URL, or of libpq's other form, and the hosts behind the @."""
    if _KEYWORDS_BEGIN.match(text):
        return _read_keywords(text), ""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise StartupError(SHAPE) from None
    login, _, hosts = parts.netloc.rpartition("@")
    if parts.scheme not in ("postgresql", "postgres") or parts.fragment or "@" in login:
        raise StartupError(SHAPE)
    user, _, password = login.partition(":")
    own = {"user": user, "password": password, "dbname": parts.path.removeprefix("/")}
    found = _read_query(parts.query, may_quote="@" not in parts.query)
    return found | {name: unquote(value) for name, value in own.items() if value}, hosts


def _read_query(query: str, *, may_quote: bool) -> dict[str, str]:
    """Return the parameters of a URL, decoded as libpq does it: a + is one; raise StartupError."""
    found: dict[str, str] = {}
    for piece in filter(None, query.split("&")):
        raw_name, equals, value = piece.partition("=")
        name = unquote(raw_name)
        if name == "ssl" and value == "true":  # as JDBC has it, and libpq takes
            name, value = "sslmode", "require"
        if not equals or name not in _KNOWN:
            raise _unknown(name) if may_quote else StartupError(SHAPE)
        found[_SAME.get(name, name)] = unquote(value)
    return {name: value for name, value in found.items() if value}


def _read_keywords(text: str) -> dict[str, str]:
    """Return the parameters of a string like `host=h dbname='a b'`; raise StartupError."""
    found: dict[str, str] = {}
    end = 0
    while text[end:].strip():
        piece = _KEYWORD.match(text, end)
        if piece is None:
            raise StartupError(SHAPE)
        name, quoted, plain = piece.groups()
        if name not in _KNOWN:
            # Else it may be a piece of a password with a space.
            likely = difflib.get_close_matches(name, _KNOWN, n=1, cutoff=_LIKENESS_MIN)
            raise _unknown(name) if likely else StartupError(SHAPE)
        found[_SAME.get(name, name)] = re.sub(r"\\(.)", r"\1", plain if quoted is None else quoted)
        end = piece.end()
    return {name: value for name, value in found.items() if value}


def _unknown(name: str) -> StartupError:
    close = difflib.get_close_matches(name, _KNOWN, n=1)
    hint = f"did you mean {close[0]}?" if close else "a setting reads options=-c%20NAME%3DVALUE"
    return mistake(f"{name[:40]!r} is no parameter of libpq's; {hint}")


def mistake(text: str) -> StartupError:
    """Return what stops the start."""
    return StartupError(f"database.url can't be used: {text}")
