"""What pages work with."""

from typing import NamedTuple

from ingest.dashboard.backoff import Backoff
from ingest.dashboard.passwords import Passwords
from ingest.store.kept import Kept


class Services(NamedTuple):
    """Of one process."""

    kept: Kept
    """Postgres."""
    passwords: Passwords
    backoff: Backoff
