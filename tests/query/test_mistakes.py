"""`nonito query` says what can't be asked or answered, and ends when it is told to."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import asyncpg
import pytest

from tests.archive.archiving import archive
from tests.conftest import make_key
from tests.query.asking import local, remote
from tests.query.conftest import Shop
from tests.support.command import TIMEOUT_S, Ended, Nonito, complaint
from tests.support.server import COMMAND, ROOT, environment


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("trends", "--from", "yesterday"), "--from: write a day as"),
        (("trends", "--from", "2026-02-01", "--to", "2026-01-01"), "--to: it must be later than"),
        (("trends", "--interval", "year"), "--interval: write one of hour"),
        (("trends", "--measure", "sum"), "--measure: write count"),
        (("trends", "--breakdown", "a..b"), "--breakdown: 'params.a..b' is no field"),
        (("trends", "--where", "plan"), "--where: write FIELD"),
        (("trends", "--timezone", "Mars/Base"), "--timezone: "),
        (("trends", "--top", "0"), "--top: write a whole number"),
        (("trends", "--from", "2020-01-01", "--interval", "hour"), "begins with --from=20"),
        (("funnel", "--step", "a"), "--step: give it 2 to 10"),
        (("events", "--before", "x"), "--before: write a day as"),
        (("events", "--limit", "x\x1b"), "--limit: write a whole number"),
        (("trends", *(["--event", "x"] * 11)), "events: 11, where there may be 1 to 10"),
        (("person", "x", "--limit", "0"), "--limit: write a whole number"),
    ],
)
def test_wrong_option_is_named_as_it_was_given(
    shop: Shop, nonito: Nonito, arguments: tuple[str, ...], told: str
) -> None:
    """In the API's words, and the same ones from here and from a server."""
    here, there = (complaint(each(shop, nonito, *arguments)) for each in (local, remote))
    assert told in here
    assert here.rpartition("--from=")[0] == there.rpartition("--from=")[0]
    assert "\x1b" not in here


def test_app_is_to_be_named_where_there_are_several(shop: Shop, nonito: Nonito) -> None:
    """And a name that none has is no app."""
    told = complaint(nonito("query", "names", settings=shop.settings))
    assert "--app NAME" in told
    assert "nonito apps list" in told
    assert "no app 'x'" in complaint(local(shop, nonito, "names", app="x"))


def test_only_app_needs_no_name_and_no_archive_is_said(
    database_url: str,
    empty_url: str,
    nonito: Nonito,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """What is missing comes one after the other: an app, an archive, DuckDB, the database."""
    at = {"database.url": database_url, "archive.path": tmp_path}
    assert "no app yet" in complaint(nonito("query", "names", settings=at))
    make_key(database_url, "only")
    assert "no archive was made yet" in complaint(nonito("query", "names", settings=at))
    monkeypatch.setitem(sys.modules, "duckdb", None)
    told = complaint(nonito("query", "names", settings=at))
    assert "pip install 'nonito-events[insights]'" in told
    not_migrated = {"database.url": empty_url}
    assert "the database failed: " in complaint(nonito("query", "names", settings=not_migrated))
    nowhere = {"database.url": "postgresql://x@127.0.0.1:1/x"}
    assert "refused" in complaint(nonito("query", "names", settings=nowhere))


def test_question_that_takes_too_long_is_ended(shop: Shop, nonito: Nonito) -> None:
    """After the time that a server has for one."""
    settings = {**shop.settings, "dashboard.question_timeout_s": 0.001}
    told = complaint(nonito("query", "trends", "--app", "one", settings=settings))
    assert "longer than 0.001 s; a range that fits begins with --from=" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--json", "--csv"), "--json and --csv"),
        (("--key", "nr_x"), "--server URL"),
        (("--server", "http://127.0.0.1:1"), "NONITO_READ_KEY"),
        (("--server", "http://127.0.0.1:1", "--app", "one"), "--app"),
    ],
)
def test_options_that_contradict_each_other_are_one_line(
    nonito: Nonito, arguments: Sequence[str], told: str
) -> None:
    """Before anything is asked."""
    assert told in complaint(nonito("query", "names", *arguments))


def test_ctrl_c_ends_a_question(database_url: str, tmp_path: Path) -> None:
    """With 130, also while Postgres keeps it waiting: no thread is waited for."""
    make_key(database_url)
    archive(database_url, tmp_path)
    settings = {"database.url": database_url, "archive.path": tmp_path}
    ended = asyncio.run(_interrupt_a_wait(database_url, settings))
    assert (ended.returncode, ended.stderr) == (130, "")


async def _interrupt_a_wait(url: str, settings: Mapping[str, object]) -> Ended:
    """Send Ctrl-C to a question as soon as it waits for a lock, which it does for some seconds."""
    waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'events'::regclass"
    connection = await asyncpg.connect(url, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            with _asking(settings) as process:
                async with asyncio.timeout(TIMEOUT_S):
                    while not await connection.fetch(waiting):  # noqa: ASYNC110 - none tells
                        await asyncio.sleep(0.01)
                process.send_signal(signal.SIGINT)
                told = await asyncio.to_thread(process.communicate, timeout=TIMEOUT_S)
    finally:
        await connection.close()
    return Ended((), process.returncode, *told)


def _asking(settings: Mapping[str, object]) -> subprocess.Popen[str]:
    """Start a command that heeds Ctrl-C also where a shell has these tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [*COMMAND, "query", "names"],
            cwd=ROOT / "tests",
            env=environment(settings) | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
