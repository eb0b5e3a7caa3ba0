"""A generation: a number by which one process of a server tells the others of news."""

from typing import Protocol


class Generation(Protocol):
    """One number that all of them see, and one at a time raises."""

    def read(self) -> int:
        """Return it."""

    def advance(self) -> None:
        """Make it another one than it ever was."""


class OwnGeneration:
    """That of a process that is alone."""

    def __init__(self) -> None:
        self._value = 0

    def read(self) -> int:
        """Return it."""
        return self._value

    def advance(self) -> None:
        """Make it the next one."""
        self._value += 1
