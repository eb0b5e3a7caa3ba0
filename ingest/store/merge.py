"""Merging: rows are stored once by their keys, and those that were there before are told.

The rows go into a temporary table, by COPY or, what was rejected once, by an INSERT. What is
inserted is sorted, because two that insert the same keys in opposite orders deadlock. Everything is
one transaction. There is no other way into `events` for a row that has an Idempotency-Key.
"""

from typing import Final, NamedTuple

from ingest.store.copier import Copier, Fields, query
from ingest.store.idempotency import reserve
from ingest.store.table import Column, Table

EARLIER_PARAMS_BYTES_MAX: Final = 1 << 20
"""Parameters of rows that were there before are told up to this size in all, printed or not: jsonb
may print many times longer than it was sent, and a batch may ask for thousands of long ones."""

STAGING: Final = "nonito_staging"
"""The temporary table: the columns of the rows, and what `idempotency.reserve` adds."""

_PARAMS: Final = "event_params"
_TIME: Final = "timestamptz"
_TIME_TEXT: Final = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') AS {}"

# LATERAL with a LIMIT: one look into the index for each row, whatever the planner believes of a
# table that was never analyzed. What this transaction has inserted itself is told by its xmin.
# Parameters are bounded as they are kept, then unpacked, then printed, and past a bound not even
# looked at: 100 small retries of 1 MiB of 1e299 would unpack 250 MB and print 5 GB.
_EARLIER: Final = f"""
SELECT staged_app_id, key, has_idempotency_key,
    CASE WHEN sum(octet_length(printed)) OVER told <= {EARLIER_PARAMS_BYTES_MAX} THEN printed END,
    {{names}}
FROM (
    SELECT *, CASE WHEN unpacked_bytes IS NOT NULL
        AND sum(unpacked_bytes) OVER told <= {EARLIER_PARAMS_BYTES_MAX}
        THEN params::text END AS printed
    FROM (
        SELECT *, CASE WHEN sum(pg_column_size(params)) OVER told <= {EARLIER_PARAMS_BYTES_MAX}
            THEN pg_column_size(params || '{{{{}}}}') END AS unpacked_bytes
        FROM (
            SELECT staged.app_id AS staged_app_id,
                coalesce(staged.idempotency_key, staged.id) AS key,
                staged.idempotency_key IS NOT NULL AS has_idempotency_key, found.*
            FROM {STAGING} AS staged CROSS JOIN LATERAL (
                SELECT {_PARAMS} AS params, {{texts}}
                FROM events WHERE events.app_id = staged.app_id AND events.id = staged.id
                AND events.xmin <> pg_current_xact_id()::xid LIMIT 1
            ) AS found
        ) AS earlier WINDOW told AS (ORDER BY staged_app_id, key)
    ) AS kept WINDOW told AS (ORDER BY staged_app_id, key)
) AS unpacked WINDOW told AS (ORDER BY staged_app_id, key)
"""  # noqa: S608 - constants of ours
# A subquery with a LIMIT for the same reason.
COUNT_MISSING: Final = f"""
SELECT count(*) FROM {STAGING} AS staged WHERE (
    SELECT true FROM events WHERE events.app_id = staged.app_id AND events.id = staged.id LIMIT 1
) IS NULL
"""  # noqa: S608 - constants of ours


def stage(table: Table) -> str:
    """Return the SQL that makes the temporary table, within a transaction."""
    return (
        # Not LIKE, which would want values for columns of the operator's that are NOT NULL.
        f"CREATE TEMP TABLE {STAGING} ON COMMIT DROP AS"  # noqa: S608
        f" SELECT {table.column_list}, NULL::uuid AS event_id, false AS is_retry"
        f" FROM {table.name} WITH NO DATA"
    )


def reserve_and_insert(table: Table) -> str:
    """Return the SQL that stores what is staged, each id and each key's event once."""
    return f"DO $$ BEGIN {reserve(STAGING)} END $$; {_insert(table)}"


def _insert(table: Table) -> str:
    named, key = table.column_list, ", ".join(table.primary_key)
    # Of several tries in one document the first is stored, and the one whose id a key stands for.
    return (
        f"INSERT INTO {table.name} ({named}) SELECT {named} FROM {STAGING}"  # noqa: S608
        f" ORDER BY {key}, is_retry NULLS FIRST, created_at ON CONFLICT ({key}) DO NOTHING"
    )


class Earlier(NamedTuple):
    """An event that was stored before."""

    key: bytes
    """What it is known by, as `copy_reader.dedup_key` has it."""
    stored: dict[str, str | None]
    """Its columns as texts, times in RFC 3339; `event_params` is None past
    EARLIER_PARAMS_BYTES_MAX."""


class Merged(NamedTuple):
    """What a merge found."""

    existing: int
    """How many of the rows were not inserted: there before, or twice in the document."""
    earlier: list[Earlier]
    """The rows that were there before, if they were asked for."""


class Merge:
    """The statements of one table, and how they follow each other."""

    def __init__(self, begin: str, table: Table) -> None:
        self._copy = query(
            f"{begin}; {stage(table)};"
            f" COPY {STAGING} ({table.column_list}) FROM STDIN (FORMAT binary)"
        )
        self._insert = query(_insert(table))
        self._reserve_and_insert = query(reserve_and_insert(table))
        self._told = [column for column in table.columns if column.name != _PARAMS]
        self._ask = query(
            _EARLIER.format(
                names=", ".join(f'"{column.name}"' for column in self._told),
                texts=", ".join(map(_as_text, self._told)),
            )
        )
        self._count_missing = query(COUNT_MISSING)

    async def run(self, copier: Copier, document: bytes, *, has_keys: bool) -> int:
        """Insert what is missing, in a transaction that is left open; return how many rows."""
        await copier.copy(self._copy, document)
        done = await copier.execute(self._reserve_and_insert if has_keys else self._insert)
        return int(done.rpartition(" ")[2])

    async def count_missing(self, copier: Copier) -> int:
        """Return how many rows are not there behind `run`: a trigger has dropped them."""
        ((count,),) = await copier.fetch(self._count_missing)
        return int(count or b"")

    async def ask(self, copier: Copier) -> list[Earlier]:
        """Return the rows that `run` found there."""
        return [self._read(fields) for fields in await copier.fetch(self._ask)]

    def _read(self, fields: Fields) -> Earlier:
        texts = [None if field is None else field.decode() for field in fields]
        app_id, key, has_idempotency_key, params, *values = texts
        kind = b"k" if has_idempotency_key == "t" else b"i"
        number = int(app_id or "").to_bytes(4, "big", signed=True)
        stored = {
            column.name: _shown(value) if value and column.sql_type == _TIME else value
            for column, value in zip(self._told, values, strict=True)
        }
        return Earlier(
            key=kind + number + bytes.fromhex((key or "").replace("-", "")),
            stored={**stored, _PARAMS: params},
        )


def _as_text(column: Column) -> str:
    name = f'"{column.name}"'
    return _TIME_TEXT.format(name, name) if column.sql_type == _TIME else name


def _shown(time: str) -> str:
    """Return a time with microseconds as an answer has it: to the millisecond, if that is exact."""
    return time.removesuffix("000") + "Z"
