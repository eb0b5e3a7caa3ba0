"""How this server connects to Postgres: time-outs of every kind, and a look at its durability.

It may be PgBouncer that answers, in transaction mode: then each transaction is on whichever of its
connections is free, and what a session keeps (settings, LISTEN, prepared statements, advisory locks
and temporary tables) is lost or, worse, another client's. So nothing here relies on a session.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final, TypeAlias
from uuid import UUID
from weakref import WeakSet

import asyncpg
import structlog

from ingest.errors import StartupError
from ingest.share.turn import Turn
from ingest.store import citus, identity
from ingest.store.copier import CopyConnection
from ingest.store.database_url import DatabaseUrl
from ingest.store.failures import (
    NoTurn,
    Outage,
    RowRefused,
    Unavailable,
    while_connecting,
    while_sending,
)
from ingest.store.identity import AnotherDatabase
from ingest.store.turns import Turns

log = structlog.get_logger(__name__)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_NAME = "application_name"
_LOCK_TIMEOUT_SHARE = 0.8
_STATEMENT_TIMEOUT_SHARE = 0.9
_RETRY_S = 0.25
KEEPALIVES: Final = MappingProxyType(
    {
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "4",
        "tcp_user_timeout": "30000",
    }
)
"""So Postgres ends a session whose machine is gone without a word, in 30 s. By the kernel's own
settings it keeps for two hours all that such a session has locked: keys that are sent again to
other servers, and the archive."""
_TURN_S = 30.0
# Python's own message would quote a part of the URL: of the password, if that is not encoded.
_URL_UNREADABLE = "database.url can't be used: a host or a port in it is none"


class Postgres:
    """One database, and how long to wait for it. Hands out connections; owns none."""

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float,
        commit_timeout_s: float,
        turns: Turns | None = None,
    ) -> None:
        self._url = DatabaseUrl(url)
        self.turns = turns or Turns()
        """Of the server, for all connections but those of writers."""
        if unused := self._url.without_effect:
            log.warning("parameters of database.url have no effect", parameters=unused)
        self._connect_timeout_s = min(connect_timeout_s, commit_timeout_s)
        self.commit_timeout_s = commit_timeout_s
        self._durability_warned: set[str] = set()
        self._refuses_settings = False
        self._connections: WeakSet[CopyConnection] = WeakSet()
        self._pooler_reported = False
        self.is_pooled = False
        """Whether the last connection was a pooler's, so that no session keeps anything."""
        self.has_citus = False
        """Whether the last connection was to a coordinator of Citus, with tables on other nodes."""
        self.database_id: UUID | None = None
        """The one database that is meant, wherever the URL leads; None while that is not known.

        Once it is known every connection to another one is refused."""

    @property
    def open_connections(self) -> int:
        """How many connections there are now, of all that were handed out."""
        return sum(not connection.is_closed() for connection in self._connections)

    @property
    def address(self) -> str:
        """Which database where, for people: without the user's name and password."""
        return self._url.address

    @property
    def begin(self) -> str:
        """Return the SQL that begins a transaction with the time-outs that `connect` asks for.

        They end with the transaction. Through a pooler there is no other way to have them.
        """
        limits = _limits(self.commit_timeout_s)
        begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
        return "; ".join([begin, *(f"SET LOCAL {name} = {ms}" for name, ms in limits.items())])

    async def connect(self, statement_timeout_s: float | None = None) -> CopyConnection:
        """Open a connection whose statements end after `statement_timeout_s`; raise Unavailable.

        Postgres gives up a lock, then a statement, before the client's own time-out: then it is
        known whether what was sent is stored.
        """
        timeout_s = statement_timeout_s or self.commit_timeout_s
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                return await self._open(timeout_s)
        except AnotherDatabase:
            raise
        except asyncpg.exceptions.ClientConfigurationError as error:
            raise _misconfigured(f"database.url can't be used: {error}") from None
        except Exception as error:
            # A certificate that fails its check is a ValueError as well, but no fault of the URL.
            if isinstance(error, ValueError | LookupError) and not isinstance(error, OSError):
                raise _misconfigured(_URL_UNREADABLE) from None
            raise while_connecting(error, self.address) from error

    async def _open(self, timeout_s: float) -> CopyConnection:
        connection = await self._dial(timeout_s)
        self._connections.add(connection)
        try:
            await self._look_for_pooler(connection)
            await self._check_durability(connection)
            self.has_citus = await citus.is_there(connection)
            if self.database_id is not None:
                await self.identify(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _dial(self, timeout_s: float) -> CopyConnection:
        """Connect; where the settings are refused as startup parameters, without them.

        PgBouncer refuses those that its ignore_startup_parameters doesn't list. It has the same
        SQLSTATE for nearly all its errors, so only a second try that works tells which it was.
        """
        name = {_NAME: self._url.parameters.get(_NAME, "nonito")}
        if self._refuses_settings:
            return await self._dial_with(timeout_s, name)
        try:
            return await self._dial_with(timeout_s, name | _limits(timeout_s) | KEEPALIVES)
        except asyncpg.ProtocolViolationError:
            connection = await self._dial_with(timeout_s, name)
            self._refuses_settings = True
            return connection

    async def _dial_with(self, timeout_s: float, settings: dict[str, str]) -> CopyConnection:
        return await asyncpg.connect(
            self._url.for_asyncpg,
            ssl=True if self._url.trusts_system else None,
            connection_class=CopyConnection,
            timeout=self._connect_timeout_s,
            command_timeout=timeout_s,
            # Unnamed statements only: through a pooler a named one is another session's the next
            # time. COPY is no prepared statement, and nothing else here is in a hurry.
            statement_cache_size=0,
            server_settings=settings,
        )

    @asynccontextmanager
    async def session(
        self,
        statement_timeout_s: float | None = None,
        turn: Turn | None = None,
        turn_timeout_s: float = _TURN_S,
    ) -> AsyncIterator[Connection]:
        """Open a connection for one piece of work; failures inside are raised as Unavailable.

        Within a turn of the server's: by default that of short work. Raises NoTurn if others have
        it for longer than `turn_timeout_s`.
        """
        turn = turn or self.turns.sessions
        try:
            await turn.take(turn_timeout_s)
        except TimeoutError:
            raise NoTurn from None
        try:
            async with self._session(statement_timeout_s) as connection:
                yield connection
        finally:
            turn.pass_on()

    @asynccontextmanager
    async def _session(self, statement_timeout_s: float | None) -> AsyncIterator[Connection]:
        connection = await self.connect(statement_timeout_s)
        try:
            yield connection
        except (RowRefused, Unavailable, StartupError):
            raise
        except Exception as error:
            failure = while_sending(error)
            if isinstance(failure, RowRefused):
                raise
            raise failure from error
        finally:
            await close(connection, self._connect_timeout_s)

    async def identify(self, connection: Connection) -> UUID | None:
        """Return the id of the database that a connection leads to now, None if it has none.

        Raises AnotherDatabase if it is not the one that is meant.
        """
        found = await identity.read(connection)
        self.require(found)
        return found

    def require(self, found: UUID | None) -> None:
        """Raise AnotherDatabase for the id of a database that is not the one that is meant."""
        if self.database_id not in (None, found):
            raise AnotherDatabase(found, self.database_id)

    async def wait_until_up(self, timeout_s: float) -> None:
        """Wait until a connection can be made; raise StartupError with the last reason."""
        end_s = asyncio.get_running_loop().time() + timeout_s
        warned = False
        while True:
            try:
                async with self.session():
                    return
            except Unavailable as failure:
                if failure.is_lasting:
                    raise StartupError(str(failure)) from None
                if asyncio.get_running_loop().time() >= end_s:
                    raise StartupError(
                        f"Postgres can't be used: {failure}; check database.url and that it runs"
                    ) from failure
                if not warned:
                    log.warning("waiting for Postgres", reason=failure.reason, text=failure.text)
                    warned = True
                await asyncio.sleep(_RETRY_S)

    async def _look_for_pooler(self, connection: Connection) -> None:
        self.is_pooled = await is_pooled(connection)
        self._refuses_settings &= self.is_pooled
        if self.is_pooled and not self._pooler_reported:
            self._pooler_reported = True
            log.warning(
                "connected through a pooler: changes of API keys are seen by polling only",
                more="nonito check",
            )

    async def _check_durability(self, connection: Connection) -> None:
        for setting in await durability_off(connection):
            if setting not in self._durability_warned:
                self._durability_warned.add(setting)
                log.critical(
                    "Postgres is not durable: acknowledged events can be lost in a crash",
                    off=setting,
                    mend=f"ALTER SYSTEM SET {setting} = on; SELECT pg_reload_conf();",
                )


def _limits(timeout_s: float) -> dict[str, str]:
    """Return Postgres's own time-outs, in milliseconds."""
    return {
        "lock_timeout": f"{timeout_s * _LOCK_TIMEOUT_SHARE * 1000:.0f}",
        "statement_timeout": f"{timeout_s * _STATEMENT_TIMEOUT_SHARE * 1000:.0f}",
    }


def _misconfigured(reason: str) -> Unavailable:
    return Unavailable(reason, stored=False, outage=Outage.AWAY, is_lasting=True)


async def is_pooled(connection: Connection) -> bool:
    """Return whether somebody stands between us and Postgres and makes up a session of his own.

    What says so is the process id that a session begins with: a pooler's is not the backend's.
    """
    backend_pid = int(await connection.fetchval("SELECT pg_backend_pid()"))
    return connection.get_server_pid() != backend_pid


async def durability_off(connection: Connection) -> list[str]:
    """Return the settings without which a commit is not durable and that are off."""
    rows = await connection.fetch(
        "SELECT name FROM pg_settings WHERE setting = 'off'"
        " AND name IN ('fsync', 'synchronous_commit', 'full_page_writes') ORDER BY name"
    )
    return [str(row["name"]) for row in rows]


async def close(connection: Connection, timeout_s: float) -> None:
    """Close within `timeout_s`, by force if need be; never raises."""
    try:
        await connection.close(timeout=timeout_s)
    except Exception:  # noqa: BLE001 - whatever a dying connection raises, it is to be gone
        connection.terminate()
