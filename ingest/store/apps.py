"""Apps: whose events they are, and what holds for all events of one."""

from typing import NamedTuple


class App(NamedTuple):
    """One app, as its valid keys name it."""

    id: int
    name: str
