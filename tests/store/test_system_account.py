"""The system account of a Postgres that root starts: one, however many ask for it at once."""

import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

_MAKE = """
import sys
from ingest.store import system_account
system_account._NAME = sys.argv[1]
sys.stdin.readline()
print(system_account.make().uid)
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes accounts")


def test_first_servers_that_start_at_once_get_the_same_account() -> None:
    """Each goes by the number that it got; a second one under the name would replace it."""
    name = f"nonito-{uuid.uuid4().hex[:8]}"
    command = (sys.executable, "-c", _MAKE, name)
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    try:
        with ThreadPoolExecutor(len(children)) as threads:
            told = [
                each[0] for each in threads.map(lambda child: child.communicate("\n"), children)
            ]
    finally:
        subprocess.run(["userdel", name], check=False, timeout=30)
    assert len(set(told)) == 1
    assert told[0].strip().isdigit()
