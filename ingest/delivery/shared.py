"""What everybody shares who writes to Postgres."""

from typing import NamedTuple

from ingest.delivery.fallback import Fallback
from ingest.delivery.quarantine import Quarantine
from ingest.observe.metrics import Metrics
from ingest.store.health import Health


class Shared(NamedTuple):
    """Whom to ask and to tell."""

    health: Health
    quarantine: Quarantine
    fallback: Fallback
    metrics: Metrics
