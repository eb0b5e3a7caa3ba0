"""What waits in this server's spool of somebody: told apart as the dashboard tells people apart.

Read without a lock, beside whoever drains it. Of another server's spool nothing is known here: what
that brings later is seen by the archiver (`archive/late.py`).
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ingest.config import Config
from ingest.events.fields import Stored
from ingest.spool import report
from ingest.store.erasing import Whose, is_theirs


class Unread(NamedTuple):
    """What could not be looked at."""

    events: int
    files: tuple[str, ...]


class Spooled:
    """Their events, once, when it is iterated over; what is unread is known then."""

    def __init__(self, config: Config, whose: Whose) -> None:
        self._export = report.export(Path(config.spool.path))
        self._whose = whose

    def __iter__(self) -> Iterator[Stored]:
        whose = self._whose
        for event in self._export:
            is_before = datetime.fromisoformat(event["created_at"]) < whose.before
            is_of_app = event["app_id"] == whose.app_id
            if is_of_app and is_before and is_theirs(whose, event["event_params"]):
                yield event

    @property
    def unread(self) -> Unread:
        """Events that are damaged, and files of which nobody knows how many they hold."""
        export = self._export
        return Unread(export.damaged_events, tuple(export.unreadable_files))


def count(config: Config, whose: Whose) -> tuple[int, Unread]:
    """Return how many there are; raise StartupError where the directory can't be read. Blocks."""
    found = Spooled(config, whose)
    return sum(1 for _ in found), found.unread
