"""The hub: has what is new read once a second for all who watch, as long as somebody does.

Each app is read once, and each name of it that somebody wants alone, however many watch: by a
connection that is for this alone, so that nobody waits for a page meanwhile. Nothing of it is done
in a process that takes events.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar
from uuid import UUID

import structlog

from ingest.dashboard.live.elsewhere import Elsewhere
from ingest.dashboard.live.feed import Feed, Refusals
from ingest.dashboard.live.reading import Found, Reading
from ingest.dashboard.live.topic import Subject, Topic, subject_of
from ingest.dashboard.live.viewer import Viewer
from ingest.dashboard.problems import Problem
from ingest.share.segment import Segment
from ingest.store import sessions
from ingest.store.failures import Outage, RowRefused, Unavailable
from ingest.store.kept import Kept, Work
from ingest.store.postgres import Connection, Postgres

log = structlog.get_logger(__name__)

VIEWERS_MAX: Final = 150
"""Of the 256 connections that the dashboard has."""
OF_ACCOUNT_MAX: Final = 20
SUBJECTS_MAX: Final = 32
FEEDS_MAX: Final = 64
STATEMENT_S: Final = 2.0
_LOOK_S: Final = 1.0
_IDLE_LOOK_S: Final = 0.5
"""Where nothing came, whatever comes next is shown the sooner."""
_REST_AFTER_S: Final = 10.0
_AWAY: Final = (
    "The database can't be reached. Events are still taken, and kept on disk until it is back; "
    "this page goes on by itself."
)
_NOTHING: Final = Found((), 0)
_SLOW: Final = "The database takes long to answer; some seconds may be missing here."

T = TypeVar("T")


class Hub:
    """Who watches what."""

    def __init__(self, postgres: Postgres, segment: Segment) -> None:
        self._kept = Kept(postgres, STATEMENT_S)
        self.segment = segment
        self._feeds: dict[Topic, Feed] = {}
        self._readings: dict[Subject, Reading] = {}
        self._elsewhere = Elsewhere()
        self._somebody = asyncio.Event()
        self._is_closed = False

    @property
    def viewers(self) -> int:
        """How many there are."""
        return sum(len(feed.viewers) for feed in self._feeds.values())

    def join(self, topic: Topic, account_id: int) -> Viewer:
        """Have an account watch from now on, until `leave`; raise Problem."""
        self.require_room(topic, account_id)
        feed = self._feeds.setdefault(topic, Feed(topic))
        self._readings.setdefault(subject_of(topic), Reading(subject_of(topic)))
        viewer = Viewer(account_id)
        feed.join(viewer)
        self._somebody.set()
        return viewer

    def leave(self, topic: Topic, viewer: Viewer) -> None:
        """Have somebody watch no more; what nobody else watches is read no more."""
        feed = self._feeds.get(topic)
        if feed is None:
            return
        feed.viewers.discard(viewer)
        if not feed.viewers:
            del self._feeds[topic]
        for subject in self._readings.keys() - set(map(subject_of, self._feeds)):
            del self._readings[subject]
        if not self._feeds:
            self._somebody.clear()

    def note_mark(self, mark: int) -> None:
        """Note what somebody has seen who is about to watch; see `latest.mark`."""
        self._elsewhere.begin(mark)

    def refusals(self) -> Refusals:
        """Return what this server has refused lately."""
        return self.segment.refusals()

    async def may_watch(self, topic: Topic, token: str) -> bool:
        """Return whether a session may still see an app; True while that can't be asked."""
        try:
            session = await self._kept.read(lambda connection: sessions.find(connection, token))
        except (Unavailable, RowRefused):
            return True
        if session is None or session.role_in(topic.app.id) is None:
            return False
        return session.account.is_admin == topic.is_admin

    async def run(self) -> None:
        """Look for what is new, for ever, while somebody watches."""
        while True:
            try:
                async with asyncio.timeout(_REST_AFTER_S):
                    await self._somebody.wait()
            except TimeoutError:
                await self._kept.rest()
                await self._somebody.wait()
            try:
                has_news = await self._look()
            except Exception:
                log.exception("a look at what is new failed")
                has_news = True
            await asyncio.sleep(_LOOK_S if has_news else _IDLE_LOOK_S)

    def close(self) -> None:
        """End all streams; browsers come again, if there is somebody to come to."""
        self._is_closed = True
        for feed in self._feeds.values():
            for viewer in feed.viewers:
                viewer.end()

    async def rest(self) -> None:
        """Give the connection back."""
        await self._kept.rest()

    def require_room(self, topic: Topic, account_id: int) -> None:
        """Raise Problem if there is none for one more."""
        counts = Counter(
            viewer.account_id for feed in self._feeds.values() for viewer in feed.viewers
        )
        if self._is_closed:
            raise Problem(503, "The server is being restarted", "Load this page again soon.")
        if counts[account_id] >= OF_ACCOUNT_MAX:
            told = f"You watch in {OF_ACCOUNT_MAX} windows already; close one of them."
            raise Problem(429, "Too many windows watch", told, {"Retry-After": "30"})
        is_new = topic not in self._feeds and len(self._feeds) >= FEEDS_MAX
        subject = subject_of(topic)
        is_new_subject = subject not in self._readings and len(self._readings) >= SUBJECTS_MAX
        if counts.total() >= VIEWERS_MAX or is_new or is_new_subject:
            told = "Others watch as much as this server looks at. Try again in a while."
            raise Problem(429, "Too many watch", told, {"Retry-After": "30"})

    async def _look(self) -> bool:
        """Look once at all that somebody watches, and tell what is new; return whether any is."""
        refusals = self.refusals()
        troubles = dict.fromkeys(self._readings, "")
        found: dict[Subject, Found] = {}
        try:
            elsewhere = await self._look_elsewhere()
            for subject, reading in list(self._readings.items()):
                try:
                    found[subject] = await self._look_at(
                        subject, reading, elsewhere[subject.app_id]
                    )
                except _Slow:
                    troubles[subject] = _SLOW
        except Unavailable as failure:
            log.info("nothing new can be read for who watches", reason=str(failure))
            troubles = dict.fromkeys(self._readings, _AWAY)
        for topic, feed in list(self._feeds.items()):
            subject = subject_of(topic)
            feed.note_trouble(troubles.get(subject, ""))
            feed.tell(found.get(subject, _NOTHING), refusals)
        return any(each.events for each in found.values())

    async def _look_at(
        self, subject: Subject, reading: Reading, elsewhere: Sequence[UUID]
    ) -> Found:
        rows_max = max(
            (feed.rows_max for topic, feed in self._feeds.items() if subject_of(topic) == subject),
            default=0,
        )

        async def work(connection: Connection) -> Found:
            return await reading.look(connection, rows_max, elsewhere)

        return await self._ask(work)

    async def _look_elsewhere(self) -> Mapping[int, Sequence[UUID]]:
        """Return by app the events that came with a time of their own."""
        app_ids = {topic.app.id for topic in self._feeds}
        by_app: dict[int, list[UUID]] = defaultdict(list)

        async def work(connection: Connection) -> list[tuple[int, UUID]]:
            return await self._elsewhere.look(connection, app_ids)

        with suppress(_Slow):
            for app_id, event_id in await self._ask(work):
                by_app[app_id].append(event_id)
        return by_app

    async def _ask(self, work: Work[T]) -> T:
        """Return what comes of work; raise _Slow, or Unavailable where all else would fail too."""
        try:
            return await self._kept.do(work)
        except RowRefused as refusal:
            raise _Slow from refusal
        except Unavailable as failure:
            if failure.outage is not Outage.FAILING:
                raise
            log.info("something new can't be read for who watches", reason=str(failure))
            raise _Slow from failure


class _Slow(Exception):  # noqa: N818 - it is an answer
    """Postgres is there, and did not answer this."""
