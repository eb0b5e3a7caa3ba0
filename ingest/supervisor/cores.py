"""How many workers a server has, by the cores that it may use."""

from ingest import cores
from ingest.config import Config


def workers(config: Config) -> int:
    """Return how many a server has: by themselves one a core, beside its own Postgres one."""
    wanted = config.server.workers
    if wanted == "auto":
        wanted = 0 if config.database.url else 1
    return wanted or cores.count()
