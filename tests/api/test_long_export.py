"""Exports of many events that are not archived yet: what they take, and that each is there once."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Final

import psutil
import pytest
import requests

from ingest.api.readers import Lookup
from ingest.archive.failures import DiskTrouble
from ingest.archive.scope import Scope
from ingest.archive.view import View, Views
from ingest.config import Archive, Config
from ingest.dashboard.ingest_address import IngestAddress
from ingest.dashboard.live.hub import Hub
from ingest.dashboard.server import Server
from ingest.share.segment import Segment
from ingest.store.app_settings import AppSettings
from ingest.store.kept import Kept
from tests.api.asked import TIMEOUT_S, asked_server
from tests.archive.archiving import MEMORY_MAX, archive, ask
from tests.support.postgres import fetch, make_postgres

pytestmark = pytest.mark.slow

MIB: Final = 1 << 20
LF: Final = ord("\n")
FILL: Final = (
    "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
    " SELECT apps.id, gen_random_uuid(), CASE WHEN n % 100 = 0 THEN 'rare' ELSE 'usual' END,"
    " jsonb_build_object('n', n, 'text', repeat('x', $2)), now()"
    " FROM apps, generate_series(1, $1) AS n WHERE name = 'one'"
)
"""So many events of so many bytes: all of one time, so that their ids alone have an order."""


class Opened:
    """Opens views as an insights process does, and counts what they read of Postgres."""

    def __init__(self, url: str, path: Path) -> None:
        self._views = Views(url, path, memory_max=MEMORY_MAX, threads=1)
        self.count = 0
        self.tail_rows = 0
        self.before: Callable[[int], None] = lambda _: None
        """What to do before the view of a number, from 1, is opened."""

    @contextmanager
    def __call__(self, app_id: int, scope: Scope) -> Iterator[View]:
        """Open one."""
        self.count += 1
        self.before(self.count)
        with self._views.view(app_id, scope) as view:
            self.tail_rows += view.tail_rows
            yield view

    def rest(self) -> None:
        """Give back what it has."""
        self._views.rest()


@contextmanager
def answering(opened: Opened, path: Path) -> Iterator[Callable[[str], list[str]]]:
    """Answer questions in a thread of this process; yield what asks for the ids of an export."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as bound, closing(loop):
        thread = Thread(target=loop.run_until_complete, args=(serve(opened, path, bound, stop),))
        thread.start()
        try:
            yield lambda query: exported(f"http://127.0.0.1:{bound.getsockname()[1]}", query)
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            opened.rest()


async def serve(opened: Opened, path: Path, bound: socket.socket, stop: asyncio.Event) -> None:
    """Answer until told to stop; every key is one of the app's."""

    async def find(_: str) -> AppSettings:
        return AppSettings(1, "one", "user_id", "UTC")

    postgres = make_postgres("postgresql://nobody.invalid/")
    live = Hub(postgres, Segment.create(1))
    config = Config(archive=Archive(path=str(path)))

    async def find_eraser(_: bytes) -> None:
        return None

    lookup = Lookup(find, find_eraser)
    server = Server(opened, lookup, Kept(postgres), live, IngestAddress("", None), config)
    await server.listen(bound)
    await stop.wait()
    await server.close()


class Cut(Exception):  # noqa: N818 - what a client sees of it
    """An export had no end."""

    def __init__(self, ids: list[str]) -> None:
        super().__init__()
        self.ids = ids
        """Of the events that came whole."""


def exported(url: str, query: str) -> list[str]:
    """Return the ids of an export that has come whole; raise Cut."""
    key, came = {"X-API-Key": "nr_any"}, bytearray()
    answer = requests.get(f"{url}/v1/export?{query}", headers=key, timeout=TIMEOUT_S, stream=True)
    assert answer.status_code == 200, answer.text
    try:
        for piece in answer.iter_content(MIB):
            came += piece
    except requests.exceptions.ChunkedEncodingError:
        raise Cut(ids_of(came)) from None
    assert came.endswith(b"\n")
    return ids_of(came)


