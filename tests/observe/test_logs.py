"""The logs: JSON lines for machines, text for people, and never a key or a payload."""

import json
import os
import pty
import re
import subprocess
import sys
from datetime import datetime

import pytest

from tests.conftest import StartServer
from tests.http.cases import KEY, Case, post
from tests.http.checks import query
from tests.http.corpus import CASES, SLOW
from tests.support.raw import connected
from tests.support.server import ROOT, Server, environment, wait_for

MARK = "payload-that-no-log-may-hold"
WRONG_KEY = "nk_wrong-key-that-no-log-may-hold"
LOG_SOME = """
import logging, structlog
from ingest.observe import logs

def fail():
    secret = "nk_" + "s" * 20
    raise RuntimeError("a reason")

logs.configure({level!r}, {form!r})
log = structlog.get_logger("test")
log.debug("fine detail")
log.info("something happened", events=3)
logging.getLogger("library").warning("from a %s", "library")
try:
    fail()
except RuntimeError:
    log.exception("it failed")
"""
ANSI = re.compile(rb"\x1b\[[0-9;]*m")


def logged(level: str = "info", form: str = "auto", *, terminal: bool = False) -> str:
    """Return what a process logs that has the logs configured so."""
    command = [sys.executable, "-c", LOG_SOME.format(level=level, form=form)]
    settings = environment() | {"PYTHONPATH": str(ROOT), "TERM": "xterm"}
    if not terminal:
        return subprocess.run(
            command, env=settings, stderr=subprocess.PIPE, check=True, timeout=30, text=True
        ).stderr
    return ANSI.sub(b"", _in_terminal(command, settings)).decode()


def _in_terminal(command: list[str], settings: dict[str, str]) -> bytes:
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(command, env=settings, stderr=theirs) as process:
            os.close(theirs)
            shown = _read_all(ours)
        assert process.returncode == 0
    finally:
        os.close(ours)
    return shown


def _read_all(terminal: int) -> bytes:
    shown = b""
    try:
        while piece := os.read(terminal, 65536):
            shown += piece
    except OSError:  # what Linux says when the other side is closed
        pass
    return shown


@pytest.mark.parametrize(("form", "terminal"), [("auto", False), ("json", True)])
def test_each_line_is_a_json_object_outside_a_terminal(form: str, terminal: bool) -> None:  # noqa: FBT001 - a parameter
    """With a time, a level, a message and its values; a library's lines too."""
    lines = [json.loads(line) for line in logged(form=form, terminal=terminal).splitlines()]
    happened, library, failed = lines
    assert [line["level"] for line in lines] == ["info", "warning", "error"]
    assert all(datetime.fromisoformat(line["timestamp"]).tzinfo for line in lines)
    assert (happened["message"], happened["events"]) == ("something happened", 3)
    assert library["message"] == "from a library"
    assert "RuntimeError: a reason" in failed["exception"]


@pytest.mark.parametrize(("form", "terminal"), [("auto", True), ("text", False)])
def test_lines_are_readable_in_a_terminal(form: str, terminal: bool) -> None:  # noqa: FBT001 - a parameter
    """Text, with the trace as Python prints it."""
    text = logged(form=form, terminal=terminal)
    assert re.search(r"\[info +\] something happened +events=3", text)
    assert "RuntimeError: a reason" in text
    assert "{" not in text


@pytest.mark.parametrize("terminal", [True, False])
def test_trace_shows_no_variables(terminal: bool) -> None:  # noqa: FBT001 - a parameter
    """A frame's variables may be keys and payloads."""
    text = logged(terminal=terminal)
    assert "in fail" in text
    assert "s" * 20 not in text


def test_level_is_a_threshold() -> None:
    """`debug` shows all, `warning` hides what is below it."""
    assert "fine detail" in logged("debug")
    assert "fine detail" not in logged("info")
    assert "something happened" not in logged("warning")
    assert "from a library" in logged("warning")


def marked(case: Case, server: Server) -> bytes:
    """Put the server's key and a header with the mark into a request."""
    return case.with_key(server.key).replace(b"Host:", b"X-Mark: %b\r\nHost:" % MARK.encode())


def test_no_log_line_holds_a_key_or_a_payload(database_url: str, start_server: StartServer) -> None:
    """At level debug, over the whole corpus and over every way in which a commit fails."""
    server = start_server(database_url, log__level="debug")
    for case in CASES:
        if case.name not in SLOW:
            with connected(server.port) as client:
                client.ask(marked(case, server))
    event = b'{"event_name":"%b","event_params":{"a":"%b"}}' % (MARK.encode(), MARK.encode())
    with connected(server.port) as client:
        assert client.ask(post(body=event).replace(KEY, WRONG_KEY.encode())).status == 401
        query(database_url, f"ALTER TABLE events ADD CHECK (event_name <> '{MARK}')")
        assert client.ask(post(body=event).replace(KEY, server.key.encode())).status == 202
        query(database_url, "ALTER TABLE events RENAME TO elsewhere")
        assert client.ask(post(body=event).replace(KEY, server.key.encode())).status == 202
    wait_for(lambda: "Postgres takes no events" in server.logs())
    server.stop()
    lines = [json.loads(line) for line in server.logs().splitlines()]
    assert {"Postgres takes no events", "stopped"} <= {line["message"] for line in lines}
    assert [word for word in (MARK, WRONG_KEY, server.key) if word in server.logs()] == []
    assert "nk_" not in server.logs()


def test_requests_write_no_log_lines(server: Server) -> None:
    """A client can't fill a disk: neither good nor bad requests are logged."""
    before = server.logs()
    for case in CASES:
        if case.name not in SLOW:
            with connected(server.port) as client:
                client.ask(case.with_key(server.key))
    assert server.logs() == before
