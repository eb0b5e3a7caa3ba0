"""Which rows of `events` are in the archive, by what Postgres knows of it."""

from typing import Final, NamedTuple

from ingest.store.postgres import Connection

SYSTEM: Final = (
    "(SELECT system_identifier FROM pg_control_system())::text || '/' ||"
    " (SELECT oid FROM pg_database WHERE datname = current_database())::text"
)
"""Which database of which Postgres. A copy of one beside it has a number of its own."""
# pg_control_checkpoint() knows a new timeline only after the next checkpoint.
TIMELINE: Final = "('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int"

_FRESH_S: Final = 900.0
_READ: Final = (
    "SELECT mark, null_before::text, null_done,"  # noqa: S608 - constants of ours
    f" system_identifier = {SYSTEM} AND timeline = {TIMELINE},"
    " extract(epoch FROM now() - changed_at)::float8 FROM archive_state"
)


class Waits(Exception):  # noqa: N818 - an outcome, handled
    """Something of Postgres can't go yet; the message says why."""


class InUse(Waits):
    """Somebody uses the table just now."""


class ArchiveMark(NamedTuple):
    """Up to where the archive holds what is in Postgres."""

    mark: int
    null_before: str | None
    null_done: bool
    is_of_here: bool
    """Whether that was said of this Postgres, on the time line that it is on."""
    age_s: float
    """Since somebody has."""

    def require_fresh(self, interval_s: float) -> None:
        """Raise Waits if it is not known that the archive is whole: nobody looked at it of late."""
        if not self.is_of_here or self.age_s > _FRESH_S + 2 * interval_s:
            raise Waits(
                "events wait that only the archive is to keep, and nobody archives: nonito archive"
                " status; whoever has given it up says archive.retain_days = -1"
            )

    @property
    def lacks(self) -> str:
        """Return the SQL that is true of a row that is not in it."""
        if not self.is_of_here:
            return "true"
        if self.null_done:
            return f"xact >= {self.mark}"
        from_here = f" AND id >= '{self.null_before}'" if self.null_before else ""
        return f"(xact >= {self.mark} OR xact IS NULL{from_here})"

    @property
    def holds(self) -> str:
        """Return the SQL that is true of a row that is in it."""
        return f"({self.lacks}) IS NOT TRUE"


async def read(connection: Connection) -> ArchiveMark:
    """Return it as it is now; raise PostgresError."""
    row = await connection.fetchrow(_READ)
    if row is None:
        return ArchiveMark(0, None, False, False, 0.0)
    mark, null_before, null_done, is_of_here, age_s = row
    return ArchiveMark(mark, null_before, null_done, bool(is_of_here), age_s)
