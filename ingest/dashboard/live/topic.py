"""What somebody watches: an app's events, or those of a name and of a filter."""

from typing import NamedTuple

from ingest.insights.questions import Filter
from ingest.share.refusals import NOBODYS
from ingest.store.app_settings import AppSettings


class Topic(NamedTuple):
    """As many watch the same as have the same of these."""

    app: AppSettings
    name: str | None
    """None: of any name."""
    where: Filter | None
    is_admin: bool
    """Whether refusals are shown that are no app's."""

    @property
    def refused(self) -> frozenset[int]:
        """Whose refusals are shown."""
        return frozenset((self.app.id, NOBODYS) if self.is_admin else (self.app.id,))


class Subject(NamedTuple):
    """What is read once for all who watch it, whatever their filters."""

    app_id: int
    user_field: str
    name: str | None


def subject_of(topic: Topic) -> Subject:
    """Return what has to be read for a watch."""
    return Subject(topic.app.id, topic.app.user_field, topic.name)
