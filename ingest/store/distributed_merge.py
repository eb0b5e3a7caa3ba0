"""Merging where an app's events are on one node of several: looked up between constants, by app.

A join with the temporary table, which is the coordinator's, reaches every shard or is refused; of
an app and some ids Citus knows the one node to ask. Nor do nodes share transaction numbers: what
this transaction has inserted is told by the column `xact`, which the coordinator fills.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ingest.store.copier import Copier, Fields, query
from ingest.store.merge import (
    BOUNDED,
    DAYS,
    EARLIER_PARAMS_BYTES_MAX,
    PARAMS,
    RESERVE_BY_APP,
    STAGING,
    Earlier,
    Merge,
    insert_counted,
    key_of,
    within,
)
from ingest.store.partition_map import IdRange, PartitionMap
from ingest.store.table import Table

_STAGED: Final = (
    f"SELECT app_id, id, coalesce(idempotency_key, id), idempotency_key IS NOT NULL FROM {STAGING}"  # noqa: S608
)
_XACT: Final = "SELECT txid_current()"
_STORED: Final = (
    "SELECT id FROM events WHERE app_id = {app_id} AND id = ANY ('{{{ids}}}') AND ({within})"
)
_FOUND: Final = (
    f"SELECT {PARAMS} AS params, {{texts}} FROM events"  # noqa: S608
    " WHERE app_id = {app_id} AND id = ANY ('{{{ids}}}') AND ({within})"
    " AND xact IS DISTINCT FROM {xact}"
)


class _Staged(NamedTuple):
    """The rows of one app, by id: what each is known by. Several may be one event."""

    app_id: str
    keys: Mapping[bytes, list[bytes]]

    @property
    def ids(self) -> str:
        return ",".join(id_.decode() for id_ in self.keys)


class DistributedMerge(Merge):
    """The statements for a table that Citus has distributed by app."""

    def __init__(self, begin: str, table: Table, partitions: PartitionMap) -> None:
        super().__init__(begin, table, partitions)
        self._reserve_and_look = query(RESERVE_BY_APP + DAYS)
        self._insert = query(insert_counted(table))

    async def _store(self, copier: Copier) -> int:
        return len(await copier.fetch(self._insert))

    async def count_missing(self, copier: Copier, ranges: Sequence[IdRange]) -> int:
        """Return how many rows are not there behind `run`."""
        missing = 0
        for staged in await _staged(copier):
            sql = _STORED.format(app_id=staged.app_id, ids=staged.ids, within=within(ranges))
            stored = {id_ for (id_,) in await copier.fetch(query(sql))}
            missing += len(staged.keys.keys() - stored)
        return missing

    async def ask(self, copier: Copier, ranges: Sequence[IdRange]) -> list[Earlier]:
        """Return the rows that `run` found there."""
        ((xact,),) = await copier.fetch(query(_XACT))
        earlier: list[Earlier] = []
        bytes_left = EARLIER_PARAMS_BYTES_MAX
        for staged in await _staged(copier):
            found = _FOUND.format(
                texts=self._texts,
                app_id=staged.app_id,
                ids=staged.ids,
                within=within(ranges),
                xact=int(xact or b""),
            )
            rows = await copier.fetch(self._bounded(found, bytes_left))
            bytes_left -= sum(len(params or b"") for _, params, *_ in rows)
            earlier += self._earlier(staged, rows)
        return earlier

    def _bounded(self, found: str, bytes_max: int) -> bytes:
        sql = BOUNDED.format(
            known_by="id", names=self._names, bytes_max=bytes_max, found=found, order="id"
        )
        return query(sql)

    def _earlier(self, staged: _Staged, rows: Iterable[Fields]) -> list[Earlier]:
        told = ((staged.keys[id_ or b""], self._stored(stored)) for id_, *stored in rows)
        return [Earlier(key, stored) for keys, stored in told for key in keys]


async def _staged(copier: Copier) -> list[_Staged]:
    by_app: defaultdict[str, defaultdict[bytes, list[bytes]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for app_id, id_, key, has_idempotency_key in await copier.fetch(query(_STAGED)):
        app = (app_id or b"").decode()
        by_app[app][id_ or b""].append(key_of(app_id, key, has_idempotency_key))
    return [_Staged(app_id, keys) for app_id, keys in by_app.items()]
