"""What the processes of one server tell one another: whether a dedup key may be in their files."""

from typing import Protocol


class KeyNotes(Protocol):
    """One process's note, and what the others have noted. Neither blocks, nor raises anything.

    A note is to be seen by every other process as soon as `note` returns: a retry may come to
    another one right behind the 202 for its first try. It is `True` before a batch with keys is
    appended, and before a dead process's file is adopted; `False` again once no key is left in what
    this process owns, and in what it has seen that nobody owns.

    It outlives its process. Whoever ends with keys in its files, by a kill or in good order, leaves
    the note as it is, and it counts until another process has looked at the directory: one that
    asked for `ended_with_keys`, looked, noted what it has since then, and says `forget_ended`. By
    then each file that was left is covered by the note of whoever adopted it, or counted by whoever
    looked. Were a note forgotten sooner, retries would be stored once all the same, but be answered
    as new.
    """

    @property
    def others_have_keys(self) -> bool:
        """Whether a key may be in a file of another process, living or dead.

        Asked for each batch with keys, in the event loop: it costs no look at the disk.
        """

    def note(self, has_keys: bool) -> None:  # noqa: FBT001 - what is noted
        """Say whether a key may be in this process's files; called in the spool's thread."""

    @property
    def ended_with_keys(self) -> int:
        """How many processes have ended so far whose note was True; called there, too."""

    def forget_ended(self, count: int) -> None:
        """Forget the notes of the first so many of them; called there, too."""


class NoOthers:
    """The notes of a process that has the spool to itself."""

    others_have_keys = False

    def note(self, has_keys: bool) -> None:  # noqa: FBT001 - as above
        """Tell nobody."""

    ended_with_keys = 0

    def forget_ended(self, count: int) -> None:
        """There are none."""
