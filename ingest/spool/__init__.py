"""The spool: when Postgres is away, batches wait on the local disk, fsynced before a 202."""

from ingest.spool.batch import BatchRef, SpooledBatch
from ingest.spool.failures import SpoolFailed, SpoolFull
from ingest.spool.spool import Spool

__all__ = ["BatchRef", "Spool", "SpoolFailed", "SpoolFull", "SpooledBatch"]
