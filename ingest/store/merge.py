"""Merging: rows are stored once by their keys, and those that were there before are told.

The rows go into a temporary table, by COPY or, what was rejected once, by an INSERT. What is
inserted is sorted, because two that insert the same keys in opposite orders deadlock. Everything is
one transaction. There is no other way into `events` for a row that has an Idempotency-Key.

What was there is looked up between constants, so that only the partitions that may have it are
planned for and locked. Rows lead to few of them (`PartitionMap.cut`), but a key may stand for an
event of any time: if too many are reached so, nothing is stored, and the caller sends less at once.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from ingest.store.copier import Copier, Fields, query
from ingest.store.idempotency import FIND_BY_APP, reserve
from ingest.store.partition_map import DAY_MS, HOMES_MAX, IdRange, PartitionMap
from ingest.store.table import Column, Table

EARLIER_PARAMS_BYTES_MAX: Final = 1 << 20
"""Parameters of rows that were there before are told up to this size in all, printed or not: jsonb
may print many times longer than it was sent, and a batch may ask for thousands of long ones."""

STAGING: Final = "nonito_staging"
"""The temporary table: the columns of the rows, and what `idempotency.reserve` adds."""

PARAMS: Final = "event_params"
WITHIN: Final = ":within"
"""Stands for the ranges of id in which events are looked up."""
_TIME: Final = "timestamptz"
_TIME_TEXT: Final = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') AS {}"

_RESERVE: Final = f"DO $$ BEGIN {reserve(STAGING)} END $$;"
RESERVE_BY_APP: Final = f"DO $$ BEGIN {reserve(STAGING, find=FIND_BY_APP)} END $$;"
DAYS: Final = f"""
SELECT DISTINCT ('x' || left(translate(id::text, '-', ''), 12))::bit(48)::bigint / {DAY_MS}
FROM {STAGING}
"""  # noqa: S608 - constants of ours
# Parameters are bounded as they are kept, then unpacked, then printed, and past a bound not even
# looked at: 100 small retries of 1 MiB of 1e299 would unpack 250 MB and print 5 GB.
BOUNDED: Final = """
SELECT {known_by},
    CASE WHEN sum(octet_length(printed)) OVER told <= {bytes_max} THEN printed END,
    {names}
FROM (
    SELECT *, CASE WHEN unpacked_bytes IS NOT NULL
        AND sum(unpacked_bytes) OVER told <= {bytes_max}
        THEN params::text END AS printed
    FROM (
        SELECT *, CASE WHEN sum(pg_column_size(params)) OVER told <= {bytes_max}
            THEN pg_column_size(params || '{{}}') END AS unpacked_bytes
        FROM ({found}) AS earlier WINDOW told AS (ORDER BY {order})
    ) AS kept WINDOW told AS (ORDER BY {order})
) AS unpacked WINDOW told AS (ORDER BY {order})
"""
"""Asks for rows that were there before; `found` selects them, with `params` and what is told."""
# LATERAL with a LIMIT: one look into the index for each row, whatever the planner believes of a
# table that was never analyzed. What this transaction has inserted itself is told by its xmin.
_FOUND: Final = f"""
SELECT staged.app_id AS staged_app_id,
    coalesce(staged.idempotency_key, staged.id) AS key,
    staged.idempotency_key IS NOT NULL AS has_idempotency_key, found.*
