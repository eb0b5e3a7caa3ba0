"""`nonito spool`: shows what waits on disk, without a Postgres, beside a server or without one."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest

from ingest.events import copy_format
from ingest.events.ids import IdSequence
from ingest.spool import Spool
from tests.support.command import Nonito, complaint, run, succeed
from tests.support.rows import tail
from tests.support.server import COMMAND, ROOT, environment

NAME = "\x1b[2J\x9b\u202e\x7fÜ\U0001f600"
PARAMS = '{ "n":123456789012345678901234567890.5,\r\n\t"text":"\x7f\x9b\u202e\U000e0001 ä日😀\\n" }'
CREATED_US = 821_361_600_123_000  # 2026-01-10T12:00:00.123Z
_ids = IdSequence()


def make_rows(count: int, params: str = "{}", name: str = "test") -> list[bytes]:
    """Return COPY tuples of app 7."""
    made = []
    for _ in range(count):
        raw_id, _, moment = _ids.next()
        head = copy_format.row_head(7)
        made.append(copy_format.row(head, raw_id, name.encode(), params.encode(), moment.row))
    return made


def open_spool(directory: Path) -> Spool:
    """Return a spool in a directory, as a server has it."""
    return Spool(directory, bytes_max=1 << 26, free_bytes_min=0, timeout_s=10)


def spool(directory: Path, *batches: Sequence[bytes]) -> None:
    """Spool batches, as a server that has ended did."""

    async def work() -> None:
        spool = open_spool(directory)
        await spool.open()
        for batch in batches:
            await spool.append(batch)
        await spool.close()

    asyncio.run(work())


def settings(directory: Path) -> dict[str, object]:
    """Return the setting that names the directory, and a Postgres that is nowhere."""
    return {"spool.path": directory, "database.url": "postgresql://u@127.0.0.1:1/x"}


def test_status_says_what_waits(nonito: Nonito, tmp_path: Path) -> None:
    """File by file: events, bytes, since when."""
    spool(tmp_path, make_rows(3), make_rows(4))
    ended = nonito("spool", "status", settings=settings(tmp_path))
    head, line = succeed(ended).splitlines()
    assert head.split() == ["FILE", "EVENTS", "BYTES", "OLDEST", "DAMAGED", "MISSING"]
    name, events, size, oldest, damaged, missing = line.split()
    assert (tmp_path / name).is_file()
    assert (events, damaged, missing) == ("7", "0", "0")
    assert int(size) > 7 * 40
    assert abs((datetime.now().astimezone() - datetime.fromisoformat(oldest)).total_seconds()) < 60
    assert ended.stderr == f"7 events wait in {tmp_path}.\n"


@pytest.mark.parametrize("place", ["", "nowhere"])
def test_empty_and_missing_spools_hold_nothing(nonito: Nonito, tmp_path: Path, place: str) -> None:
    """Which is no failure, and makes no directory."""
    ended = nonito("spool", "status", settings=settings(tmp_path / place))
    assert succeed(ended) == ""
    assert ended.stderr == f"0 events wait in {tmp_path / place}.\n"
    assert succeed(nonito("spool", "export", settings=settings(tmp_path / place))) == ""
    assert list(tmp_path.iterdir()) == []


def test_export_writes_every_event_as_it_was_sent(nonito: Nonito, tmp_path: Path) -> None:
    """One line of JSON each, in the order of arrival, every digit of a number kept."""
    spool(tmp_path, make_rows(1, PARAMS, NAME), make_rows(2))
    lines = succeed(nonito("spool", "export", settings=settings(tmp_path))).split("\n")
    assert lines.pop() == ""
    assert '"event_params":{ "n":123456789012345678901234567890.5,   "text":' in lines[0]
    found = [json.loads(line) for line in lines]
    assert [list(event) for event in found] == [
        ["app_id", "id", "event_name", "event_params", "created_at"]
    ] * 3
    assert (found[0]["app_id"], found[0]["event_name"]) == (7, NAME)
    assert found[0]["event_params"] == json.loads(PARAMS)
    assert [event["id"] for event in found] == sorted(event["id"] for event in found)
    assert datetime.fromisoformat(found[0]["created_at"]).tzinfo is not None


def test_export_has_what_only_some_clients_send(nonito: Nonito, tmp_path: Path) -> None:
    """The time of the client's, and the hash of its key."""
    key = UUID("c5d7a1f0-9b1e-4b52-8f3e-ffffffffffff")
    tails = [
        tail(CREATED_US, CREATED_US - 1, None),
        tail(CREATED_US, None, key.bytes),
        tail(CREATED_US, 0, key.bytes),
    ]
    head = copy_format.row_head(7)
    made = [copy_format.row(head, _ids.next()[0], b"test", b"{}", end) for end in tails]
    spool(tmp_path, made)
    lines = succeed(nonito("spool", "export", settings=settings(tmp_path))).splitlines()
    found = [dict(list(json.loads(line).items())[5:]) for line in lines]
    assert found == [
        {"timestamp": "2026-01-10T12:00:00.122999Z"},
        {"idempotency_key": str(key)},
        {"timestamp": "2000-01-01T00:00:00.000Z", "idempotency_key": str(key)},
    ]


