"""`database.url`, read as libpq reads it: what psql takes, the server takes, and the other way.

asyncpg knows half of libpq's parameters, and sends any other to Postgres as a setting, which ends
the connection. So each is known here: used, or without effect and said to be, or a mistake that is
told before anything is tried. No message quotes a value: a password that is not percent-encoded may
stand anywhere.
"""

import difflib
import getpass
import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from ingest.errors import StartupError

_SHAPE: Final = (
    "database.url can't be used: it must read postgresql://user:password@host:5432/name, with"
    " special characters in the user's name and password percent-encoded (@ is %40, / is %2F,"
    " ? is %3F, # is %23)"
)
_HOST: Final = r"(?:\[[^\]]*\]|[^:,@\[\]]+)(?::[0-9]*)?"
_HOSTS: Final = re.compile(f"(?:{_HOST}(?:,{_HOST})*)?")
_PORT_MAX: Final = 65_535
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
_NOT_FOR_PSQL_NAMES: Final = """
sslpassword oauth_client_id oauth_client_secret oauth_issuer oauth_scope requiressl
scram_client_key scram_server_key sslkeylogfile
"""
_USED: Final = frozenset(_USED_NAMES.split())
_UNUSED: Final = {
    **dict.fromkeys(_UNUSED_NAMES.split(), ""),
    "channel_binding": "sslmode=verify-full tells a false server, too",
    "client_encoding": "it is always UTF8",
    "connect_timeout": "set database.connect_timeout_s",
    "hostaddr": "host is looked up",
}
"""libpq's other parameters, and what to set instead."""
_SAME: Final = {"database": "dbname"}
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_FILES: Final = {
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
}
_SYSTEM: Final = "system"
"""As `sslrootcert`: the certificates that this machine trusts."""
_BY_ENVIRONMENT: Final = {
    "password": "PGPASSWORD",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "require_auth": "PGREQUIREAUTH",
    "sslcertmode": "PGSSLCERTMODE",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "gssdelegation": "PGGSSDELEGATION",
    "min_protocol_version": "PGMINPROTOCOLVERSION",
    "max_protocol_version": "PGMAXPROTOCOLVERSION",
    "servicefile": "PGSERVICEFILE",
}
"""What psql gets so: a secret, and what a psql of 15 would refuse in a URL."""
_NOT_FOR_PSQL: Final = frozenset(_NOT_FOR_PSQL_NAMES.split())
_PSQL_CONNECT_TIMEOUT_S: Final = 10


