"""The API keys in memory: a snapshot per process that follows the database.

They may be looked up once and remembered: whoever does so is told to forget them when they were
read anew, and once a minute, so that a key in use is seen to be in use.

One process of a server listens. A notification makes it read them anew at once; so does the loss of
the connection that listens. A slow poll covers a notification that got lost on the way. It tells
the server's other processes by a number that all of them see, and they read as well.

While Postgres is away the last snapshot goes on working, also after a restart if it is kept in a
file.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

import msgspec
import structlog

from ingest.metering.meter import Allowance, Subject
from ingest.metering.meters import Held, Meters
from ingest.share.generation import Generation, OwnGeneration
from ingest.share.member import Member
from ingest.store import api_keys, apps, kept_limits, key_limits, tokens
from ingest.store.api_key_snapshot import ApiKeySnapshot, KnownKey, KnownKeys
from ingest.store.apps import App
from ingest.store.failures import Unavailable
from ingest.store.identity import AnotherDatabase
from ingest.store.key_limits import KeyLimits
from ingest.store.postgres import Connection, Postgres, close
from ingest.store.reasons import reason_of

log = structlog.get_logger(__name__)

_CHANNEL = "nonito_keys"
_TIMEOUT_S = 2.0
_EXPIRY_WAIT_MIN_S = 0.05  # should our clock be ahead of the database's
_BACKOFF_MIN_S = 0.05
_BACKOFF_MAX_S = 1.0
_LOOK_S = 0.2
_UNTOLD_S = 60.0
"""So old the keys of a process that does not listen become, though it is told nothing."""


# Limits by the row as JSON: it simply has none while the migration that brings them waits for a
# lock. Events are taken meanwhile.
_READ: Final = (
    f"SELECT secret_sha256, {apps.SELECTED},"  # noqa: S608 - names of ours
    " extract(epoch FROM expires_at)::float8 AS expires_s,"
    " to_jsonb(api_keys) ->> 'origins' AS origins,"
    " to_jsonb(api_keys) ->> 'event_names' AS event_names,"
    f" {kept_limits.SELECTED}"
    f" FROM api_keys JOIN apps ON apps.id = app_id {kept_limits.FROM}"
    f" WHERE {api_keys.IS_VALID} ORDER BY api_keys.id"
)
_decode_texts = msgspec.json.Decoder(list[str]).decode


class Grant(NamedTuple):
    """What a valid key opens."""

    app: App
    limits: KeyLimits | None
    """None for none."""
    allowance: Allowance | None = None
    """Decides how much may be sent; None for as much as comes."""


class Keyring:
    """Which key belongs to which app."""

    def __init__(
        self,
        postgres: Postgres,
        *,
        poll_interval_s: float,
        snapshot: ApiKeySnapshot | None = None,
        generation: Generation | None = None,
        meters: Meters | None = None,
    ) -> None:
        self._postgres = postgres
        self._generation = generation or OwnGeneration()
        self._meters = meters or Meters(Member.alone())
        self._seen = -1
        """The generation that the keys are at least of."""
        self._read_s = -math.inf
        self._snapshot = snapshot
        self._poll_interval_s = poll_interval_s
        self._known: KnownKeys | None = None
        self._keeping: asyncio.Future[None] | None = None
        self._grants: dict[bytes, Grant] = {}
        self._used: set[bytes] = set()
        """Those of them that were looked up lately."""
        self._expiries_s: dict[bytes, float] = {}
        self._changed = asyncio.Event()
        self._forgetters: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._grants)

    def plain_grant_of(self, secret: str) -> Grant | None:
        """Return what a key opens to any page for any event; None for any other key."""
        grant = self.grant_of(secret)
        return grant if grant is not None and grant.limits is None else None

    def grant_of(self, secret: str) -> Grant | None:
        """Return what a key opens; None for a key that is not valid."""
        key = tokens.digest(secret)
        # By our own clock as well: a key expires also while Postgres is away.
        if self._expiries_s.get(key, math.inf) <= time.time():
            return None
        grant = self._grants.get(key)
        if grant is not None:
            self._used.add(key)
        return grant

    def take_used(self) -> set[bytes]:
        """Return the digests of keys that were looked up since this was asked last.

        Whoever remembers keys has to look them up again.
        """
        used, self._used = self._used, set()
        self._have_forgotten()
        return used

    @property
    def apps(self) -> dict[int, str]:
        """The names of all apps that have a valid key, by their numbers."""
        return {grant.app.id: grant.app.name for grant in self._grants.values()}

    @property
    def has_expiring(self) -> bool:
        """Whether some key that is valid now will expire."""
        return bool(self._expiries_s)

    def on_change(self, forget: Callable[[], None]) -> None:
        """Have `forget` called whenever keys are to be looked up anew."""
        self._forgetters.append(forget)

    async def load(self) -> None:
        """Read the keys once, such as before serving; raise Unavailable."""
        generation = self._generation.read()
        async with self._postgres.session(_TIMEOUT_S) as connection:
            await self._read(connection)
        self._seen = generation

    async def recall(self) -> bool:
        """Take the keys that a file kept, for a start without Postgres; return whether it did.

        They go on working until Postgres says otherwise. They also say which database is meant, if
        nobody has said so yet; the keys of another one are not taken.
        """
        known = await _kept(self._snapshot) if self._snapshot else None
        if known is None:
            return False
        if known.database_id is not None:
            try:
                self._postgres.require(known.database_id)
            except AnotherDatabase:
                log.warning("the API keys kept for a restart are another database's")
                return False
            self._postgres.database_id = known.database_id
        self._known = known
        await self._take(known.keys)
        return True

    async def follow(self) -> None:
        """Read the keys whenever the process that listens says so, for ever."""
        backoff_s = _LOOK_S
        while True:
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            if not self._is_outdated:
                continue
            try:
                await self.load()
            except Exception as error:  # noqa: BLE001 - asyncpg has many, InternalClientError too
                log.warning("API keys could not be read", reason=reason_of(error))
                backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)
            else:
                backoff_s = _LOOK_S

    @property
    def _is_outdated(self) -> bool:
        is_old = asyncio.get_running_loop().time() - self._read_s > _UNTOLD_S
        return is_old or self._generation.read() != self._seen

    async def run(self) -> None:
        """Listen to the database for ever, through any number of lost connections.

        To be done by one process of a server; the others `follow`.
        """
        backoff_s = _BACKOFF_MIN_S
        while True:
            try:
                connection = await self._postgres.connect(_TIMEOUT_S)
            except Unavailable:
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)
                continue
            started_s = asyncio.get_running_loop().time()
            try:
                await self._follow(connection)
            except Exception as error:  # noqa: BLE001 - asyncpg has many, InternalClientError too
                log.warning("listening for API keys was interrupted", reason=reason_of(error))
            finally:
                await close(connection, _TIMEOUT_S)
            if (
                asyncio.get_running_loop().time() - started_s > _BACKOFF_MAX_S
            ):  # it worked for a while
                backoff_s = _BACKOFF_MIN_S
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)

    async def _follow(self, connection: Connection) -> None:
        connection.add_termination_listener(lambda _: self._changed.set())
        if not self._postgres.is_pooled:  # through a pooler it would be the next client's session
            await connection.add_listener(_CHANNEL, lambda *_: self._changed.set())
        told = None  # at first in any case: whoever listened before may have told nobody
        while True:
            # Cleared before reading: a change while it is read is not missed.
            self._changed.clear()
            await self._read(connection)
            if told != self._known:
                told = self._known
                self._generation.advance()
            self._seen = self._generation.read()
            # No `wait_for`: it swallows a cancellation that comes with the event it waits for.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s()):
                    await self._changed.wait()

    def _wait_s(self) -> float:
        until_expiry_s = min(self._expiries_s.values(), default=math.inf) - time.time()
        return min(self._poll_interval_s, max(_EXPIRY_WAIT_MIN_S, until_expiry_s))

    async def _read(self, connection: Connection) -> None:
        keys = [
            KnownKey(
                bytes(row["secret_sha256"]),
                apps.read(row),
                row["expires_s"],
                key_limits.kept(_texts(row["origins"]), _texts(row["event_names"])),
                *kept_limits.read(row),
            )
            for row in await connection.fetch(_READ)
        ]
        # Asked for behind them: if the database was exchanged before they were read, it tells.
        known = KnownKeys(await self._postgres.identify(connection), keys)
        self._read_s = asyncio.get_running_loop().time()
        is_news = known != self._known
        self._known = known
        await self._take(keys)
        if is_news:
            log.info("API keys loaded", keys=len(keys))
        await self._keep(known, is_news=is_news)

    async def _keep(self, known: KnownKeys, *, is_news: bool) -> None:
        """Have them in the file, also after somebody deleted it; a disk that hangs stops nobody."""
        if self._snapshot is None or (self._keeping is not None and not self._keeping.done()):
            return
        work = partial(_keep, self._snapshot, known, is_news=is_news)
        self._keeping = asyncio.get_running_loop().run_in_executor(None, work)
        await asyncio.wait((self._keeping,), timeout=_TIMEOUT_S)

    async def _take(self, keys: list[KnownKey]) -> None:
        held = _held(keys)
        await self._meters.learn(held)
        self._meters.hold(held)
        self._grants = {
            key.secret_sha256: Grant(key.app, key.limits, self._meters.of(key.app.id, key.key_id))
            for key in keys
        }
        self._expiries_s = {
            key.secret_sha256: key.expires_s for key in keys if key.expires_s is not None
        }
        self._have_forgotten()

    def _have_forgotten(self) -> None:
        for forget in self._forgetters:
            forget()


def _held(keys: list[KnownKey]) -> dict[Subject, Held]:
    """Return what apps and keys are held to."""
    apps_held = {
        Subject(key.app.id): Held(key.app_rate_limits, key.timezone)
        for key in keys
        if key.app_rate_limits
    }
    keys_held = {
        Subject(key.app.id, key.key_id): Held(key.rate_limits, key.timezone)
        for key in keys
        if key.rate_limits
    }
    return apps_held | keys_held


def _texts(found: str | None) -> list[str]:
    return _decode_texts(found) if found else []


async def _kept(snapshot: ApiKeySnapshot) -> KnownKeys | None:
    """Return what a file kept, or None; a disk that hangs is not waited for."""
    reading = asyncio.get_running_loop().run_in_executor(None, snapshot.read)
    done, _ = await asyncio.wait((reading,), timeout=_TIMEOUT_S)
    if not done:
        log.warning("the API keys kept for a restart can't be read: the disk hangs")
        return None
    return reading.result()


def _keep(snapshot: ApiKeySnapshot, known: KnownKeys, *, is_news: bool) -> None:
    if is_news or not snapshot.is_there:
        snapshot.keep(known)
