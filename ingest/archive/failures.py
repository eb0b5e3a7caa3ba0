"""What can go wrong between Postgres, the archive's files and DuckDB, by type."""


class ArchiveTrouble(Exception):  # noqa: N818 - a state of the world, handled
    """The archive can't be worked on, or asked, for now; the message says why."""


class PostgresTrouble(ArchiveTrouble):
    """Postgres is away, or did not do what was asked."""

    def __init__(self, reason: str, sqlstate: str = "") -> None:
        super().__init__(reason)
        self.sqlstate = sqlstate
        """What Postgres called it; empty if it said nothing."""


class DiskTrouble(ArchiveTrouble):
    """A file of the archive, or one for what does not fit in memory, can't be written or read."""


class OutOfMemory(ArchiveTrouble):
    """The work needs more memory than it may take."""


class TimedOut(ArchiveTrouble):
    """It took longer than it may."""


class Occupied(ArchiveTrouble):
    """Another process archives at the moment."""


class Overtaken(ArchiveTrouble):
    """Another process has changed the archive meanwhile: nothing of this one's work counts."""


class NotHere(ArchiveTrouble):
    """The archive is in a directory that this process does not have, or there is none yet."""


class NotReady(ArchiveTrouble):
    """The archive is so far behind Postgres that a question can't be answered; it is worked on."""


class Moved(ArchiveTrouble):
    """The database was restored, or is another Postgres by now: the mark says nothing any more."""


class Damaged(ArchiveTrouble):
    """Files of the archive are missing, or are not what was written."""


class NotInstalled(ArchiveTrouble):
    """DuckDB or its way to Postgres is not there; the message says what to install."""