class DatabaseUrl:
    """A URL that can be used, or StartupError, which says what is wrong with it."""

    def __init__(self, text: str) -> None:
        try:
            parts = urlsplit(text)
        except ValueError:
            raise StartupError(_SHAPE) from None
        login, _, self._hosts = parts.netloc.rpartition("@")
        if parts.scheme not in ("postgresql", "postgres") or parts.fragment or "@" in login:
            raise StartupError(_SHAPE)
        user, _, password = login.partition(":")
        found = _read_parameters(parts.query, may_quote="@" not in parts.query)
        own = {"user": user, "password": password, "dbname": parts.path.removeprefix("/")}
        self.parameters: Mapping[str, str] = found | {
            name: unquote(value) for name, value in own.items() if value
        }
        self._take_port()
        self._check_hosts()
        self._check_tls()
        self._check_user()

    @property
    def without_effect(self) -> list[str]:
        """Return which parameters have none, and what to set instead, in words."""
        names = [name for name in self.parameters if name in _UNUSED]
        return [f"{name} ({_UNUSED[name]})" if _UNUSED[name] else name for name in names]

    @property
    def address(self) -> str:
        """Return which database where, for people: without the password."""
        found = self.parameters.get("host") or os.environ.get("PGHOST") or "the local socket"
        user = self.parameters.get("user") or os.environ.get("PGUSER", "")
        name = self.parameters.get("dbname") or os.environ.get("PGDATABASE") or user
        place = unquote(self._hosts) or found
        if place.startswith("/"):
            place += f"/.s.PGSQL.{self._setting('port') or 5432}"
        return f"{place}, database {name}"

    @property
    def for_asyncpg(self) -> str:
        """Return the URL with what asyncpg knows."""
        used = {name: value for name, value in self.parameters.items() if name in _USED}
        if self.trusts_system:
            del used["sslrootcert"]
        return self._text(used)

    @property
    def trusts_system(self) -> bool:
        """Whether Postgres's certificate is checked by the authorities of this machine."""
        return self._setting("sslrootcert") == _SYSTEM

    def for_psql(self) -> tuple[str, dict[str, str]]:
        """Return the URL without secrets, for a command line, and variables for the environment."""
        variables = {
            variable: self.parameters[name]
            for name, variable in _BY_ENVIRONMENT.items()
            if name in self.parameters
        }
        if "PGCONNECT_TIMEOUT" not in os.environ:  # libpq waits for ever
            variables["PGCONNECT_TIMEOUT"] = str(_PSQL_CONNECT_TIMEOUT_S)
        hidden = _BY_ENVIRONMENT.keys() | _NOT_FOR_PSQL
        shown = {name: value for name, value in self.parameters.items() if name not in hidden}
        return self._text(shown), variables

    def _text(self, parameters: Mapping[str, str]) -> str:
        rest = dict(parameters)
        login = quote(rest.pop("user", ""), safe="")
        if password := rest.pop("password", ""):
            login += f":{quote(password, safe='')}"
        name = quote(rest.pop("dbname", ""), safe="")
        query = "&".join(f"{each}={quote(value, safe='')}" for each, value in rest.items())
        place = f"{login}@{self._hosts}" if login else self._hosts
        return (
            f"postgresql://{place}{'/' if name or query else ''}{name}{'?' if query else ''}{query}"
        )

    def _take_port(self) -> None:
        """Move a port without a host to where asyncpg finds it, as well as an address alone."""
        parameters = dict(self.parameters)
        if re.fullmatch(":[0-9]*", self._hosts):
            parameters.setdefault("port", self._hosts[1:])
            self._hosts = ""
        if not self._hosts and "host" not in parameters and "hostaddr" in parameters:
            parameters["host"] = parameters.pop("hostaddr")
        self.parameters = {name: value for name, value in parameters.items() if value}

    def _check_hosts(self) -> None:
        if not _HOSTS.fullmatch(self._hosts):  # a piece of a password that is not encoded
            raise StartupError(_SHAPE)
        hosts, ports = self.parameters.get("host", ""), self.parameters.get("port", "")
        if "" in hosts.split(",") and hosts:
            raise _mistake("host names none, or ends with a comma")
        found = re.findall(r":([0-9]+)(?=,|$)", re.sub(r"\[[^\]]*\]", "", self._hosts))
        for port in found + [each for each in ports.split(",") if each]:
            if not (port.isascii() and port.isdigit() and 0 < int(port) <= _PORT_MAX):
                raise _mistake(f"a port is a number up to {_PORT_MAX}")

    def _check_tls(self) -> None:
        mode = self._setting("sslmode")
        if "sslmode" in self.parameters and mode not in _MODES:
            raise _mistake(f"sslmode is one of {', '.join(_MODES)}")
        if mode == "disable":
            return
        for name in _FILES:
            is_for_all = name in ("sslcert", "sslkey")
            if (path := self._setting(name)) and (is_for_all or mode in _MODES[3:]):
                _check_file(name, path)
        if mode in _MODES[4:] and not self._setting("sslrootcert") and not _has_own_authorities():
            raise _mistake(
                f"sslmode={mode} needs sslrootcert=FILE, or sslrootcert=system to trust the"
                " authorities that this machine trusts"
            )

    def _check_user(self) -> None:
        if {"user", "service"} & self.parameters.keys():
            return
        if any(name in os.environ for name in ("PGUSER", "PGSERVICE")):
            return
        try:
            getpass.getuser()
        except (KeyError, OSError):
            raise _mistake("it names no user, and this process's account has no name") from None

    def _setting(self, name: str) -> str:
        """Return a parameter, or what libpq's own variable for it says."""
        variable = _FILES.get(name, f"PG{name.upper()}")
        return self.parameters.get(name) or os.environ.get(variable, "")


def forget_unsearchable_home() -> None:
    """Take a HOME that can't be searched for none, as psql does.

    asyncpg looks there for certificates, and fails for one that it may not look for.
    """
    with suppress(RuntimeError):  # it is not even known
        try:
            (Path.home() / ".postgresql" / "postgresql.key").stat()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError:
            os.environ["HOME"] = "/nonexistent"


def _read_parameters(query: str, *, may_quote: bool) -> dict[str, str]:
    """Return the parameters, decoded as libpq does it: a + is one; raise StartupError."""
    found: dict[str, str] = {}
    for piece in filter(None, query.split("&")):
        raw_name, equals, value = piece.partition("=")
        name = _SAME.get(unquote(raw_name), unquote(raw_name))
        if name == "ssl" and value == "true":  # as JDBC has it, and libpq takes
            name, value = "sslmode", "require"
        if not equals or (name not in _USED and name not in _UNUSED):
            raise _unknown(name) if may_quote else StartupError(_SHAPE)
        found[name] = unquote(value)
    return {name: value for name, value in found.items() if value}


def _unknown(name: str) -> StartupError:
    close = difflib.get_close_matches(name, _USED | _UNUSED.keys(), n=1)
    hint = f"did you mean {close[0]}?" if close else "a setting reads options=-c%20NAME%3DVALUE"
    return _mistake(f"{name[:40]!r} is no parameter of libpq's; {hint}")


def _check_file(name: str, path: str) -> None:
    if name == "sslrootcert" and path == _SYSTEM:
        return
    try:
        with Path(path).open("rb"):
            pass
        if name in ("sslrootcert", "sslcrl"):
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise _mistake(f"{name}, {path}, holds no certificate") from None
    except OSError as error:
        raise _mistake(f"{name}, {path}, can't be read: {error.strerror}") from None


def _has_own_authorities() -> bool:
    with suppress(RuntimeError, OSError):
        return (Path.home() / ".postgresql" / "root.crt").exists()
    return False


def _mistake(text: str) -> StartupError:
    return StartupError(f"database.url can't be used: {text}")