FROM {STAGING} AS staged CROSS JOIN LATERAL (
    SELECT {PARAMS} AS params, {{texts}}
    FROM events WHERE events.app_id = staged.app_id AND events.id = staged.id
    AND ({WITHIN}) AND events.xmin <> pg_current_xact_id()::xid LIMIT 1
) AS found
"""  # noqa: S608 - constants of ours
# A subquery with a LIMIT for the same reason.
_COUNT_MISSING: Final = f"""
SELECT count(*) FROM {STAGING} AS staged WHERE (
    SELECT true FROM events
    WHERE events.app_id = staged.app_id AND events.id = staged.id AND ({WITHIN}) LIMIT 1
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


def insert(table: Table) -> str:
    """Return the SQL that stores what is staged and reserved, each id and each key's event once."""
    named, key = table.column_list, ", ".join(table.primary_key)
    # Of several tries in one document the first is stored, and the one whose id a key stands for.
    return (
        f"INSERT INTO {table.name} ({named}) SELECT {named} FROM {STAGING}"  # noqa: S608
        f" ORDER BY {key}, is_retry NULLS FIRST, created_at ON CONFLICT ({key}) DO NOTHING"
    )


def insert_counted(table: Table) -> str:
    """Return the same SQL, which returns a row for each that was not there.

    A command's tag says so as well, but that of Citus, which counts what it was sent.
    """
    return f"{insert(table)} RETURNING 1"


class Scattered(Exception):  # noqa: N818 - an outcome, handled by sending less at once
    """Keys lead to events in more homes than one transaction may touch; nothing is stored."""


class Earlier(NamedTuple):
    """An event that was stored before."""

    key: bytes
    """What it is known by, as `copy_reader.dedup_key` has it."""
    stored: dict[str, str | None]
    """Its columns as texts, times in RFC 3339; `event_params` is None past
    EARLIER_PARAMS_BYTES_MAX."""
    is_different: bool = False
    """Whether who sent it again is known to have sent something else."""


class Merged(NamedTuple):
    """What a merge found."""

    existing: int
    """How many of the rows were not inserted: there before, or twice in the document."""
    earlier: list[Earlier]
    """The rows that were there before, if they were asked for."""


class Merge:
    """The statements of one table, and how they follow each other."""

    def __init__(self, begin: str, table: Table, partitions: PartitionMap) -> None:
        self._partitions = partitions
        self._copy = query(
            f"{begin}; {stage(table)};"
            f" COPY {STAGING} ({table.column_list}) FROM STDIN (FORMAT binary)"
        )
        self._insert = query(insert(table))
        self._look = query(DAYS)
        self._reserve_and_look = query(_RESERVE + DAYS)
        self._told = [column for column in table.columns if column.name != PARAMS]
        self._names = ", ".join(f'"{column.name}"' for column in self._told)
        self._texts = ", ".join(map(_as_text, self._told))
        self._ask = BOUNDED.format(
            known_by="staged_app_id, key, has_idempotency_key",
            names=self._names,
            bytes_max=EARLIER_PARAMS_BYTES_MAX,
            found=_FOUND.format(texts=self._texts),
            order="staged_app_id, key",
        )

    async def run(self, copier: Copier, document: bytes, *, has_keys: bool) -> int:
        """Insert what is missing, in a transaction that is left open; return how many rows.

        Raises Scattered.
        """
        await copier.copy(self._copy, document)
        if has_keys and len(await self._ranges(copier, self._reserve_and_look)) > HOMES_MAX:
            raise Scattered
        return await self._store(copier)

    async def _store(self, copier: Copier) -> int:
        """Insert what is staged; return how many rows were not there."""
        done = await copier.execute(self._insert)
        return int(done.rpartition(" ")[2])

    async def look(self, copier: Copier) -> list[IdRange]:
        """Return in which ranges of id the rows of `run` are, for what is asked next."""
        return await self._ranges(copier, self._look)

    async def count_missing(self, copier: Copier, ranges: Sequence[IdRange]) -> int:
        """Return how many rows are not there behind `run`: a trigger has dropped them."""
        ((count,),) = await copier.fetch(_within(_COUNT_MISSING, ranges))
        return int(count or b"")

    async def ask(self, copier: Copier, ranges: Sequence[IdRange]) -> list[Earlier]:
        """Return the rows that `run` found there."""
        return [self._read(fields) for fields in await copier.fetch(_within(self._ask, ranges))]

    async def _ranges(self, copier: Copier, statement: bytes) -> list[IdRange]:
        days = await copier.fetch(statement)
        return self._partitions.ranges_of(int(day or b"") for (day,) in days)

    def _read(self, fields: Fields) -> Earlier:
        app_id, key, has_idempotency_key, *stored = fields
        return Earlier(key_of(app_id, key, has_idempotency_key), self._stored(stored))

    def _stored(self, fields: Fields) -> dict[str, str | None]:
        """Return what is told of a row: its parameters, then the others."""
        params, *values = [None if field is None else field.decode() for field in fields]
        stored = {
            column.name: _shown(value) if value and column.sql_type == _TIME else value
            for column, value in zip(self._told, values, strict=True)
        }
        return {**stored, PARAMS: params}


def key_of(app_id: bytes | None, key: bytes | None, has_idempotency_key: bytes | None) -> bytes:
    """Return what an event is known by, as `copy_reader.dedup_key` has it, of texts of Postgres."""
    kind = b"k" if has_idempotency_key == b"t" else b"i"
    number = int(app_id or b"").to_bytes(4, "big", signed=True)
    return kind + number + bytes.fromhex((key or b"").decode().replace("-", ""))


def _within(statement: str, ranges: Sequence[IdRange]) -> bytes:
    """Return the Query message of a statement that looks for events in some ranges."""
    return query(statement.replace(WITHIN, within(ranges)))


def within(ranges: Sequence[IdRange]) -> str:
    """Return the SQL that is true of an event in one of some ranges of id."""
    each = (f"events.id BETWEEN '{each.first}' AND '{each.last}'" for each in ranges)
    return " OR ".join(each) or "false"


def _as_text(column: Column) -> str:
    name = f'"{column.name}"'
    return _TIME_TEXT.format(name, name) if column.sql_type == _TIME else name


def _shown(time: str) -> str:
    """Return a time with microseconds as an answer has it: to the millisecond, if that is exact."""
    return time.removesuffix("000") + "Z"
