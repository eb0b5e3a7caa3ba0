"""The `load` command against a real server: its figures, its files, and its verdict."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from bench.cli import command
from bench.errors import BenchError
from tests.bench.fakes import answering, ok
from tests.conftest import make_key
from tests.support.postgres import fetch, meddle
from tests.support.server import Server

pytestmark = pytest.mark.slow

VOID = 3
SHORT = ("--seconds", "0.5", "--warm-up", "0.1")
SHORTER = ("--seconds", "0.2", "--warm-up", "0")

DELETE_A_ROW = "DELETE FROM events WHERE id = (SELECT id FROM inserted ORDER BY id LIMIT 1)"
CHANGE_A_ROW = (
    'UPDATE events SET event_params = event_params || \'{"page": "/home/"}\''
    " WHERE id = (SELECT id FROM inserted ORDER BY id LIMIT 1)"
)


def load(*arguments: str) -> Result:
    """Run `python -m bench load`."""
    result = CliRunner().invoke(command, ["load", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def shared(server: Server, url: str) -> tuple[str, ...]:
    """Return the options that point the command at a server of the test's."""
    return ("--url", server.url, "--key", server.key, "--database-url", url)


def test_closed_loop_is_measured_verified_and_saved(
    shared_server: Server, shared_database_url: str, tmp_path: Path
) -> None:
    """Figures on the screen and in JSON, a plot, and nothing amiss."""
    json_path, plot_path = tmp_path / "run.json", tmp_path / "run.png"
    result = load(
        *shared(shared_server, shared_database_url),
        *SHORT,
        *("--connections", "16", "--payload", "mix", "--verify"),
        *("--json", str(json_path), "--plot", str(plot_path)),
    )
    assert result.exit_code == 0, result.output
    assert "verified" in result.output
    found = json.loads(json_path.read_bytes())
    assert found["events_per_s"] > 100
    assert set(found["statuses"]) == {"200"}
    assert found["verified"]["balance"] is True
    assert found["verified"]["acknowledged"] > found["statuses"]["200"]  # and the warm-up
    latency = found["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert sum(point["requests"] for point in found["over_time"]) >= found["statuses"]["200"]
    assert found["server"]["cpu_s_per_100k_events"] > 0
    assert found["server"]["rss_bytes"] > 10_000_000
    assert found["postgres"]["rss_bytes"] > 1_000_000
    assert plot_path.read_bytes().startswith(b"\x89PNG")


def test_open_loop_with_two_processes_keeps_its_rate(
    shared_database_url: str, tmp_path: Path
) -> None:
    """Each due request is sent once, by one of the two, here to a server of the command's own."""
    json_path = tmp_path / "run.json"
    result = load(
        *("--database-url", shared_database_url),
        *SHORT,
        *("--rate", "400", "--connections", "64", "--processes", "2", "--verify"),
        *("--json", str(json_path)),
    )
    assert result.exit_code == 0, result.output
    found = json.loads(json_path.read_bytes())
    assert found["verified"]["acknowledged"] == 400 * 0.6
    assert sum(point["requests"] for point in found["over_time"]) == 400 * 0.5


@pytest.mark.parametrize(
    ("action", "message"),
    [(DELETE_A_ROW, "not in Postgres"), (CHANGE_A_ROW, "not what was sent")],
    ids=["deleted", "changed"],
)
def test_run_is_void_when_a_row_is_not_what_was_acknowledged(
    server: Server, database_url: str, action: str, message: str
) -> None:
    """A row that is gone, or altered: VOID, and an exit code that a script sees."""
    meddle(database_url, action)
    result = load(*shared(server, database_url), *SHORTER, "--connections", "4", "--verify")
    assert result.exit_code == VOID
    assert "VOID" in result.output
    assert message in result.output


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (lambda _: "01a20775-3827-7f9a-a84b-77c69c54c242", "acknowledged more than once"),
        (lambda number: f"no-uuid-{number:028}", "without an id"),
        (lambda number: str(UUID(int=number)), "not in Postgres"),
    ],
    ids=["doubled", "no-id", "not-stored"],
)
def test_run_is_void_when_an_acknowledgement_is_wrong(
    database_url: str, ids: Callable[[int], str], message: str
) -> None:
    """A server that acknowledges one event again and again, or nothing at all."""
    key = make_key(database_url)
    asyncio.run(_store_the_one_event(database_url))

    async def lie(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(ok(b'{"data":[{"id":"%b"}]}' % ids(number).encode()))

    with answering(lie) as endpoint:
        url = f"http://127.0.0.1:{endpoint.port}"
        arguments = ("--url", url, "--key", key, "--database-url", database_url)
        result = load(*arguments, *SHORTER, "--connections", "1", "--verify")
    assert result.exit_code == VOID
    assert message in result.output


async def _store_the_one_event(url: str) -> None:
    await fetch(
        url,
        "INSERT INTO events SELECT id, '01a20775-3827-7f9a-a84b-77c69c54c242', 'button_click',"
        """ '{"user_id": "12345", "button_id": "signup_btn", "page": "/home"}', now() FROM apps""",
    )


def test_run_is_void_when_nothing_was_acknowledged(
    shared_server: Server, shared_database_url: str
) -> None:
    """A wrong key: every answer is a 401, and no audit of nothing looks like a success."""
    arguments = ("--url", shared_server.url, "--key", "nk_wrong")
    result = load(*arguments, "--database-url", shared_database_url, *SHORTER, "--verify")
    assert result.exit_code == VOID
    assert "401" in result.output


def test_verify_without_a_database_says_what_is_missing(shared_server: Server) -> None:
    """It does not silently leave the audit out."""
    with pytest.raises(BenchError, match="--database-url"):
        load("--url", shared_server.url, "--key", shared_server.key, *SHORT, "--verify")


def test_what_can_be_mended_is_one_line_and_exit_code_1() -> None:
    """No server at the address: the command says so, without a stack trace."""
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "load", "--url", "http://127.0.0.1:1", "--key", "nk_x"],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(b"bench: 127.0.0.1:1")
    assert ended.stderr.count(b"\n") == 1
