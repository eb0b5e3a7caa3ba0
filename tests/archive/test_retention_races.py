"""Events come, are archived and go, and archives are begun anew, all at once: each counts once."""

import asyncio
import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from ingest.archive import founding
from ingest.archive.failures import ArchiveTrouble, NotReady
from ingest.store import retention
from ingest.store.failures import Unavailable
from tests.archive.archiving import (
    archive,
    ask,
    make_archiver,
    seen,
    verify,
    workspace_of,
)
from tests.store import retained

pytestmark = pytest.mark.slow

VIEWS = 25
WEEK = 7
ALL = 0
PARTITIONED = (40, 41, 42)
OTHERS = (20, 6, 0)
_AGAIN = (
    "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
    " VALUES (1, $1, 'test', '{}', now()) ON CONFLICT DO NOTHING"
)


class Stored:
    """What was stored, by who stores it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._random = random.Random(1)
        self._numbers = iter(range(10, 1_000_000))
        self.begun: set[str] = set()
        self.ids: set[str] = set()

    def store(self) -> None:
        """Store an event of some time, or one that was stored before."""
        if self.ids and self._random.random() < 0.2:
            ask(self._url, _AGAIN, UUID(self._random.choice(sorted(self.ids))))
            return
        age = self._random.choice(PARTITIONED + OTHERS)
        event_id = retained.id_of(retained.days_ago(age), next(self._numbers))
        self.begun.add(str(event_id))
        ask(self._url, _AGAIN, event_id)
        self.ids.add(str(event_id))


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test waits for no pause."""
    monkeypatch.setattr(retention, "_REST_S", 0.0)
    monkeypatch.setattr(retention, "_TRY_PAUSE_S", 0.02)


def test_each_event_counts_once_whatever_goes_on(url: str, path: Path) -> None:
    """In each view, and in the end, when Postgres has dropped what is old."""
    names = [asyncio.run(retained.make_partition(url, age)) for age in PARTITIONED]
    stored, is_over = Stored(url), threading.Event()
    failures: list[BaseException] = []

    def begin() -> None:
        is_over.wait(1.5)
        with closing(workspace_of(url, path)) as workspace:
            founding.begin(workspace, path)

    def expire() -> None:
        asyncio.run(retained.one_round(url, WEEK, ALL, has_archive=True))

    archiver = make_archiver(url, path)
    archiver.round()
    threads = [
        threading.Thread(target=repeat, args=(work, is_over, failures))
        for work in (stored.store, archiver.round, begin, expire)
    ]
    for each in threads:
        each.start()
    try:
        for _ in range(VIEWS):
            before = set(stored.ids)
            counts = Counter(seen_patiently(url, path))
            assert max(counts.values(), default=1) == 1
            assert before <= counts.keys() <= stored.begun
    finally:
        is_over.set()
        for each in threads:
            each.join()
    assert failures == []
    archive(url, path)
    expire()
    archive(url, path)
    assert sorted(seen(url, path)) == sorted(stored.ids)
    assert verify(url, path).is_good
    ((count,),) = ask(url, "SELECT count(*) FROM events WHERE id < uuid_at(now() - interval '8 d')")
    assert count == 0
    for name in names:
        assert ask(url, "SELECT to_regclass($1) IS NULL", name) == [(True,)]


def test_nothing_is_lost_however_often_the_archive_lets_go_and_takes_back(
    url: str, path: Path
) -> None:
    """Postgres keeps all: in the end the archive has all again, and no view has anything twice."""
    stored, is_over = Stored(url), threading.Event()
    failures: list[BaseException] = []
    days = itertools.cycle((WEEK, ALL))

    def change() -> None:
        asyncio.run(retained.one_round(url, ALL, next(days), has_archive=True))
        is_over.wait(0.2)

    archiver = make_archiver(url, path)
    archiver.round()
    threads = [
        threading.Thread(target=repeat, args=(work, is_over, failures))
        for work in (stored.store, archiver.round, change)
    ]
    for each in threads:
        each.start()
    try:
        for _ in range(VIEWS):
            counts = Counter(seen_patiently(url, path))
            assert max(counts.values(), default=1) == 1
            assert counts.keys() <= stored.begun
    finally:
        is_over.set()
        for each in threads:
            each.join()
    assert failures == []
    asyncio.run(retained.one_round(url, ALL, ALL, has_archive=True))
    archive(url, path)
    assert sorted(seen(url, path)) == sorted(stored.ids)
    assert verify(url, path).is_good


def repeat(
    work: Callable[[], object], is_over: threading.Event, failures: list[BaseException]
) -> None:
    """Repeat work until the race is over; what is put off is no failure."""
    while not is_over.is_set():
        try:
            work()
        except (ArchiveTrouble, Unavailable):
            is_over.wait(0.05)
        except BaseException as error:  # noqa: BLE001 - of whatever kind
            failures.append(error)
            return


def seen_patiently(url: str, path: Path) -> list[str]:
    """Return what a question sees, when it can be asked: not while an archive is begun."""
    while True:
        try:
            return [str(each) for each in seen(url, path)]
        except NotReady:
            continue
