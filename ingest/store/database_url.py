"""`database.url`, read as libpq reads it: what psql takes, the server takes, and the other way.

It may also be libpq's other form, `host=… dbname=…`.

asyncpg knows half of libpq's parameters, and sends any other to Postgres as a setting, which ends
the connection. So each is known here: used, or without effect and said to be, or a mistake that is
told before anything is tried. No message quotes a value: a password that is not percent-encoded may
stand anywhere.
"""

import getpass
import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from ingest.errors import StartupError
from ingest.store import libpq
from ingest.store.libpq import mistake

_HOST: Final = r"(?:\[[^\]]*\]|[^:,@\[\]]+)(?::[0-9]*)?"
_HOSTS: Final = re.compile(f"(?:{_HOST}(?:,{_HOST})*)?")
_PORT_MAX: Final = 65_535
_NOT_FOR_PSQL_NAMES: Final = """
sslpassword oauth_client_id oauth_client_secret oauth_issuer oauth_scope requiressl
scram_client_key scram_server_key sslkeylogfile
"""
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
        self.parameters, self._hosts = libpq.read(text)
        self._bring_into_form()
        self._check_hosts()
        self._check_tls()
        self._check_user()

    @property
    def without_effect(self) -> list[str]:
        """Return which parameters have none, and what to set instead, in words."""
        names = [name for name in self.parameters if name in libpq.UNUSED]
        return [f"{name} ({libpq.UNUSED[name]})" if libpq.UNUSED[name] else name for name in names]

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
        used = {name: value for name, value in self.parameters.items() if name in libpq.USED}
        if self.trusts_system:
            used.pop("sslrootcert", None)
        if "host" in used:
            used["host"] = ",".join(map(_bracketed, used["host"].split(",")))
        return self._text(used)

    def for_libpq(self, connect_timeout_s: int, application_name: str) -> str:
        """Return the URL for libpq within this process, with the password."""
        used = {name: value for name, value in self.parameters.items() if name in libpq.USED}
        used.setdefault("application_name", application_name)
        return self._text(used | {"connect_timeout": str(connect_timeout_s)})

    @property
    def trusts_system(self) -> bool:
        """Whether Postgres's certificate is checked by the authorities of this machine."""
        return self._setting("sslrootcert") == _SYSTEM and self._setting("sslmode") != "disable"

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

    def _bring_into_form(self) -> None:
        """Put where asyncpg finds them: a port without a host, and an address alone."""
        parameters = dict(self.parameters)
        if re.fullmatch(":[0-9]*", self._hosts):
            parameters.setdefault("port", self._hosts[1:])
            self._hosts = ""
        if not self._hosts and "host" not in parameters and "hostaddr" in parameters:
            parameters["host"] = parameters.pop("hostaddr")
        self.parameters = {name: value for name, value in parameters.items() if value}

    def _check_hosts(self) -> None:
        if not _HOSTS.fullmatch(self._hosts):  # a piece of a password that is not encoded
            raise StartupError(libpq.SHAPE)
        hosts, ports = self.parameters.get("host", ""), self.parameters.get("port", "")
        if "" in hosts.split(",") and hosts:
            raise mistake("host names none, or ends with a comma")
        found = re.findall(r":([0-9]+)(?=,|$)", re.sub(r"\[[^\]]*\]", "", self._hosts))
        for port in found + [each for each in ports.split(",") if each]:
            if not (port.isascii() and port.isdigit() and 0 < int(port) <= _PORT_MAX):
                raise mistake(f"a port is a number up to {_PORT_MAX}")

    def _check_tls(self) -> None:
        mode = self._setting("sslmode")
        if "sslmode" in self.parameters and mode not in _MODES:
            raise mistake(f"sslmode is one of {', '.join(_MODES)}")
        if mode == "disable":
            return
        for name in _FILES:
            is_for_all = name in ("sslcert", "sslkey")
            if (path := self._setting(name)) and (is_for_all or mode in _MODES[3:]):
                _check_file(name, path)
        if mode in _MODES[4:] and not self._setting("sslrootcert") and not _has_own_authorities():
            raise mistake(
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
            raise mistake("it names no user, and this process's account has no name") from None

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


def _bracketed(host: str) -> str:
    return f"[{host}]" if host.count(":") > 1 and not host.startswith(("[", "/")) else host


def _check_file(name: str, path: str) -> None:
    if name == "sslrootcert" and path == _SYSTEM:
        return
    try:
        with Path(path).open("rb"):
            pass
        if name in ("sslrootcert", "sslcrl"):
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise mistake(f"{name}, {path}, holds no certificate") from None
    except OSError as error:
        raise mistake(f"{name}, {path}, can't be read: {error.strerror}") from None


def _has_own_authorities() -> bool:
    with suppress(RuntimeError, OSError):
        return (Path.home() / ".postgresql" / "root.crt").exists()
    return False
