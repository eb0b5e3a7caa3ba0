"""The duty of every insights process: to erase whoever is to be erased, and was left.

Whatever is in the way puts it off; it is tried again, here or by another server.
"""

import asyncio
import math
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import partial
from typing import Final

import structlog

from ingest.archive.failures import ArchiveTrouble
from ingest.config import Config
from ingest.errors import StartupError
from ingest.privacy.eraser import Eraser, Unfinished
from ingest.privacy.search import Search
from ingest.store import erasing, erasures
from ingest.store.erasing import Occupied, Whose
from ingest.store.erasures import Erasure
from ingest.store.failures import Unavailable
from ingest.store.kept import Kept
from ingest.store.postgres import Postgres

log = structlog.get_logger(__name__)

_LOOK_S: Final = 10.0
_LATE_S: Final = 600.0
"""So often what was refused is looked through for what came late."""
_LOOK_TIMEOUT_S: Final = 5.0
_TIMEOUT_S: Final = 60.0


class Duty:
    """Looks now and then whether somebody is to be erased, and does it."""

    def __init__(self, postgres: Postgres, url: str, config: Config, asked: asyncio.Event) -> None:
        """`asked` is set when it is to look at once."""
        self._postgres = postgres
        self._url = url
        self._config = config
        self._asked = asked
        self._looked_s = -math.inf

    async def run(self) -> None:
        """Erase for ever."""
        while True:
            self._asked.clear()
            try:
                while await self._erase_next():
                    pass
                await self._look_late()
            except (Unavailable, Occupied):
                pass  # the workers say so
            except Exception:
                log.exception("the erasing of people failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._asked.wait()

    async def _erase_next(self) -> bool:
        """Erase the next one; return whether there may be more to do."""
        async with self._postgres.session(_LOOK_TIMEOUT_S) as connection:
            if not await erasures.are_left(connection):
                return False
        kept = Kept(self._postgres, _TIMEOUT_S)
        eraser = Eraser(kept, self._url, self._config, self._config.archive.threads)
        try:
            taken = await eraser.take()
            return taken is not None and await self._erase(eraser, taken)
        finally:
            await kept.rest()

    async def _erase(self, eraser: Eraser, taken: Erasure) -> bool:
        try:
            done, _ = await eraser.erase(taken, lambda *_: None)
        except (Unfinished, ArchiveTrouble, StartupError) as trouble:
            log.warning("the erasing of a person is put off", erasure=taken.id, reason=str(trouble))
            return False
        log.info("a person was erased", erasure=done.id, events=done.events, files=done.files)
        return True

    async def _look_late(self) -> None:
        """Drop events that were refused late, of people who are erased."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._looked_s + _LATE_S:
            return
        self._looked_s = now_s
        kept = Kept(self._postgres, _TIMEOUT_S)
        try:
            for erasure, user_field in await kept.read(erasures.of_late):
                whose = Whose(
                    erasure.app_id, user_field, _Hashed(erasure.digests), erasure.asked_at
                )
                async for each in Search(kept, self._config).rejected(whose):
                    await kept.do(
                        partial(erasing.erase_rejected, erasure=erasure.id, whose=whose, ids=[each])
                    )
        finally:
            await kept.rest()


class _Hashed(Collection[str]):
    """Ids of which only the SHA-256 are known."""

    def __init__(self, digests: Collection[bytes]) -> None:
        self._digests = frozenset(digests)

    def __contains__(self, person: object) -> bool:
        return isinstance(person, str) and erasures.digest(person) in self._digests

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return len(self._digests)
