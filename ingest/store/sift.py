"""Sifting: rows go into the table one by one, and what Postgres says of each is told.

For rows among which some are refused. All come in one COPY, into a temporary table; a loop in
Postgres inserts each in a subtransaction of its own, so one that fails costs only itself. 16 µs a
row and 5 ms for all of it, whoever is refused. Rows keep the order of their keys, as in a merge,
and everything is one transaction. What a row's Idempotency-Key stands for is found out in the same
subtransaction, so a refused row does not take its key.
"""

from typing import Final, NamedTuple

import asyncpg

from ingest.store.copier import Copier, Fields, query
from ingest.store.failures import DROPPED, NO_DATA, RowRefused, of_row
from ingest.store.idempotency import FIND_BY_APP, reserve
from ingest.store.merge import STAGING, Earlier, stage
from ingest.store.table import Table

_MESSAGE_CHARS_MAX: Final = 1_000
_FINDINGS: Final = "nonito_findings"
# Of an error: SQLSTATE, message, detail, table, column, constraint, by the letters that a message
# of Postgres's protocol has for them.
_LETTERS: Final = "CMDtcn"
# A deadlock and a lock that takes too long are caught like any error; a time-out of the statement
# is not, and ends all of it. A row that is there is stored, whatever Postgres said of it: of a key
# that is there a distributed one may say XX000.
_LOOP: Final = f"""
DO $sift$
DECLARE
    staged record; done int;
    state text; message text; detail text; on_table text; on_column text; broken text;
BEGIN
    FOR staged IN SELECT * FROM {STAGING} ORDER BY {{order}}, created_at LOOP
        BEGIN
            {{reserve}}
            INSERT INTO {{table}} ({{columns}}) VALUES ({{values}})
                ON CONFLICT ({{key}}) DO NOTHING;
            GET DIAGNOSTICS done = ROW_COUNT;
            IF done > 0 THEN CONTINUE; END IF;
            IF NOT EXISTS (SELECT 1 FROM {{table}} WHERE {{is_it}}) THEN
                RAISE EXCEPTION '{DROPPED}' USING ERRCODE = '{NO_DATA}';
            END IF;
        EXCEPTION WHEN OTHERS OR assert_failure THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                detail = PG_EXCEPTION_DETAIL, on_table = TABLE_NAME, on_column = COLUMN_NAME,
                broken = CONSTRAINT_NAME;
        END;
        IF EXISTS (SELECT 1 FROM {{table}} WHERE {{is_it}}) THEN
            state := NULL;
            -- Undone with the row's subtransaction, where a key had led to another id.
            UPDATE {STAGING} SET id = staged.id WHERE nonito_at = staged.nonito_at;
        END IF;
        INSERT INTO {_FINDINGS} VALUES (
            staged.nonito_at, state, left(message, {_MESSAGE_CHARS_MAX}),
            left(detail, {_MESSAGE_CHARS_MAX}), on_table, on_column, broken);
    END LOOP;
END $sift$
"""  # noqa: S608 - names of ours

# Keys before ids, as a merge takes them; of one key the first try first.
_BY_KEY: Final = (
    "idempotency_key IS NULL, app_id, idempotency_key,"
    " CASE WHEN idempotency_key IS NULL THEN id END"
)
# Within the row's subtransaction: a row that is refused does not take its key.
_IT: Final = "nonito_at = staged.nonito_at"
_RESERVE: Final = f"""
            IF staged.idempotency_key IS NOT NULL THEN
                {reserve(STAGING, _IT, FIND_BY_APP)}
                SELECT id INTO staged.id FROM {STAGING} WHERE {_IT};
            END IF;
"""  # noqa: S608 - names of ours


class Sifted(NamedTuple):
    """What came of rows, by index."""

    refused: dict[int, RowRefused]
    existing: set[int]
    """The rows that were stored before, or twice in the document."""
    earlier: list[Earlier]
    """Rows of the table with the keys of any that were sent: those of `existing` among them."""


class Sift:
    """The statements of one table, and how they follow each other."""

    def __init__(self, begin: str, table: Table) -> None:
        self._copy = query(
            f"{begin}; SET CONSTRAINTS ALL IMMEDIATE;"
            f" {stage(table)};"
            f" ALTER TABLE {STAGING} ADD nonito_at int"
            " GENERATED ALWAYS AS IDENTITY (MINVALUE 0 START 0);"
            f" CREATE TEMP TABLE {_FINDINGS} (at int, sqlstate text, message text, detail text,"
            " on_table text, on_column text, broken text) ON COMMIT DROP;"
            f" COPY {STAGING} ({table.column_list}) FROM STDIN (FORMAT binary)"
        )
        self._sift = query(_loop(table, ", ".join(table.primary_key), ""))
        self._reserve_and_sift = query(_loop(table, _BY_KEY, _RESERVE))
        self._findings = query(f"SELECT * FROM {_FINDINGS}")  # noqa: S608

    async def run(self, copier: Copier, document: bytes, *, has_keys: bool) -> Sifted:
        """Insert what can be, in a transaction that is left open."""
        await copier.copy(self._copy, document)
        await copier.execute(self._reserve_and_sift if has_keys else self._sift)
        sifted = Sifted({}, set(), [])
        for at, *error in await copier.fetch(self._findings):
            index = int(at or b"")
            if error[0] is None:
                sifted.existing.add(index)
            else:
                sifted.refused[index] = of_row(_read(error))
        return sifted


def _loop(table: Table, order: str, reservation: str) -> str:
    key = table.primary_key
    return _LOOP.format(
        table=table.name,
        columns=", ".join(f'"{column.name}"' for column in table.columns),
        values=", ".join(f'staged."{column.name}"' for column in table.columns),
        key=", ".join(key),
        is_it=" AND ".join(f"{table.name}.{each} = staged.{each}" for each in key),
        order=order,
        reserve=reservation,
    )


def _read(fields: Fields) -> asyncpg.PostgresError:
    found = zip(_LETTERS, fields, strict=True)
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(
        {letter: field.decode() for letter, field in found if field}
    )
    return error
