"""What a process says of the requests that it has refused lately: some of each app's.

For people who ask why an event does not arrive. No key and nothing of another app is in them.
"""

from typing import Final

import msgspec

NOBODYS: Final = 0
"""Instead of an app's number: its request had no key, or none that is valid."""


class Refused(msgspec.Struct, array_like=True, frozen=True):
    """One refusal, as its sender was told."""

    number: int
    """From 1, among those of its app and process."""
    at_us: int
    """When, in Unix microseconds."""
    code: str
    message: str


class RefusedOf(msgspec.Struct, array_like=True, frozen=True):
    """Those of one app."""

    app_id: int
    count: int
    """How many there were while the process has kept some of this app."""
    latest: tuple[Refused, ...]
    """Some of them; the last one last."""
