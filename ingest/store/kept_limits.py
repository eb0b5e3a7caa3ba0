"""Rate limits as `apps` and `api_keys` keep them: a column each, by the names that they have."""

from typing import Any, Final

import msgspec

from ingest.metering.rate_limits import NAMES, RateLimits
from ingest.store.postgres import Connection


def _selected(table: str) -> str:
    """Return an expression of a table's limits as JSON, those that are none left out."""
    columns = ", ".join(f"'{name}', found.{table} -> '{name}'" for name in NAMES)
    return f"jsonb_strip_nulls(jsonb_build_object({columns}))::text"


# By the rows as JSON: they simply have none while the migration that brings them waits for a lock.
FROM: Final = (
    "CROSS JOIN LATERAL (SELECT to_jsonb(api_keys) AS key, to_jsonb(apps) AS app) AS found"
)
SELECTED: Final = (
    f"api_keys.id AS key_id, {_selected('key')} AS key_limits, {_selected('app')} AS app_limits,"
    " found.app ->> 'timezone' AS timezone"
)
"""What a statement selects of `api_keys`, `apps` and FROM, for `read`."""
_EMPTY: Final = "{}"
_NONE: Final = RateLimits()
_decode: Final = msgspec.json.Decoder(RateLimits).decode


def read(row: Any) -> tuple[int, RateLimits, RateLimits, str]:  # noqa: ANN401 - a record
    """Return a key's number, its limits, its app's, and that one's zone, as far as it matters."""
    of_key, of_app = _read(row["key_limits"]), _read(row["app_limits"])
    has_day = of_key.has_day or of_app.has_day
    zone = row["timezone"] if has_day and row["timezone"] else "UTC"
    return row["key_id"] if of_key else 0, of_key, of_app, zone


def _read(text: str) -> RateLimits:
    return _NONE if text == _EMPTY else _decode(text)


COLUMNS: Final = ", ".join(NAMES)
_ASSIGNED: Final = ", ".join(f"{name} = ${place}" for place, name in enumerate(NAMES, 2))


async def of_apps(connection: Connection) -> dict[int, RateLimits]:
    """Return the limits of all apps that have some, by their numbers."""
    rows = await connection.fetch(f"SELECT id, {COLUMNS} FROM apps")  # noqa: S608 - names of ours
    return {row[0]: limits for row in rows if (limits := RateLimits(*row[1:]))}


async def set_of_app(connection: Connection, app_id: int, limits: RateLimits) -> None:
    """Have an app's keys together held to these limits; servers follow within a second."""
    await connection.execute(
        f"UPDATE apps SET {_ASSIGNED} WHERE id = $1",  # noqa: S608 - names of ours
        app_id,
        *msgspec.structs.astuple(limits),
    )


async def set_of_key(connection: Connection, key: int | bytes, limits: RateLimits) -> None:
    """Have a key that writes held to these limits, by its number or its secret's digest."""
    column = "id" if isinstance(key, int) else "secret_sha256"
    await connection.execute(
        f"UPDATE api_keys SET {_ASSIGNED} WHERE {column} = $1",  # noqa: S608 - names of ours
        key,
        *msgspec.structs.astuple(limits),
    )
