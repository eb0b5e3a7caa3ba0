"""What people see of an app, and what questions about its events go by."""

from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ingest.store.postgres import Connection

COLUMNS: Final = (
    "apps.id, apps.name, apps.user_field, apps.timezone, apps.colour, apps.retain_days,"
    " apps.archive_retain_days"
)
"""Of `apps`, in the order of AppSettings."""


AS_SERVER: Final = -2
"""Sets days to what the server's configuration says."""
DAYS_MAX: Final = 36_525

COLOURS: Final = ("green", "blue", "violet", "orange", "pink", "teal", "red", "grey")
"""Of apps, by which people tell them apart."""


class AppSettings(NamedTuple):
    """One app as whoever asks about its events needs to know it."""

    id: int
    name: str
    user_field: str
    """The parameter that says who did it."""
    timezone: str
    """In which its days begin, as IANA names it."""
    chosen_colour: str | None = None
    """None for none, and for one that this version does not know."""
    retain_days: int | None = None
    """So long its events are in Postgres; 0 for ever, None as the server's configuration says."""
    archive_retain_days: int | None = None
    """And in the archive; -1 as long as in Postgres."""

    @property
    def colour(self) -> str:
        """Return one of COLOURS: where nobody has chosen one, neighbours have different ones."""
        if self.chosen_colour in COLOURS:
            return self.chosen_colour
        return COLOURS[(self.id - 1) % len(COLOURS)]


class Days(NamedTuple):
    """How long the events of an app are kept; AS_SERVER, or None for what stays as it is."""

    postgres: int | None = None
    archive: int | None = None


def is_zone(name: str) -> bool:
    """Return whether this is the name of a time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: of a folder, such as Europe
        return False
    return True


async def list_all(connection: Connection) -> list[AppSettings]:
    """Return all apps by name."""
    rows = await connection.fetch(f"SELECT {COLUMNS} FROM apps ORDER BY name")  # noqa: S608 - ours
    return [AppSettings(*row) for row in rows]


async def change(
    connection: Connection,
    name: str,
    user_field: str | None = None,
    timezone: str | None = None,
    colour: str | None = None,
    days: Days | None = None,
) -> AppSettings | None:
    """Set what is not None; return the app as it is then, None if there is none of that name."""
    row = await connection.fetchrow(
        "UPDATE apps SET user_field = coalesce($2, user_field),"  # noqa: S608 - names of ours
        " timezone = coalesce($3, timezone), colour = coalesce($4, colour),"
        f" retain_days = nullif(coalesce($5, retain_days), {AS_SERVER}),"
        f" archive_retain_days = nullif(coalesce($6, archive_retain_days), {AS_SERVER})"
        f" WHERE name = $1 RETURNING {COLUMNS}",
        name,
        user_field,
        timezone,
        colour,
        *(days or Days()),
    )
    return None if row is None else AppSettings(*row)


async def find(connection: Connection, app_id: int) -> AppSettings | None:
    """Return an app by its number; None if there is none."""
    row = await connection.fetchrow(f"SELECT {COLUMNS} FROM apps WHERE id = $1", app_id)  # noqa: S608 - ours
    return None if row is None else AppSettings(*row)


async def create(connection: Connection, name: str) -> AppSettings | None:
    """Make an app; None if there is one of that name."""
    row = await connection.fetchrow(
        f"INSERT INTO apps (name) VALUES ($1) ON CONFLICT (name) DO NOTHING RETURNING {COLUMNS}",  # noqa: S608 - ours
        name,
    )
    return None if row is None else AppSettings(*row)