def ids_of(lines: bytearray) -> list[str]:
    """Return the ids of the events that have come whole."""
    return [json.loads(line)["id"] for line in lines.splitlines(keepends=True) if line[-1] == LF]


def stored(url: str, condition: str = "true") -> list[str]:
    """Return the ids of the events in Postgres, in the order of an export."""
    sql = f"SELECT id::text FROM events WHERE {condition} ORDER BY created_at, id"
    return [row[0] for row in ask(url, sql)]


@pytest.fixture
def url(database_url: str, tmp_path: Path) -> str:
    """A database with an app and an archive, which has no events yet."""
    ask(database_url, "INSERT INTO apps (name) VALUES ('one')")
    archive(database_url, tmp_path)
    return database_url


def test_pages_read_no_event_of_the_tail_again_and_again(url: str, tmp_path: Path) -> None:
    """Each is read about once, however many pages there are."""
    count = 20_000
    ask(url, FILL, count, 3_000)
    opened = Opened(url, tmp_path)
    with answering(opened, tmp_path) as export:
        assert export("") == stored(url)
        assert opened.count > 5
        assert opened.tail_rows < 1.5 * count
        opened.tail_rows = 0
        rare = stored(url, "event_name = 'rare'")
        assert export("event=rare") == rare
        assert opened.tail_rows < 1.5 * count
        opened.tail_rows = 0
        assert export(f"event=rare&after={rare[-2]}") == rare[-1:]
        assert opened.tail_rows < count / 10


def test_each_event_is_exported_once_while_the_archive_grows(url: str, tmp_path: Path) -> None:
    """Whether it is archived before, between two pages, or not at all."""
    ask(url, FILL, 5_000, 3_000)
    archive(url, tmp_path)
    ask(url, FILL, 15_000, 3_000)
    opened, before = Opened(url, tmp_path), stored(url)

    def archive_more(number: int) -> None:
        ask(url, FILL, 10, 10)
        if number in (4, 6):
            archive(url, tmp_path)

    opened.before = archive_more
    with answering(opened, tmp_path) as export:
        found = export("")
    assert opened.count > 6
    assert found[: len(before)] == before
    assert found == stored(url)[: len(found)]


def test_export_that_failed_has_no_end_and_goes_on_behind_what_came(
    url: str, tmp_path: Path
) -> None:
    """Each event is there once in what came and what came then."""
    ask(url, FILL, 15_000, 3_000)
    opened = Opened(url, tmp_path)

    def fail(number: int) -> None:
        if number == 6:
            raise DiskTrouble("it is gone")

    opened.before = fail
    with answering(opened, tmp_path) as export:
        with pytest.raises(Cut) as cut:
            export("")
        assert cut.value.ids
        assert cut.value.ids + export(f"after={cut.value.ids[-1]}") == stored(url)


def test_process_takes_no_more_memory_for_more_events(database_url: str, tmp_path: Path) -> None:
    """The real one, of a tail whose texts have more bytes than it may take; nothing is left."""
    settings = {"archive__interval_s": 3600, "dashboard__question_memory_max": 1024 * MIB}
    with asked_server(database_url, tmp_path, **settings) as asked:
        (process,) = asked.server.insights()
        assert asked.get("/v1/export").text == ""
        resting = most_memory(process, since=process.memory_info().rss)
        asyncio.run(fetch(database_url, FILL, 120_000, 2_000))
        with asked.open("/v1/export") as response:
            assert response.status_code == 200, response.text
            size = sum(len(piece) for piece in response.iter_content(MIB))
        assert size > 240 * MIB
        assert most_memory(process) - resting < 200 * MIB
        assert [each for each in (tmp_path / "temporary").iterdir() if each.is_file()] == []


def most_memory(process: psutil.Process, since: int | None = None) -> int:
    """Return the most bytes of memory that a process has had; begin anew with `since`."""
    place = Path(f"/proc/{process.pid}")
    if since is not None:
        (place / "clear_refs").write_text("5")
        return since
    (line,) = [
        each for each in (place / "status").read_text().splitlines() if each.startswith("VmHWM")
    ]
    return int(line.split()[1]) * 1024
