"""The API keys known last, in a file: so that a restart without Postgres knows its clients.

It holds what the database holds, digests of the secrets and no secret, and which database that is.
Written anew and renamed whenever the keys change; a file that can't be read counts as none.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
import structlog

from ingest.metering.rate_limits import RateLimits
from ingest.store.apps import App
from ingest.store.key_limits import KeyLimits

log = structlog.get_logger(__name__)

NAME: Final = "keys.json"
_UNLIMITED: Final = RateLimits()


class KnownKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """One valid key."""

    secret_sha256: bytes
    app: App
    expires_s: float | None = None
    """Unix time."""
    limits: KeyLimits | None = None
    """None for none; the versions before knew of none."""
    # Of what follows they know nothing either, and read keys as if it was not there.
    key_id: int = 0
    """Its number; 0 where nobody needs to know."""
    rate_limits: RateLimits = _UNLIMITED
    app_rate_limits: RateLimits = _UNLIMITED
    """Those of all keys of its app together."""
    timezone: str = "UTC"
    """In which its app's days begin, where that matters."""


class KnownKeys(NamedTuple):
    """All valid keys of a database."""

    database_id: UUID | None
    """None if nobody knows: the versions before did not keep it."""
    keys: list[KnownKey]


class _Content(msgspec.Struct, frozen=True):
    """What the file holds."""

    database_id: UUID | None
    keys: list[KnownKey]


class _KeyBefore(msgspec.Struct, frozen=True):
    """One valid key as the version before the last kept it; both kept a bare list."""

    secret_sha256: bytes
    app_id: int
    expires_s: float | None = None


class ApiKeySnapshot:
    """One file. Blocks: to be called from a thread of its own."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME

    @property
    def is_there(self) -> bool:
        """Whether there is a file."""
        return self._path.exists()

    def keep(self, known: KnownKeys) -> None:
        """Put these keys there, durably; failing is logged, as Postgres has them too."""
        new = self._path.with_suffix(f".{os.getpid()}.new")  # other processes write it, too
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(
                os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
            ) as file:
                file.write(msgspec.json.encode(_Content(*known)))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            log.warning("the API keys can't be kept for a restart", reason=error.strerror)

    def read(self) -> KnownKeys | None:
        """Return the keys known last; None when there is no file that can be read."""
        try:
            return _decode(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            log.warning(
                "the API keys kept for a restart can't be read", reason=type(error).__name__
            )
            return None


def _decode(content: bytes) -> KnownKeys:
    try:
        found = msgspec.json.decode(content, type=_Content | list[KnownKey])
    except msgspec.ValidationError:
        before = msgspec.json.decode(content, type=list[_KeyBefore])
        found = [KnownKey(key.secret_sha256, App(key.app_id), key.expires_s) for key in before]
    if isinstance(found, list):
        return KnownKeys(None, found)
    return KnownKeys(found.database_id, found.keys)
