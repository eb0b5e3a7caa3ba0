"""How seeded bugs change the server in its own process."""

import re
import uuid
from typing import Any, Final

from ingest.delivery.outcome import Outcome
from ingest.events.fields import FIELDS

_ROW_START: Final = re.compile(
    rb"(\0\x%02x\0\0\0\x04....\0\0\0\x10)(.{6}[\x70-\x7f].)([\x80-\xbf].{7})" % len(FIELDS),
    re.DOTALL,
)
"""A row's beginning: the field count, app_id, the id's length, and a UUIDv7 in two halves."""


class Nobody:
    """A waiter for whom nobody waits."""

    def settle(self, outcome: Outcome, row: bytes = b"") -> None:
        """Hear nothing."""


def replace(owner: Any, name: str, value: object) -> None:  # noqa: ANN401 - a class or a module
    """Put something else in the place of a method or a function that is there."""
    if not hasattr(owner, name):
        raise AttributeError(f"{owner} has no {name}: the bug has to follow the server")
    setattr(owner, name, value)


def with_new_ids(data: bytes) -> bytes:
    """Give every row of a COPY document another id of the same millisecond."""
    return _ROW_START.sub(lambda found: found[1] + found[2] + _other_half(), data)


def _other_half() -> bytes:
    return uuid.uuid4().bytes[8:]
