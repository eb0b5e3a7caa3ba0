"""Another process of a server, which takes a turn as a test tells it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.share.turns import NUMBER
from tests.support.server import ROOT

__all__ = ["NUMBER", "Other", "running_other", "shared_file"]


@contextmanager
def shared_file() -> Iterator[int]:
    """Yield the descriptor of a file that processes may share."""
    made = os.memfd_create("turns")
    yield made
    os.close(made)


class Other:
    """Another process of the server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def say(self, command: str) -> None:
        """Tell it to do something."""
        assert self.process.stdin is not None
        print(command, file=self.process.stdin, flush=True)

    def hear(self) -> str:
        """Return what it says next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def take(self) -> None:
        """Have it take the turn."""
        self.say("take")
        assert [self.hear(), self.hear()] == ["asking", "taken"]

    def ask(self) -> None:
        """Have it wait for the turn."""
        self.say("take")
        assert self.hear() == "asking"


@contextmanager
def running_other(descriptor: int, places: int = 1) -> Iterator[Other]:
    """Run one; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.share.turns", str(descriptor), str(places)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        pass_fds=(descriptor,),
        text=True,
    )
    with process:
        try:
            yield Other(process)
        finally:
            process.kill()
