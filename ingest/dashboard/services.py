"""What pages work with."""

from typing import TYPE_CHECKING, NamedTuple

from ingest.api.export import Export
from ingest.dashboard.backoff import Backoff
from ingest.dashboard.passwords import Passwords
from ingest.share.segment import Segment
from ingest.store.kept import Kept

if TYPE_CHECKING:
    from ingest.dashboard.questions import Questions


class Services(NamedTuple):
    """Of one process."""

    kept: Kept
    """Postgres."""
    passwords: Passwords
    backoff: Backoff
    questions: "Questions"
    export: Export
    segment: Segment
    """What all processes of the server say of themselves."""
