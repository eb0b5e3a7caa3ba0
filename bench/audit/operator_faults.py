"""Faults of an operator's: rules and repairs that only a real row meets, and an empty COPY doesn't.

Some are about guarded events alone: then good ones must go on being stored, also those that had
been spooled, however long it lasts. Others concern all events: they wait in the spool, or are set
aside, until it is over.
"""

import asyncio
import time
from random import Random
from typing import ClassVar, Final

from bench.audit import archive_faults, rejected
from bench.audit.excuses import SET_ASIDE
from bench.audit.faults import Fault
from bench.audit.postgres import TABLESPACE
from bench.audit.system import System
from bench.audit.workload import GUARDED_NAME, POISON
from bench.chance import log_uniform
from bench.load.ids import uuid7

LASTS_S: Final = (0.3, 4.0)
_WATCHED_S: Final = 1.0
_STORED_IN_S: Final = 6.0
_WATCHED_MAX: Final = 5_000
_COMMITTED_MIN: Final = 0.5
"""Of good single events that are acknowledged meanwhile so many get a 200 at least."""
_OK: Final = 200
_BACKLOG_EVENTS_MAX: Final = 5_000
_RETRIED_MAX: Final = 100
_SOON_S: Final = 0.5
_IS_GUARDED: Final = f"NEW.event_name = '{GUARDED_NAME}'"
_TRIGGER: Final = """
CREATE FUNCTION audit_rule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF {condition} THEN {deed}; END IF; RETURN NEW; END $$;
CREATE TRIGGER audit_rule BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION audit_rule()
"""
_NO_TRIGGER: Final = "DROP TRIGGER audit_rule ON events; DROP FUNCTION audit_rule()"
_SQLSTATES: Final = ("XX000", "ZZ001", "23514", "42P01", "42501", "0A000", "22023", "40001")
_PARTITIONS: Final = (
    "SELECT inhrelid::regclass::text, pg_get_expr(relpartbound, inhrelid)"
    " FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
    " WHERE inhparent = 'events'::regclass"
)
_COUNT_STORED: Final = (
    "SELECT count(DISTINCT id) FROM events"
    " WHERE app_id = ANY(ARRAY(SELECT id FROM apps)) AND id = ANY($1::uuid[])"
)


class _Rule(Fault):
    """Something that is done to the table for a while."""

    weight = 1
    excuses = frozenset({POISON})
    is_about_guarded: ClassVar[bool] = True
    looks: ClassVar[float] = 0.15
    """How often it lasts until it is seen whether good events go on, if it is about others."""

    async def inject(self, system: System, random: Random) -> None:
        """Make the rule, let it last, and lift it."""
        looks = self.is_about_guarded and random.random() < self.looks
        done, undo = await self.make(system, random)
        await system.database.rule(done, undo)
        try:
            await self.go_on(system)
            if looks:
                await _look(system, self.name)
            else:
                await asyncio.sleep(log_uniform(random, *LASTS_S))
        finally:
            await system.database.end_rule()

    async def go_on(self, system: System) -> None:
        """Do more than SQL can."""

    async def make(self, system: System, random: Random) -> tuple[str, str]:
        """Return the SQL that does it, and the SQL that undoes it."""
        raise NotImplementedError


class TriggerDrops(_Rule):
    """A trigger drops some guarded events without a word."""

    name = "trigger-drops"
    weight = 2

    async def make(self, system: System, random: Random) -> tuple[str, str]:  # noqa: ARG002
        """RETURN NULL."""
        half = f"{_IS_GUARDED} AND (NEW.event_params->>'slot')::int < 10"
        return _TRIGGER.format(condition=half, deed="RETURN NULL"), _NO_TRIGGER


class TriggerDropsLong(TriggerDrops):
    """A trigger drops guarded events until it is seen whether good ones go on."""

    name = "trigger-drops-long"
    weight = 0
    looks = 1.0


class TriggerRaises(_Rule):
    """A trigger refuses guarded events with an SQLSTATE that one would not expect."""

    name = "trigger-raises"
    weight = 3

    async def make(self, system: System, random: Random) -> tuple[str, str]:  # noqa: ARG002
        """RAISE."""
        deed = f"RAISE EXCEPTION 'no' USING ERRCODE = '{random.choice(_SQLSTATES)}'"
        return _TRIGGER.format(condition=_IS_GUARDED, deed=deed), _NO_TRIGGER


class CheckRefuses(_Rule):
    """A CHECK against guarded events, of which a hundred come a second."""

    name = "check-refuses"
    weight = 2

    async def make(self, system: System, random: Random) -> tuple[str, str]:  # noqa: ARG002
        """ADD CONSTRAINT."""
        check = f"CHECK (event_name <> '{GUARDED_NAME}') NOT VALID"
        done = f"ALTER TABLE events ADD CONSTRAINT audit_rule {check}"
        return done, "ALTER TABLE events DROP CONSTRAINT audit_rule"


class OtherIndexConflicts(_Rule):
    """A second unique index, in which guarded events conflict."""

    name = "other-index-conflicts"

    async def make(self, system: System, random: Random) -> tuple[str, str]:
        """CREATE UNIQUE INDEX, for events that come from now on."""
        partition, _ = await _partition_of_now(system, random)
        soon = uuid7(time.time() + _SOON_S, random)  # none of it may be there already
        where = f"event_name = '{GUARDED_NAME}' AND id > '{soon}'"
        made = f"ON {partition} ((event_params->>'slot')) WHERE {where}"
        return f"CREATE UNIQUE INDEX audit_rule {made}", "DROP INDEX audit_rule"


