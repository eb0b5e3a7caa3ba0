"""The audit's rules and repairs: each is met by rows, and none leaves anything behind."""

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, cast

import asyncpg
import pytest

from bench import servers
from bench.audit import operator_faults
from bench.audit.disk import SmallDisk
from bench.audit.history import read
from bench.audit.node import Node
from bench.audit.operator_faults import FAULTS, RowSecurity, TablespaceFull, _look, _Rule
from bench.audit.postgres import Database
from bench.audit.recorder import Recorder
from bench.audit.spool_disk import SpoolDisk
from bench.audit.system import System
from bench.load.database import Session
from tests.support.postgres import passable_directory

RULES = [fault for fault in FAULTS if isinstance(fault, _Rule)]
COPIED = [rule for rule in RULES if not isinstance(rule, TablespaceFull)]
ROW = (
    "INSERT INTO events (app_id, id, event_name, event_params, created_at) VALUES"
    " (1, overlay(gen_random_uuid()::text PLACING $1 FROM 1 FOR 14)::uuid, $2, $3, now())"
)
SCHEMA = """
SELECT jsonb_build_object(
    'relations', (SELECT jsonb_agg(DISTINCT concat_ws(' ', relname, relkind, relrowsecurity,
        relforcerowsecurity, pg_get_expr(relpartbound, oid)))
        FROM pg_class WHERE relnamespace = 'public'::regnamespace),
    'columns', (SELECT jsonb_agg(DISTINCT attname) FROM pg_attribute
        WHERE attrelid = 'events'::regclass AND attnum > 0),
    'triggers', (SELECT count(*) FROM pg_trigger), 'functions', (SELECT count(*) FROM pg_proc),
    'policies', (SELECT count(*) FROM pg_policy),
    'checks', (SELECT count(*) FROM pg_constraint WHERE contype = 'c'))::text
"""


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """Postgres with the server's schema, and nobody else."""
    # Not in pytest's own directory, where the account that runs Postgres may not pass.
    with passable_directory() as directory:
        yield from _system(directory)


def _system(directory: Path) -> Iterator[System]:
    database = Database(directory / "cluster", frozenset({0}))
    tablespace = SmallDisk(directory / "tablespace", 1 << 20)
    try:
        database.create()
        servers.make_key(database.owner_url)
        tablespace.mount()
        database.add_tablespace(tablespace)
        nobody = cast("Any", None)
        spool = SpoolDisk(directory / "spool")
        spool.directory.mkdir()
        recorder = Recorder(directory / "history")
        yield System(database, [Node(0, nobody, nobody, spool)], tablespace, recorder)
    finally:
        database.destroy()
        tablespace.unmount()


async def insert(session: Session, name: str, slot: int, at: str) -> str:
    """Store an event of now as the server's role; return what became of it."""
    try:
        done = await session.execute(ROW, at, name, f'{{"slot": {slot}}}')
    except asyncpg.PostgresError as error:
        return str(error.sqlstate)
    return str(done)


async def outcomes(system: System, at: str) -> list[str]:
    """Return what becomes of two guarded events with one slot, and of another."""
    session = await asyncpg.connect(system.database.owner_url)
    try:
        kinds = (("guarded", 1), ("guarded", 1), ("other", 1))
        return [await insert(session, name, slot, at) for name, slot in kinds]
    finally:
        await session.close()


async def schema(system: System) -> str:
    """Return all that a rule might change."""
    async with system.database.session() as session:
        return str(await session.fetchval(SCHEMA))


def uuid_start() -> str:
    """Return the first characters of a UUIDv7 of a moment from now."""
    digits = f"{int((time.time() + 1) * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-"


@pytest.mark.parametrize("rule", COPIED, ids=lambda rule: rule.name)
async def test_rule_is_met_by_guarded_events_or_by_all_and_undone(
    system: System, rule: _Rule
) -> None:
    """A good event is stored under a rule about guarded ones, and the schema is as it was."""
    stored = "INSERT 0 1"
    await system.database.execute("TRUNCATE events")
    before = await schema(system)
    await system.database.rule(*await rule.make(system, Random(1)))
    found = await outcomes(system, uuid_start())
    await system.database.end_rule()
    assert found[1] != stored
    assert (found[2] == stored) is (rule.is_about_guarded or isinstance(rule, RowSecurity))
    assert await outcomes(system, uuid_start()) == [stored] * 3
    assert await schema(system) == before


async def test_full_tablespace_is_met_by_rows(system: System) -> None:
    """Once the last page of its index is full; and there is room again behind it."""
    rule = TablespaceFull()
    if not rule.is_possible(system):
        pytest.skip("nothing may be mounted here")
    before = await schema(system)
    await system.database.rule(*await rule.make(system, Random(1)))
    await rule.go_on(system)
    session = await asyncpg.connect(system.database.owner_url)
    found = {await insert(session, "other", 1, uuid_start()) for _ in range(500)}
    await session.close()
    system.tablespace.free()
    await system.database.end_rule()
    assert asyncpg.DiskFullError.sqlstate in found
    assert await outcomes(system, uuid_start()) == ["INSERT 0 1"] * 3
    assert await schema(system) == before


async def test_good_events_that_are_not_stored_in_time_are_noted(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or that were spooled for the most part, but in batches."""
    monkeypatch.setattr(operator_faults, "_WATCHED_S", 1.0)
    monkeypatch.setattr(operator_faults, "_STORED_IN_S", 0.0)
    stored = uuid.uuid4()
    async with system.database.session() as session:
        await session.execute(
            "INSERT INTO events (app_id, id, event_name, event_params, created_at)"
            " VALUES (1, $1, 'x', '{}', now())",
            stored,
        )
    is_there, is_not = str(stored), str(uuid.uuid4())
    looks = (
        [(is_there, 200)],
        [(is_there, 200), (is_there, 202), (is_there, 0), (is_there, 0)],
        [(is_there, 200), (is_not, 202)],
        [(is_there, 200), (is_there, 202), (is_there, 202)],
    )
    for seen, held in zip(looks, (0, 0, 1, 2), strict=True):
        looking = asyncio.create_task(_look(system, "a-rule"))
        await asyncio.sleep(0.15)  # the spool is looked at first, in a thread
        assert system.recorder.watched is not None
        system.recorder.watched += seen
        await looking
        assert len(read(system.recorder.path).held) == held
