"""The spool: when Postgres is away, batches wait on the local disk, fsynced before a 202."""

from ingest.pipeline.spool.batches import Parcel
from ingest.pipeline.spool.failures import SpoolFailed, SpoolFull
from ingest.pipeline.spool.spool import Spool

__all__ = ["Parcel", "Spool", "SpoolFailed", "SpoolFull"]
