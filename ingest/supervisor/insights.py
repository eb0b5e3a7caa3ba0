"""Whether this server has an insights process: what it needs is an extra, and may be missing."""

from importlib.util import find_spec

import structlog

from ingest.config import Config
from ingest.insights_extra import INSTALL, PACKAGES

log = structlog.get_logger(__name__)


def is_installed() -> bool:
    """Return whether the extra is there; nothing of it is imported."""
    return all(find_spec(name) for name in PACKAGES)


def is_wanted(config: Config) -> bool:
    """Return whether a server of this configuration has one; say what is missing if that is why."""
    if not (config.archive.enabled or config.dashboard.enabled):
        return False
    if is_installed():
        return True
    log.info("no archive is kept and no questions are answered", mend=INSTALL)
    return False
