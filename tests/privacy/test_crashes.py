"""An erasure that is killed at any step: nobody else loses anything, and it is brought to its end.

And others who archive, send and erase at the same time.
"""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from ingest.archive.failures import ArchiveTrouble
from ingest.privacy.eraser import Unfinished
from tests.archive.archiving import archive, ask, assert_exact, make_archiver, store, verify
from tests.privacy.erasing import erase, everywhere, run_duty
from tests.support.postgres import fetch
from tests.support.server import ROOT

pytestmark = pytest.mark.slow

EVE = "eve-7f3a"
TIMEOUT_S = 60.0
STEPS = {
    "it is taken": "erasures.take",
    "a file has its name": "directory.Unfinished_finish",
    "a file is written anew": "archive_erasing.rewrite",
    "the rows are deleted, not committed": "archive_erasing.delete",
    "files are exchanged, not committed": "state.note_erased",
    "a file is exchanged": "archive_erasing.replace",
    "the tail is deleted": "erasing.erase_tail",
    "a rejected event is deleted": "erasing.erase_rejected",
    "the links are deleted": "erasing.erase_links",
    "the old files are deleted": "archive_erasing.sweep",
    "all was searched": "Search.all",
    "it is done": "erasures.finish",
}
DYING = """
import os, signal, sys
from inspect import iscoroutinefunction
from pathlib import Path
from ingest.archive import directory, erasing as archive_erasing, state
from ingest.privacy import eraser
from ingest.privacy.search import Search
from ingest.store import erasing, erasures

eraser._MORE_S = -0.2
PLACES = {"directory": directory.Unfinished, "archive_erasing": archive_erasing, "state": state,
    "erasing": erasing, "erasures": erasures, "Search": Search}
url, path, step = sys.argv[1:]
place, _, name = step.partition(".")
name = name.removeprefix("Unfinished_")
owner = PLACES[place]
work = getattr(owner, name)

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def dying(*arguments, **named):
    die(work(*arguments, **named))

async def dying_later(*arguments, **named):
    die(await work(*arguments, **named))

setattr(owner, name, dying_later if iscoroutinefunction(work) else dying)
from tests.privacy.erasing import erase
erase(url, Path(path), "eve-7f3a")
"""


def die_at(step: str, url: str, path: Path) -> None:
    """Erase in a process that is killed behind a step."""
    ended = subprocess.run(
        [sys.executable, "-c", DYING, url, str(path), step],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == -9, ended.stderr


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_erasure_that_is_killed_is_brought_to_its_end(step: str, url: str, path: Path) -> None:
    """By an insights process; the archive holds right behind the crash, and each event counts."""
    archiver = make_archiver(url, path)
    for n in range(3):
        store(url, [{"user_id": EVE, "n": n}, {"user_id": "ada", "n": n}])
        archiver.round()
    store(url, [{"$user_id": EVE, "$anonymous_id": "anon-19c"}])
    archiver.round()
    store(url, [{"user_id": EVE}, {"user_id": "ada"}])
    ask(
        url,
        "INSERT INTO rejected_events (app_id, id, event_name, event_params, created_at, sqlstate,"
        " message) VALUES (1, gen_random_uuid(), 'r', $1, now(), '', '')",
        f'{{"user_id": "{EVE}"}}',
    )
    die_at(step, url, path)
    assert_exact(url, path)
    store(url, [{"user_id": "ada", "n": "behind"}])
    archive(url, path)
    assert_exact(url, path)
    deserted = timedelta(minutes=1)
    asyncio.run(fetch(url, "UPDATE erasures SET worked_at = now() - $1::interval", deserted))
    run_duty(url, path, "SELECT FROM erasures WHERE done_at IS NULL")
    assert_exact(url, path)
    assert ask(url, "SELECT events, rejected, links, ids FROM erasures") == [(5, 1, 1, None)]
    assert ask(url, "SELECT count(*) FROM events") == [(5,)]
    left = everywhere(url, path)
    assert EVE not in left
    assert "anon-19c" not in left
    assert "ada" in left


def erase_on(url: str, path: Path, person: str) -> None:
    """Erase somebody, when nobody else is erased."""
    while True:
        try:
            erase(url, path, person, is_quiet=False)
        except Unfinished:  # another one is at one, or has gone on with it
            time.sleep(0.1)
        else:
            return


class Others:
    """Threads, and what went wrong in them."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, work: Callable[[], object], *, is_endless: bool = False) -> threading.Thread:
        """Call work in a thread, again and again if it is endless."""
        thread = threading.Thread(target=self._do, args=(work, is_endless))
        thread.start()
        self._threads.append(thread)
        return thread

    def _do(self, work: Callable[[], object], is_endless: bool) -> None:  # noqa: FBT001 - as above
        try:
            work()
            while is_endless and not self._stop.is_set():
                work()
        except BaseException as error:  # noqa: BLE001 - told by whoever waits
            self.failures.append(error)

    def end(self) -> None:
        """Wait until all have ended."""
        self._stop.set()
        for each in self._threads:
            each.join()


def test_others_archive_send_and_erase_meanwhile(url: str, path: Path) -> None:
    """At any moment archive and tail are what the table is; what is sent behind is kept."""
    store(url, [{"user_id": f"p{n % 7}"} for n in range(700)])
    archive(url, path)
    archiver, others = make_archiver(url, path), Others()

    def send() -> None:
        store(url, [{"user_id": f"p{n}"} for n in range(7)])
        time.sleep(0.02)

    def check() -> None:
        found = verify(url, path)
        assert found.is_good, found

    def archive_on() -> None:
        with suppress(ArchiveTrouble):  # it was overtaken
            archiver.round()

    for work in (send, check, archive_on):
        others.begin(work, is_endless=True)
    erasers = [others.begin(partial(erase_on, url, path, each)) for each in ("p1", "p2", "p1")]
    for each in erasers:
        each.join()
    others.end()
    assert not others.failures
    assert_exact(url, path)
    assert ask(url, _OF_BEFORE) == []
    assert ask(url, "SELECT count(*) FROM erasures WHERE done_at IS NULL") == [(0,)]
    assert {row[0] for row in ask(url, "SELECT event_params ->> 'user_id' FROM events")} >= {"p1"}


_OF_BEFORE = """
SELECT event_params, created_at, asked_at FROM events
JOIN (SELECT unnest(digests) AS digest, asked_at FROM erasures) AS asked
ON digest = sha256((event_params ->> 'user_id')::bytea) AND created_at < asked_at
"""