class _ForAll(_Rule):
    excuses = frozenset({POISON, SET_ASIDE})
    is_about_guarded = False


class RowSecurity(_ForAll):
    """Row-level security that lets no guarded event in, and no COPY, even of no rows."""

    name = "row-security"

    async def make(self, system: System, random: Random) -> tuple[str, str]:  # noqa: ARG002
        """FORCE ROW LEVEL SECURITY: the server's role owns the table."""
        policy = f"USING (true) WITH CHECK (event_name <> '{GUARDED_NAME}')"
        done = (
            f"CREATE POLICY audit_rule ON events {policy};"
            " ALTER TABLE events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
        )
        undo = (
            "ALTER TABLE events NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;"
            " DROP POLICY audit_rule ON events"
        )
        return done, undo


class TriggerBroken(_ForAll):
    """A trigger reads a table that is not there."""

    name = "trigger-broken"

    async def make(self, system: System, random: Random) -> tuple[str, str]:  # noqa: ARG002
        """42P01, for every row."""
        deed = "PERFORM FROM audit_missing"
        return _TRIGGER.format(condition="true", deed=deed), _NO_TRIGGER


class ColumnRenamed(_ForAll):
    """A column has another name for a while."""

    name = "column-renamed"

    async def make(self, system: System, random: Random) -> tuple[str, str]:  # noqa: ARG002
        """RENAME COLUMN, and back."""
        rename = "ALTER TABLE events RENAME COLUMN {} TO {}"
        return rename.format("event_params", "params"), rename.format("params", "event_params")


class PartitionGone(_ForAll):
    """There is no partition for what comes now, not even the default one."""

    name = "partition-gone"
    moves_rows = True

    async def inject(self, system: System, random: Random) -> None:
        """Let it last, and have the archive made anew: rows came back that it has passed by."""
        await super().inject(system, random)
        await archive_faults.rebuild(system)

    async def make(self, system: System, random: Random) -> tuple[str, str]:
        """DETACH PARTITION, and ATTACH."""
        partition, bound = await _partition_of_now(system, random)
        detach, attach = (
            "ALTER TABLE events DETACH PARTITION",
            "ALTER TABLE events ATTACH PARTITION",
        )
        return (
            f"{detach} events_default; {detach} {partition}",
            f"{attach} {partition} {bound}; {attach} events_default DEFAULT",
        )


class TablespaceFull(_ForAll):
    """An index lies on a disk that has no byte left."""

    name = "tablespace-full"

    def is_possible(self, system: System) -> bool:
        """Require a disk of its own: it would fill somebody else's."""
        return system.tablespace.is_own

    async def inject(self, system: System, random: Random) -> None:
        """Fill it once the index is there."""
        try:
            await super().inject(system, random)
        finally:
            system.tablespace.free()

    async def go_on(self, system: System) -> None:
        """Take all the room."""
        await asyncio.to_thread(system.tablespace.fill)

    async def make(self, system: System, random: Random) -> tuple[str, str]:
        """CREATE INDEX, of events that come from now on."""
        partition, _ = await _partition_of_now(system, random)
        where = f"id > '{uuid7(time.time(), random)}'"
        made = f"ON {partition} (id, created_at) TABLESPACE {TABLESPACE} WHERE {where}"
        return f"CREATE INDEX audit_rule {made}", "DROP INDEX audit_rule"


class RejectedRetried(Fault):
    """An operator tries again what was set aside, while everything goes on."""

    name = "rejected-retried"
    weight = 2

    async def inject(self, system: System, random: Random) -> None:  # noqa: ARG002
        """`nonito rejected retry`, for some that are no poison."""
        await rejected.retry(system, _RETRIED_MAX)


async def _partition_of_now(system: System, random: Random) -> tuple[str, str]:
    """Return name and bound of the partition that holds what is stored now."""
    now = str(uuid7(time.time(), random))
    async with system.database.session() as connection:
        for name, bound in await connection.fetch(_PARTITIONS):
            ends = bound.split("'")
            if len(ends) > 3 and ends[1] <= now < ends[3]:  # noqa: PLR2004 - FROM ('…') TO ('…')
                return name, bound
    raise OSError("there is no partition for now")


async def _look(system: System, name: str) -> None:
    """Watch good events that are acknowledged now, and note it if they are not stored in time."""
    if await asyncio.to_thread(system.spooled) > _BACKLOG_EVENTS_MAX:
        return  # what comes now has reason to wait
    recorder = system.recorder
    watched: list[tuple[str, int]] = []
    recorder.watched = watched
    await asyncio.sleep(_WATCHED_S)
    recorder.watched = None
    await asyncio.sleep(_STORED_IN_S)
    watched = watched[:_WATCHED_MAX]
    ids = {event_id for event_id, _ in watched}  # some are acknowledged again
    async with system.database.session() as connection:
        missing = len(ids) - await connection.fetchval(_COUNT_STORED, ids)
    singles = [status for _, status in watched if status]
    committed = singles.count(_OK)
    seen = f"{name}: of {len(watched)} good events, {missing} are not stored"
    recorder.note(f"{seen}; of {len(singles)} single ones, {committed} got a 200")
    if missing:
        recorder.held(f"{seen} after {_STORED_IN_S} s")
    elif committed < len(singles) * _COMMITTED_MIN:
        recorder.held(f"{name}: of {len(singles)} single good events, {committed} got a 200")


FAULTS: Final = (
    TriggerDrops(), TriggerDropsLong(), TriggerRaises(), CheckRefuses(), OtherIndexConflicts(),
    RowSecurity(), TriggerBroken(), ColumnRenamed(), PartitionGone(), TablespaceFull(),
    RejectedRetried(),
)  # fmt: skip