def test_hostile_text_does_not_reach_the_terminal(nonito: Nonito, tmp_path: Path) -> None:
    """It is written as JSON's escapes; letters of any language stay letters in the parameters."""
    spool(tmp_path, make_rows(1, PARAMS, NAME))
    (line,) = succeed(nonito("spool", "export", settings=settings(tmp_path))).splitlines()
    assert line.isprintable()
    assert "ä日😀" in line


async def test_both_work_while_a_server_has_the_spool(tmp_path: Path) -> None:
    """And see what it appended last; it goes on undisturbed."""
    held = open_spool(tmp_path)
    await held.open()
    await held.append(make_rows(5))
    shown = await asyncio.to_thread(run, "spool", "status", settings=settings(tmp_path))
    assert shown.stderr == f"5 events wait in {tmp_path}.\n"
    shown = await asyncio.to_thread(run, "spool", "export", settings=settings(tmp_path))
    assert len(succeed(shown).splitlines()) == 5
    await held.append(make_rows(5))
    batches = await held.oldest(100)
    assert sum(len(batch.rows) for batch in batches) == 10
    await held.remove(batches)
    await held.close()


async def leave_killed(directory: Path, *batches: Sequence[bytes]) -> None:
    """Leave a directory as a server does that is killed, and half of what its log holds."""
    held = open_spool(directory / "running")
    await held.open()
    for batch in batches:
        await held.append(batch)
    shutil.copytree(directory / "running", directory / "killed")
    await held.close()
    (log,) = (directory / "killed").glob("*-wal")
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size // 2)


def test_missing_events_are_told_of(nonito: Nonito, tmp_path: Path) -> None:
    """By both, file by file; the exit code of an export is 1."""
    asyncio.run(leave_killed(tmp_path, *(make_rows(2) for _ in range(20))))
    killed = settings(tmp_path / "killed")
    _, line = succeed(nonito("spool", "status", settings=killed)).splitlines()
    _, events, *_, damaged, missing = line.split()
    assert int(events) + int(missing) == 40
    assert (damaged, int(missing) > 0) == ("0", True)
    ended = nonito("spool", "export", settings=killed)
    assert (ended.returncode, len(ended.stdout.splitlines())) == (1, int(events))
    assert f"{missing} are missing" in ended.stderr


def test_damaged_events_are_left_out_and_told_of(nonito: Nonito, tmp_path: Path) -> None:
    """The rest is exported; the exit code is 1."""
    spool(tmp_path, make_rows(2), make_rows(3, '{"mark":"here"}'), make_rows(2))
    flipped = 0
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        flipped += content.count(b'"here"')
        path.write_bytes(content.replace(b'"here"', b'"hers"', 1))
    assert flipped == 3
    ended = nonito("spool", "export", settings=settings(tmp_path))
    assert len(ended.stdout.splitlines()) == 4
    assert "3 damaged events were left out" in complaint(ended)


def test_file_that_can_not_be_read_is_told_of(nonito: Nonito, tmp_path: Path) -> None:
    """By its name, in both commands; the others are read."""
    spool(tmp_path, make_rows(2))
    bad = tmp_path / "events-v1-0000000000001-00000000.db"
    bad.write_bytes(b"no database " * 1000)
    first = succeed(nonito("spool", "status", settings=settings(tmp_path))).splitlines()[1]
    assert first.split()[::4] == [bad.name, "unreadable"]
    ended = nonito("spool", "export", settings=settings(tmp_path))
    assert len(ended.stdout.splitlines()) == 2
    assert bad.name in complaint(ended)


def test_export_into_head_ends_quietly(tmp_path: Path) -> None:
    """Whoever reads may stop reading."""
    spool(tmp_path, *(make_rows(1000, '{"text":"' + "x" * 1000 + '"}') for _ in range(3)))
    export = subprocess.Popen(
        [*COMMAND, "spool", "export"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT / "tests",
        env=environment(settings(tmp_path)) | {"PYTHONPATH": str(ROOT)},
    )
    with export:
        assert export.stdout is not None
        assert export.stderr is not None
        json.loads(export.stdout.readline())
        export.stdout.close()
        assert export.stderr.read() == b""
        assert export.wait(30) == 1


def test_directory_that_can_not_be_read_is_one_line(nonito: Nonito, tmp_path: Path) -> None:
    """A file in its place, for example."""
    path = tmp_path / "file"
    path.touch()
    for action in ("status", "export"):
        assert str(path) in complaint(nonito("spool", action, settings=settings(path)))
