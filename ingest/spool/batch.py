"""A batch as the spool hands it out, and the reference by which it is known."""

from typing import NamedTuple


class BatchRef(NamedTuple):
    """Which batch of a spool directory is meant; never another one's, as long as files live."""

    file: str
    """The name of its file."""
    id: int
    """Its number in the file."""


class SpooledBatch(NamedTuple):
    """One batch as it was appended."""

    ref: BatchRef
    rows: list[bytes]
    appended_ms: int
    """Unix time."""
