"""Asks every question on both sides, round after round, and compares what they answer."""

import gc
import time
from collections.abc import Sequence
from datetime import UTC, datetime

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
from ingest.insights import engine, reach


def ask(site: Site, kinds: Sequence[Kind], rounds: int, update: Update) -> list[Asked]:
    """Ask everything so many times on both sides; raise BenchError."""
    ours_of(site, kinds[0])  # DuckDB is loaded
    times: dict[str, tuple[list[float], list[float]]] = {each.name: ([], []) for each in kinds}
    differences: dict[str, list[str]] = {each.name: [] for each in kinds}
    for number in range(rounds):
        for kind in kinds:
            update(description=f"{kind.name}, round {number + 1}")
            ours_s, ours = ours_of(site, kind)
            sql_s, sql = sql_of(site, kind)
            times[kind.name][0].append(ours_s)
            times[kind.name][1].append(sql_s)
            differences[kind.name] += figures.differences(sql, ours)
            if not ours:
                differences[kind.name].append("the answer is empty, which shows nothing")
            update(advance=1)
    return [
        Asked(
            each.name,
            times[each.name][0],
            times[each.name][1],
            None if each.bound_s is None else each.bound_s.value,
            differences[each.name],
        )
        for each in kinds
    ]


def ours_of(site: Site, kind: Kind) -> tuple[float, Figures]:
    """Ask the archive and the tail; return how long that took, from the view on, and the answer.

    Raises BenchError.
    """
    start, end = reach.of(kind.question)
    gc.collect()
    begun_s = time.perf_counter()
    try:
        with site.views.view(app_id=site.app_id, start=start, end=end) as view:
            answer = engine.answer(view.connection, view.sources, kind.question, datetime.now(UTC))
            took_s = time.perf_counter() - begun_s
    except ArchiveTrouble as trouble:
        raise BenchError(f"{kind.name}: {trouble}") from trouble
    return took_s, figures.of(answer)


def sql_of(site: Site, kind: Kind) -> tuple[float, Figures]:
    """Ask Postgres; return how long that took, connecting aside, and the answer.

    Raises BenchError.
    """

    async def work(connection: Session) -> tuple[float, Figures]:
        begun_s = time.perf_counter()
        rows = [
            await connection.fetch(each.sql, site.app_id, *each.arguments)
            for each in kind.statements
        ]
        answer = kind.read(*rows)
        return time.perf_counter() - begun_s, answer

    return database.run(site.place.database_url, work, TIMEOUT_S)
