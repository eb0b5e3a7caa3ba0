"""A reading: the latest events of one app, or of one name of it, each seen once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from ingest.dashboard.live.topic import Subject
from ingest.store import latest
from ingest.store.latest import Row, Scan, Span
from ingest.store.postgres import Connection

SHOWN_MAX: Final = 20
"""So many events of a second are shown."""
FILTERED_MAX: Final = 500
"""So many of a second a filter looks through."""
_BEFORE: Final = timedelta(seconds=10)
"""So long ago an event may have been received that is committed now, or by a server's clock."""
_AHEAD: Final = timedelta(seconds=5)
"""And so far ahead a clock may be; what clients say to be of the future lies elsewhere."""
_LATE: Final = timedelta(seconds=0.5)
"""So long a commit takes, as a rule."""
_SCANNED_MAX: Final = 500
_NAMED_SCANNED_MAX: Final = 5_000
_COUNTED_MAX: Final = 5_000
_SETTLED: Final = timedelta(seconds=1)
"""So long ago the second has to have ended whose events are counted."""
_SEEN_MAX: Final = 6_000


class Found(NamedTuple):
    """What one look has found."""

    rows: Sequence[Row]
    """The latest of what is new."""
    events: int
    """How many are new; in a second, where not all were looked at."""
    is_about: bool = False
    is_partial: bool = False
    """Whether not all were looked at."""


def span() -> Span:
    """Return in which times lies what has just come."""
    now = datetime.now(UTC)
    return Span(now - _BEFORE, now + _AHEAD)


class Reading:
    """One of them, and what was seen of it so far."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._seen: dict[UUID, None] = {}
        self._looked_at: datetime | None = None

    async def look(self, connection: Connection, rows_max: int, elsewhere: Sequence[UUID]) -> Found:
        """Return what is new; `elsewhere` are ids of the app's events that lie at other times."""
        now = datetime.now(UTC)
        scan, is_partial = await self._scan(connection, now)
        ids = dict.fromkeys((*elsewhere, *scan.ids))
        fresh = [each for each in ids if each not in self._seen]
        wanted = fresh[:rows_max]
        rows = await self._read(connection, wanted)
        # At the first look what there is has come in several seconds.
        others = 0 if self._looked_at is None else len(fresh) - len(wanted)
        found = Found(rows, len(rows) + others)
        if is_partial:
            found = await self._counted(connection, now, found)
        self._note(fresh, now)
        return found

    async def _scan(self, connection: Connection, now: datetime) -> tuple[Scan, bool]:
        """Return what lies at the end, and whether more may have come than is looked at."""
        subject = self._subject
        scanned_max = _SCANNED_MAX if subject.name is None else _NAMED_SCANNED_MAX
        found = await latest.scan(
            connection,
            subject.app_id,
            subject.name,
            Span(now - _BEFORE, now + _AHEAD),
            scanned_max=scanned_max,
            ids_max=_SCANNED_MAX,
        )
        is_full = len(found.ids) == _SCANNED_MAX or found.looked_at == scanned_max
        oldest = found.ids[-1] if len(found.ids) == _SCANNED_MAX else found.oldest
        if not is_full or oldest is None or self._looked_at is None:
            return found, False
        return found, latest.time_of(oldest) > self._looked_at - _LATE

    async def _read(self, connection: Connection, ids: Sequence[UUID]) -> list[Row]:
        if not ids:
            return []
        subject = self._subject
        rows = await latest.read(connection, subject.app_id, subject.user_field, ids)
        return [each for each in rows if subject.name in (None, each.name)]

    async def _counted(self, connection: Connection, now: datetime, found: Found) -> Found:
        """Return what was found with how many events there were in the last second."""
        subject = self._subject
        rate = await latest.rate(
            connection, subject.app_id, subject.name, now - _SETTLED, _COUNTED_MAX
        )
        events = max(rate.named, len(found.rows))
        return Found(found.rows, events, rate.is_about, is_partial=True)

    def _note(self, fresh: Sequence[UUID], now: datetime) -> None:
        self._seen.update(dict.fromkeys(fresh))
        while len(self._seen) > _SEEN_MAX:
            del self._seen[next(iter(self._seen))]
        self._looked_at = now
