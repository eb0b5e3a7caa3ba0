"""How many workers there are by themselves."""

import os
from pathlib import Path

from ingest import config, cores
from ingest.supervisor.cores import workers


def test_there_is_a_worker_for_each_core_that_may_be_used() -> None:
    """Of this machine, whether or not its control group has a quota."""
    assert 1 <= cores.count() <= (os.cpu_count() or 1)
    settings = config.load(Path("/dev/null"), {}, {"server.workers": 0})
    assert workers(settings) == cores.count()
