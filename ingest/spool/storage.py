"""The storage below the spool: what it asks of the files on the disk, whatever they look like.

A `Storage` names, makes and opens files; a `StorageFile` holds batches until they are removed; a
`StorageReader` shows what is in a file that belongs to somebody else. Who owns a file, when another
is begun and what becomes of a damaged one is decided above; how bytes lie in it, only below. All
that can go wrong is raised as one of the three kinds of `StorageFailure`, and never as the error of
whatever the storage is made of.

Another storage is a package beside `sqlite` that keeps these promises, and a line in `formats`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from uuid import UUID

DAMAGED_SUFFIX: Final = ".damaged"
"""Of a file that is kept for a person to look at. Without it in its name it is read once more."""

DedupKey = bytes
"""By what an event is known when its client sends it again, as `copy_reader.dedup_key` makes it."""
PlacedKey = tuple[DedupKey, int]
"""The key of a row, and at which byte of its batch the row begins."""


class Entry(NamedTuple):
    """A batch without its tuples."""

    id: int
    appended_ms: int
    """Unix time."""
    events: int
    bytes: int


class Place(NamedTuple):
    """Where the row of a key is, or was."""

    batch: int
    at: int
    """At which byte of the batch's tuples it begins."""
    dedup_key: DedupKey


class Recovery(NamedTuple):
    """What had to be done to find everything that is in a file."""

    is_damaged: bool = False
    """Whether something in it is not as it was written."""
    lost_pages: int = 0
    """How many pieces of it can't be had as they were written last, or nobody knows."""


class Status(NamedTuple):
    """How much is in a file."""

    events: int
    """In all batches, quarantined ones too."""
    quarantined: Mapping[int, int]
    """The events of each quarantined batch by its id."""
    missing_events: int = 0
    """Those of batches of which nothing is left."""

    @property
    def waiting_events(self) -> int:
        """How many are in batches that are not quarantined."""
        return max(0, self.events - self.quarantined_events)

    @property
    def quarantined_events(self) -> int:
        """How many are in batches that are."""
        return sum(self.quarantined.values())


class StorageReader(Protocol):
    """One file, read only: beside its owner, whoever that is, or when nobody owns it.

    It changes nothing that the owner would see, and holds nothing of the owner's up. The file is
    opened at the first use, and again at the next one after `close`. Everything may raise a
    StorageFailure unless it says otherwise. For use in one thread.
    """

    @property
    def is_open(self) -> bool:
        """Whether it holds descriptors."""

    @property
    def disk_bytes(self) -> int:
        """What the file, and what stands beside it, takes on the disk. Does not open it."""

    def recover(self) -> Recovery:
        """Find what opening the file would pass over in silence, for it lies behind some damage.

        For its owner all that is found is on the disk then.

        To be called before the first use of a file that a process left which did not end in good
        order. The owner's file is mended for good, and its original kept beside it; a reader's
        changes nothing on the disk and lasts until `close`.
        """

    def status(self) -> Status:
        """Return how much is in the file; all zeros for one that was never completely made."""

    def entries(self, after_id: int, count_max: int) -> list[Entry]:
        """Return the next batches behind an id, in the order of appending, quarantined ones too.

        Their ids grow, and are 1 or more. A damaged figure is returned as 0.
        """

    def read(self, entry: Entry) -> bytes:
        """Return a batch's tuples; raise ValueError if they are not what was appended."""

    def find(self, dedup_keys: Sequence[DedupKey]) -> Iterator[list[Place]]:
        """Yield where the rows of keys are or were, the oldest first, and none between two looks.

        Each look is short. Between two of them the file may be changed or closed by whoever looks.
        A place may lead to a batch that was removed.
        """

    def sync(self) -> None:
        """Have on the disk, durably, all that can be read by now."""

    def close(self) -> None:
        """Let go of all descriptors. Raises nothing."""


class StorageFile(StorageReader, Protocol):
    """One file, for its owner alone.

    What `append` and `remove` did is on the disk when they return, whole, and whoever opens the
    file after a crash finds either all of an operation or nothing of it. An id is never used twice.
    When a method raised, what it was to do may have been done or not; its owner is to call
    `end_writing` then, since a second fsync may "succeed" after the kernel dropped the pages of the
    first.
    """

    @property
    def path(self) -> Path:
        """Where the file is."""

    @property
    def is_in_place(self) -> bool:
        """Whether what was appended last is in files that still have their names.

        If not, it ends with the process: somebody deleted or moved them meanwhile.
        """

    @property
    def is_cut_off(self) -> bool:
        """Whether so little is left of it that to open it would do more harm."""

    @property
    def is_overdue(self) -> bool:
        """Whether it is time for a `checkpoint`."""

    @property
    def has_dedup_keys(self) -> bool:
        """Whether `find` may find anything: known after `append` and `status`."""

    def append(self, blob: bytes, events: int, dedup_keys: Sequence[PlacedKey] = ()) -> Entry:
        """Store a batch's tuples with the keys of its rows; return its entry."""

    def append_bytes_max(self, size: int, dedup_keys: int) -> int:
        """Return what a batch of `size` bytes with so many keys may add to the disk, at most."""

    def remove(self, ids: Collection[int]) -> set[int]:
        """Delete batches, all or none; return the ids of those that were there."""

    def quarantine(self, entry: Entry, reason: str) -> None:
        """Remember beside a damaged batch that it is not to be returned any more."""

    def note_missing(self, events: int) -> None:
        """Remember in the file that so many events were in it and are not any more."""

    def checkpoint(self) -> None:
        """Do what keeps its log from growing, and need not be waited for by an append."""

    def end_writing(self) -> None:
        """Write nothing from now on, not even in closing; go on as a reader. Raises nothing."""

    def delete(self) -> None:
        """Delete the file and what stands beside it, also where only that is left."""

    def keep_as_damaged(self) -> Path | None:
        """Give it a name with DAMAGED_SUFFIX, durably, with all that it needs; return its path.

        None if nothing is there. To be called again where it has failed, be it at the end.
        """


class Storage(Protocol):
    """How the files of a spool are named, made and opened. May be used from any thread."""

    @property
    def empty_bytes(self) -> int:
        """More than a file takes on the disk before anything is appended."""

    def new_name(self, database_id: UUID | None) -> str:
        """Return a name that no file had before; names sort by the time of their making.

        It says which database the events are for, so that a file tells wherever it is copied to.
        """

    def database_of(self, name: str) -> UUID | None:
        """Return which database the events of a file are for, by its name; None for no matter."""

    def file_of(self, name: str) -> str | None:
        """Return which file a name in the directory belongs to, its own or that of its log.

        None if it is no name of this storage's.
        """

    def is_log(self, name: str) -> bool:
        """Whether what has such a name may be written once more, elsewhere, without being asked."""

    def append_bytes_max(self, size: int, dedup_keys: int) -> int:
        """Return what a batch may add to the disk, at most, if it is the first one in its file."""

    def create(self, path: Path) -> StorageFile:
        """Make a file for its owner's eyes only, durably; leave nothing behind if that fails."""

    def open(self, path: Path) -> StorageFile:
        """Return a file for its owner, without a look at the disk. Raises nothing."""

    def reader(self, path: Path) -> StorageReader:
        """Return a file for whoever does not own it, without a look at the disk. Raises nothing."""

    def beside(self, path: Path) -> StorageReader:
        """Return a file for short looks while others use it; without one at the disk, as above.

        It makes nothing on the disk, and takes no lock that others would wait for. What its owner
        does meanwhile may make a look fail, or miss what is there; `read` tells what was torn.
        """
