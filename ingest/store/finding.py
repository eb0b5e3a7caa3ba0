"""One thing that `nonito check` has looked at, for people."""

from typing import NamedTuple


class Finding(NamedTuple):
    """What was found of it."""

    is_good: bool
    text: str
