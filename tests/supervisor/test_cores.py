"""How many workers there are by themselves."""

import os

from ingest.supervisor import cores


def test_there_is_a_worker_for_each_core_that_may_be_used() -> None:
    """Of this machine, whether or not its control group has a quota."""
    assert 1 <= cores.count() <= (os.cpu_count() or 1)
