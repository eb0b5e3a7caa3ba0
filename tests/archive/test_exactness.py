"""Exactness while events come in: whatever commits late, rolls back, or holds on."""

import asyncio
import random
import threading
from collections import Counter
from pathlib import Path
from typing import Self
from uuid import UUID

import asyncpg
import pytest

from ingest.archive.archiver import Archiver
from ingest.archive.failures import Occupied, Overtaken
from tests.archive.archiving import assert_exact, insert, make_archiver, new_id, seen

pytestmark = pytest.mark.slow

WRITERS = 4
WRITE_S = 3.0
ROLLED_BACK = 0.2
HOLD_S_MAX = 0.3


class Writers:
    """Transactions of several connections, of random length, some of them rolled back."""

    def __init__(self, url: str, seed: int) -> None:
        self._url = url
        self._random = random.Random(seed)
        self.begun: set[str] = set()
        """Events that may be there: of transactions that were begun and not rolled back."""
        self.committed: set[str] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._write_all()))

    def __enter__(self) -> Self:
        """Begin to write."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until all have ended."""
        self._thread.join()

    @property
    def is_writing(self) -> bool:
        """Whether more may come."""
        return self._thread.is_alive()

    async def _write_all(self) -> None:
        await asyncio.gather(*(self._write() for _ in range(WRITERS)))

    async def _write(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=30)
        end_s = asyncio.get_running_loop().time() + WRITE_S
        while asyncio.get_running_loop().time() < end_s:
            ids = [new_id() for _ in range(self._random.randint(1, 20))]
            await self._commit_or_not(connection, ids)
        await connection.close()

    async def _commit_or_not(
        self, connection: "asyncpg.Connection[asyncpg.Record]", ids: list[UUID]
    ) -> None:
        transaction = connection.transaction()
        await transaction.start()
        await insert(connection, ids)
        await asyncio.sleep(self._random.uniform(0, HOLD_S_MAX) ** 2)
        if self._random.random() < ROLLED_BACK:
            await transaction.rollback()
            return
        self.begun.update(map(str, ids))
        await transaction.commit()
        self.committed.update(map(str, ids))


@pytest.mark.parametrize("seed", [1, 2])
def test_no_question_misses_an_event_or_counts_it_twice(seed: int, url: str, path: Path) -> None:
    """While ten threads' worth of transactions commit in any order, and two archive."""
    make_archiver(url, path).round()
    archivers = [make_archiver(url, path), make_archiver(url, path)]
    questions = 0
    with Writers(url, seed) as writers:
        archiving = [
            threading.Thread(target=_archive_while, args=(each, writers)) for each in archivers
        ]
        for each in archiving:
            each.start()
        while writers.is_writing:
            before = set(writers.committed)
            found = Counter(seen(url, path))
            assert max(found.values(), default=1) == 1
            assert before <= found.keys() <= writers.begun
            questions += 1
        for each in archiving:
            each.join()
    assert questions > 1
    assert sum(each.figures.rows for each in archivers) > 0
    assert set(seen(url, path)) == writers.committed
    make_archiver(url, path).round()
    assert_exact(url, path)


def _archive_while(archiver: Archiver, writers: Writers) -> None:
    while writers.is_writing:
        try:
            archiver.round()
        except (Occupied, Overtaken):
            continue
