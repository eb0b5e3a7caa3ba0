"""Asks every question on both sides, round after round, and compares what they answer."""

import gc
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from bench.console import Update
from bench.errors import BenchError
from bench.insights import figures
from bench.insights.figures import Figures
from bench.insights.filling import TIMEOUT_S, Site
from bench.insights.questions import Kind
from bench.insights.result import Asked
from bench.load import database
from bench.load.database import Session
from ingest.archive.failures import ArchiveTrouble
from ingest.archive.scope import All, Scope
from ingest.insights import engine, reach


class _Answered(NamedTuple):
    """One answer of one side."""

    figures: Figures
    took_s: float
    cpu_s: float = 0.0
    """Of this process."""


class _Pair(NamedTuple):
    """Both answers to one question."""

    ours: _Answered
    sql: _Answered

    def differences(self) -> list[str]:
        """Return why they show nothing; empty if they are equal."""
        if not self.sql.figures:
            return ["SQL answers nothing, which shows nothing"]
        return figures.differences(self.sql.figures, self.ours.figures)


def ask(site: Site, kinds: Sequence[Kind], rounds: int, update: Update) -> list[Asked]:
    """Ask everything so many times on both sides; raise BenchError."""
    _ask_ours(site, kinds[0])  # DuckDB is loaded
    found: dict[str, list[_Pair]] = defaultdict(list)
    for number in range(rounds):
        for kind in kinds:
            update(description=f"{kind.name}, round {number + 1}")
            found[kind.name].append(_Pair(_ask_ours(site, kind), _ask_sql(site, kind)))
            update(advance=1)
    return [_asked(kind, found[kind.name]) for kind in kinds]


def _asked(kind: Kind, pairs: Sequence[_Pair]) -> Asked:
    return Asked(
        kind.name,
        [each.ours.took_s for each in pairs],
        [each.ours.cpu_s for each in pairs],
        [each.sql.took_s for each in pairs],
        None if kind.bound_s is None else kind.bound_s.value,
        [line for each in pairs for line in each.differences()],
    )


def _ask_ours(site: Site, kind: Kind) -> _Answered:
    """Ask the archive and the tail; it takes from the opening of the view to the whole answer."""
    gc.collect()
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    scope = Scope(
        *reach.of(kind.question),
        All(reach.has_params(kind.question)),
        reach.has_people(kind.question),
    )
    try:
        with site.views.view(site.app_id, scope) as view:
            now = datetime.now(UTC)
            answer = engine.answer(
                view.connection, view.sources, kind.question, now, view.known, view.links
            )
            took_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
    except ArchiveTrouble as trouble:
        raise BenchError(f"{kind.name}: {trouble}") from trouble
    return _Answered(figures.of(answer), took_s, cpu_s)


def _ask_sql(site: Site, kind: Kind) -> _Answered:
    """Ask Postgres; it takes from the question to the figures, connecting aside."""

    async def work(connection: Session) -> _Answered:
        begun_s = time.perf_counter()
        rows = [
            await connection.fetch(each.sql, site.app_id, *each.arguments)
            for each in kind.statements
        ]
        answer = kind.read(*rows)
        return _Answered(answer, time.perf_counter() - begun_s)

    return database.run(site.place.database_url, work, TIMEOUT_S)
