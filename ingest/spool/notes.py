"""What the processes of one server tell one another: whether a dedup key may be in their files."""

from typing import Protocol


class KeyNotes(Protocol):
    """One process's note, and what the others have noted. Neither blocks, nor raises anything.

    A note is to be seen by every other process as soon as `note` returns: a retry may come to
    another one right behind the 202 for its first try. It is `True` before a batch with keys is
    appended, and before a dead process's file is adopted; `False` again once no key is left in what
    this process owns, and in what it has seen that nobody owns.

    It outlives its process. Whoever ends with keys in its files, by a kill or in good order, leaves
    the note as it is, and it is to stay so until the next process in the same place has opened its
    spool (`Spool.open` notes last of all): by then each of those files is adopted, and covered by
    its new owner's note, or counted in the note of whoever opened. A place that gets no next
    process may keep its note: that costs searches, and hides nothing. To clear it sooner would hide
    first tries: their retries would be stored once all the same, but be answered as new.
    """

    @property
    def others_have_keys(self) -> bool:
        """Whether a key may be in a file of another process, living or dead.

        Asked for each batch with keys, in the event loop: it costs no look at the disk.
        """

    def note(self, has_keys: bool) -> None:  # noqa: FBT001 - what is noted
        """Say whether a key may be in this process's files; called in the spool's thread."""


class NoOthers:
    """The notes of a process that has the spool to itself."""

    others_have_keys = False

    def note(self, has_keys: bool) -> None:  # noqa: FBT001 - as above
        """Tell nobody."""
