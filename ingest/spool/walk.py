"""A walk along the batches of a file, past those that can't be read."""

from collections.abc import Callable, Iterator
from typing import Final

from ingest.spool.failures import StorageDamaged
from ingest.spool.storage import Entry, StorageReader

_PAGE_ENTRIES: Final = 32
_SKIPS_MAX: Final = 1_000
"""How many ids are tried behind one that can't be read; a page holds some dozens of batches."""


def walk(
    reader: StorageReader, after_id: int, note: Callable[[StorageDamaged], None]
) -> Iterator[Entry]:
    """Yield the batches behind an id in the order of appending; `note` is told what is skipped.

    It ends where the file can't even be opened. May raise what `FAILURES` lists but for damage.
    """
    count, skips = _PAGE_ENTRIES, 0
    while skips < _SKIPS_MAX:
        try:
            page = reader.entries(after_id, count)
        except StorageDamaged as damage:
            note(damage)
            if not reader.is_open:
                return
            if count == 1:
                after_id, skips = after_id + 1, skips + 1
            count = 1
            continue
        if not page:
            return
        after_id = page[-1].id
        yield from page
