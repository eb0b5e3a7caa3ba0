"""The Postgres that runs in a data directory."""

from pathlib import Path

import psutil


def postmaster(data_dir: Path) -> psutil.Process | None:
    """Return the Postgres that runs in a data directory, if one does."""
    try:
        pid = int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
        return psutil.Process(pid)
    except (OSError, psutil.NoSuchProcess):
        return None
