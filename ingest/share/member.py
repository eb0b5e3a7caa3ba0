"""A member: one process of a server, as it takes part in what all of them share."""

from ingest.share.segment import Segment


class Member:
    """A process's segment, and the slot in it that the supervisor took for the process."""

    def __init__(self, segment: Segment, index: int) -> None:
        """Be the process of a slot from now on."""
        self.segment = segment
        self.slot = segment.slots[index]
        self.slot.enter()
        self.worker = self.slot.worker
        self.key_notes = KeyNotes(self)
        self.keys_generation = KeysGeneration(self)
        self.crowd = Crowd(self)

    @classmethod
    def alone(cls) -> "Member":
        """Return one that shares with nobody, in a segment of its own."""
        segment = Segment.create(workers=1)
        return cls(segment, segment.take_slot(0))


class KeyNotes:
    """What the spools of a server tell one another: whether a dedup key may be in their files.

    Of a process that has ended the note stays until another one has looked for what it left.
    """

    def __init__(self, member: Member) -> None:
        self._member = member

    @property
    def others_have_keys(self) -> bool:
        """Whether a key may be in a file of another process, living or dead."""
        return self._member.segment.has_spooled_keys(besides=self._member.slot.index)

    def note(self, has_keys: bool) -> None:  # noqa: FBT001 - what is noted
        """Say whether a key may be in this process's files."""
        self._member.slot.has_spooled_keys = has_keys

    @property
    def ended_with_keys(self) -> int:
        """How many processes have ended so far whose note was that."""
        return self._member.segment.ended_with_keys

    def forget_ended(self, count: int) -> None:
        """Forget the notes of the first so many of them."""
        self._member.segment.forget_ended_with_keys(count)


class KeysGeneration:
    """A number by which one process tells the others that the API keys have changed."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def read(self) -> int:
        """Return it; it only ever grows."""
        return self._member.segment.keys_generation

    def advance(self) -> None:
        """Make it another one than it ever was."""
        self._member.slot.raise_keys_generation()


class Crowd:
    """The connections of clients to all processes of a server; each notes its own now and then."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.processes = member.segment.workers
        """How many processes take connections, if all are well."""

    def note(self, own: int) -> int:
        """Take note of how many this process has; return how many there are in all."""
        self._member.slot.connections = own
        return self._member.segment.connections
