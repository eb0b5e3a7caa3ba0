"""What a configuration that was read anew may change while the server runs, and what it may not."""

from typing import Final

import msgspec
import structlog

from ingest.config import Config

log = structlog.get_logger(__name__)

FIXED: Final = (
    "server.host",
    "server.port",
    "server.listen",
    "server.unix_mode",
    "server.unix_owner",
    "server.workers",
    "database.url",
    "database.data_dir",
    "spool.path",
    "archive.enabled",
    "dashboard.enabled",
    "dashboard.host",
    "dashboard.port",
    "metrics.host",
    "metrics.port",
)
"""Settings that take a restart: sockets are bound once, and a spool is one database's."""


def apply(now: Config, read: Config) -> Config:
    """Return what was read, but with what takes a restart as it is now; that is said."""
    for key in FIXED:
        section, name = key.split(".")
        before, wanted = getattr(now, section), getattr(read, section)
        if getattr(before, name) == getattr(wanted, name):
            continue
        log.warning("a setting changes with the next restart only", setting=key)
        kept = msgspec.structs.replace(wanted, **{name: getattr(before, name)})
        read = msgspec.structs.replace(read, **{section: kept})
    return read
