"""What pages work with."""

from typing import TYPE_CHECKING, NamedTuple

from ingest.api.export import Export
from ingest.api.people import People
from ingest.config import Config
from ingest.dashboard.backoff import Backoff
from ingest.dashboard.ingest_address import IngestAddress
from ingest.dashboard.passwords import Passwords
from ingest.dashboard.seen import Seen
from ingest.dashboard.watch import Watch
from ingest.share.segment import Segment
from ingest.store.kept import Kept

if TYPE_CHECKING:
    from ingest.dashboard.live.hub import Hub
    from ingest.dashboard.questions import Questions


class Services(NamedTuple):
    """Of one process."""

    kept: Kept
    """Postgres."""
    passwords: Passwords
    backoff: Backoff
    questions: "Questions"
    export: Export
    people: People
    segment: Segment
    """What all processes of the server say of themselves."""
    watch: Watch
    seen: Seen
    config: Config
    live: "Hub"
    ingest_address: IngestAddress
