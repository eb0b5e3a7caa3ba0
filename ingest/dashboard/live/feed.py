"""A feed: what all see who watch the same, with the same filter."""

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from ingest.dashboard.live import messages, shown
from ingest.dashboard.live.reading import FILTERED_MAX, SHOWN_MAX, Found
from ingest.dashboard.live.shown import ShownEvent, ShownRefusal
from ingest.dashboard.live.topic import Topic
from ingest.dashboard.live.viewer import Viewer
from ingest.insights.matching import Event, matcher
from ingest.share.refusals import RefusedOf
from ingest.store.latest import Row

_RECENT: Final = timedelta(seconds=60)
"""A refusal that is older is no news to who comes to watch."""

Refusals = Sequence[tuple[int, RefusedOf]]
"""As the segment has them: with the slot of the process that refused."""


class Feed:
    """Sends what is new to its viewers: at most SHOWN_MAX events a second, and says of how many."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.viewers: set[Viewer] = set()
        self._matches = matcher(topic.where)
        self._recent: deque[ShownEvent] = deque(maxlen=SHOWN_MAX)
        """What was sent last; for who comes to watch."""
        self._refused: dict[str, ShownRefusal] = {}
        self._counts: dict[tuple[int, int], int] = {}
        self._note = ""
        self._trouble = ""

    @property
    def rows_max(self) -> int:
        """How many rows of a second it makes use of."""
        return SHOWN_MAX if self.topic.where is None else FILTERED_MAX

    def join(self, viewer: Viewer) -> None:
        """Have somebody watch, who is told at once what there was lately."""
        self.viewers.add(viewer)
        viewer.tell(self._message(list(self._recent), list(self._refused.values())))
        if self._trouble:
            viewer.tell_state(messages.trouble(self._trouble))

    def tell(self, found: Found, refusals: Refusals) -> None:
        """Tell all of what was found, if there is news."""
        now = datetime.now(UTC)
        chosen = [row for row in found.rows[: self.rows_max] if self._is_meant(row)]
        app = self.topic.app
        events = [
            shown.event(row, app.id, app.timezone, now) for row in reversed(chosen[:SHOWN_MAX])
        ]
        refused, more = self._news(refusals, now)
        before, self._note = self._note, self._note_of(found, len(chosen))
        self._recent.extend(events)
        if events or refused or more or self._note != before:
            total = found.events if self.topic.where is None else len(chosen)
            self._send(self._message(events, refused, more, max(0, total - len(events))))

    def note_trouble(self, text: str) -> None:
        """Tell all why nothing comes, once; an empty text says that it is over."""
        if text != self._trouble:
            self._trouble = text
            for viewer in self.viewers:
                viewer.tell_state(messages.trouble(text) if text else messages.FINE)

    def _send(self, message: bytes) -> None:
        for viewer in self.viewers:
            viewer.tell(message)

    def _message(
        self,
        events: Sequence[ShownEvent],
        refused: Sequence[ShownRefusal],
        more_refused: int = 0,
        more: int = 0,
    ) -> bytes:
        """Return what is shown of a second, and how much of it is not."""
        values = {
            "events": [each._asdict() for each in events],
            "refused": [each._asdict() for each in refused],
            "more": more,
            "more_refused": more_refused,
            "note": self._note,
        }
        return messages.encode("news", values)

    def _is_meant(self, row: Row) -> bool:
        if self.topic.where is None:
            return True
        if row.params is None:
            return False
        return self._matches(Event(row.name, row.person, shown.parsed(row.params)))

    def _note_of(self, found: Found, matching: int) -> str:
        """Return what is said of what is not shown; nothing if all is."""
        about = "about " if found.is_about else ""
        of_all = f"{about}{found.events:,} a second"
        if self.topic.where is None:
            return f"Showing {SHOWN_MAX} of {of_all}" if found.events > SHOWN_MAX else ""
        looked = min(len(found.rows), self.rows_max)
        parts = []
        if matching > SHOWN_MAX:
            parts.append(f"Showing {SHOWN_MAX} of {matching:,} that match")
        if found.is_partial or looked < found.events:
            parts.append(f"looked through {looked:,} of {of_all}")
        if long := sum(row.params is None for row in found.rows[:looked]):
            parts.append(f"{long:,} too long to be looked into")
        return "; ".join(parts)

    def _news(self, refusals: Refusals, now: datetime) -> tuple[list[ShownRefusal], int]:
        """Return the refusals that were not told yet, and how many more there were."""
        mine = [each for each in refusals if each[1].app_id in self.topic.refused]
        recent = {each.id: each for each in recent_refusals(mine, self.topic, now)}
        news = [each for each in recent.values() if each.id not in self._refused]
        more = sum(
            max(0, of.count - self._counts.get((slot, of.app_id), of.count)) for slot, of in mine
        )
        self._counts = {(slot, of.app_id): of.count for slot, of in mine}
        self._refused = recent
        return news, max(0, more - len(news))


def recent_refusals(
    refusals: Iterable[tuple[int, RefusedOf]],
    topic: Topic,
    now: datetime,
    age_max: timedelta = _RECENT,
) -> list[ShownRefusal]:
    """Return what was refused lately of what somebody may see, the last one last."""
    since_us = (now - age_max).timestamp() * 1_000_000
    found = [
        (each.at_us, shown.refusal(slot, of_app.app_id, each, topic.app.timezone, now))
        for slot, of_app in refusals
        if of_app.app_id in topic.refused
        for each in of_app.latest
        if each.at_us > since_us
    ]
    return [each for _, each in sorted(found)]
