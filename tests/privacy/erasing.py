"""What the tests of erasures share: somebody is erased, in this process, and what is left."""

import asyncio
from contextlib import suppress
from pathlib import Path

import duckdb
from msgspec.structs import replace

from ingest.archive.view import views_of
from ingest.config import Config
from ingest.privacy.duty import Duty
from ingest.privacy.eraser import Eraser, Unfinished
from ingest.privacy.search import Found
from ingest.store import app_settings, erasures
from ingest.store.erasures import Erasure
from ingest.store.kept import Kept
from tests.archive.archiving import ask, assert_exact
from tests.support.postgres import fetch, make_postgres


def config_of(path: Path) -> Config:
    """Return settings of a server whose archive and spool are there, and who waits for nobody."""
    config = Config()
    return replace(
        config,
        archive=replace(config.archive, path=str(path), memory_max=128 << 20),
        spool=replace(config.spool, path=str(path.parent / "spool")),
        dashboard=replace(config.dashboard, question_timeout_s=0.1),
    )


async def _erase(url: str, path: Path, person: str, app_id: int) -> tuple[Erasure, Found]:
    config = config_of(path)
    kept = Kept(make_postgres(url), 60.0)
    eraser = Eraser(kept, url, config, 2)
    views = views_of(config, url)
    try:
        app = await kept.read(lambda each: app_settings.find(each, app_id))
        assert app is not None
        who = await eraser.search.who(views.view, app, person)
        erasure = await kept.change(lambda each: erasures.ask(each, app_id, who.ids, "a test"))
        taken = await eraser.take(erasure.id)
        if taken is None:
            raise Unfinished("another one is at one")
        return await eraser.erase(taken, lambda *_: None)
    finally:
        views.rest()
        await kept.rest()


def erase(
    url: str,
    path: Path,
    person: str,
    app_id: int = 1,
    *,
    has_archive: bool = True,
    is_quiet: bool = True,
) -> Erasure:
    """Erase somebody; return what was done. The search has found nothing, and all is in order."""
    done, found = asyncio.run(_erase(url, path, person, app_id))
    assert found.is_nothing
    assert done.done_at is not None
    if has_archive and is_quiet:
        assert_exact(url, path)
    return done


def everywhere(url: str, path: Path) -> str:
    """Return all text that is in any table, and in any file below the archive's directory."""
    tables = ask(
        url,
        "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p')"
        " AND relnamespace = 'public'::regnamespace AND NOT relispartition",
    )
    texts = [str(ask(url, f"SELECT * FROM {table} AS t")) for (table,) in tables]
    for file in path.parent.rglob("*"):
        if file.is_file():
            texts.append(file.read_bytes().decode("latin-1"))
            if ".parquet" in file.name:
                texts.append(str(duckdb.read_parquet(str(file)).fetchall()))
    return "\n".join(texts)


def run_duty(url: str, path: Path, until_empty: str) -> None:
    """Do what an insights process does until there is no row of a question any more."""

    async def work() -> None:
        duty = Duty(make_postgres(url), url, config_of(path), asyncio.Event())
        task = asyncio.create_task(duty.run())
        try:
            async with asyncio.timeout(60):
                while await fetch(url, until_empty):  # noqa: ASYNC110 - of another process, in effect
                    await asyncio.sleep(0.05)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.1)  # a connection that was cut in the middle closes

    asyncio.run(work())
