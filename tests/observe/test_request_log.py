"""The log of requests: what a line has, how many there are, and how it is switched on."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingest.http.request_log import RequestLog
from ingest.store.apps import App
from tests.conftest import StartServer, make_key
from tests.http.cases import EVENT, HOST, KEY, chunked, join, post
from tests.http.corpus import CASES, SLOW
from tests.support.raw import connected
from tests.support.server import LANES, Server, running_server, wait_for

MARK = "payload-that-no-log-may-hold"
ID = b"X-Request-Id: r-1"
FAST = {"method": "POST", "route": "/event"}


def lines_of(server: Server) -> list[dict[str, Any]]:
    """Return the lines of requests, without their times."""
    lines = [json.loads(line) for line in server.logs().splitlines()]
    found = [line for line in lines if line["message"] == "request"]
    return [
        {name: value for name, value in line.items() if name not in {"timestamp", "message"}}
        for line in found
        if line.pop("level") == "info"
    ]


@pytest.mark.parametrize("fast_lane", LANES)
def test_line_has_what_an_operator_asks_and_no_more(
    database_url: str, start_server: StartServer, fast_lane: str
) -> None:
    """Of each request one, in order, in either lane: with its id, its app, its code."""
    server = start_server(database_url, server__fast_lane=fast_lane, log__requests=1000)
    sent = [
        (post(), {**FAST, "status": 200, "app": "test"}),
        (post(), {**FAST, "status": 200, "app": "test"}),
        (post(ID), {**FAST, "status": 200, "app": "test", "request_id": "r-1"}),
        (post(body=b"{}"), {**FAST, "status": 400, "code": "missing_event_name", "app": "test"}),
        (
            post(ID, body=b"["),
            {**FAST, "status": 400, "code": "invalid_json", "app": "test", "request_id": "r-1"},
        ),
        (chunked(EVENT), {**FAST, "status": 200, "app": "test"}),
        (
            post(ID).replace(KEY, b"nk_wrong"),
            {**FAST, "status": 401, "code": "invalid_api_key", "request_id": "r-1"},
        ),
        (
            post(line=b"POST /events HTTP/1.1", body=b"[{}]"),
            {
                "method": "POST",
                "route": "/events",
                "status": 400,
                "code": "invalid_batch",
                "app": "test",
            },
        ),
        (
            join(b"GET /made-up-by-a-client HTTP/1.1", HOST),
            {"method": "GET", "route": "other", "status": 404, "code": "not_found"},
        ),
        (
            post(b"X-A : b"),
            {"method": "other", "route": "other", "status": 400, "code": "bad_request"},
        ),
    ]
    with connected(server.port) as client:
        for request, line in sent:
            assert client.ask(request.replace(KEY, server.key.encode())).status == line["status"]
    found = lines_of(server)
    times = [line.pop("ms", 0.0) for line in found]
    assert found == [line for _, line in sent]
    assert all(0 <= ms < 30_000 for ms in times)


@pytest.mark.parametrize("fast_lane", LANES)
def test_no_line_holds_a_key_a_query_or_a_payload(
    database_url: str, start_server: StartServer, fast_lane: str
) -> None:
    """Over the whole corpus, with a mark in a header, in the query and in the body."""
    server = start_server(
        database_url, server__fast_lane=fast_lane, log__requests=1000, log__level="debug"
    )
    for case in CASES:
        if case.name not in SLOW:
            request = case.with_key(server.key)
            request = request.replace(b"Host:", b"X-Mark: %b\r\nHost:" % MARK.encode())
            with connected(server.port) as client:
                client.ask(request)
    body = b'{"event_name":"%b"}' % MARK.encode()
    marked = post(body=body, line=b"POST /event?a=%b HTTP/1.1" % MARK.encode())
    identified = post(b"X-Request-Id: " + server.key.encode(), body=body)
    with connected(server.port) as client:
        for request in (marked, identified):
            assert client.ask(request.replace(KEY, server.key.encode())).status == 200
    assert len(lines_of(server)) > 100
    assert [word for word in (MARK, server.key, "nk_") if word in server.logs()] == []


def noted(log: RequestLog, *statuses: int) -> list[dict[str, Any]]:
    """Return the lines that requests with such answers leave."""
    with capture_logs() as lines:
        for status in statuses:
            code = "not_found" if status >= 400 else None
            log.note("POST", "/event", status, code=code, app=App(1, "shop"))
    return [{name: line[name] for name in ("status", "skipped") if name in line} for line in lines]


def test_lines_are_bounded_by_the_second_and_refusals_have_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Successes don't hide them; the next line of a kind tells how many of it were skipped."""
    now_s = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    log = RequestLog(2)
    good, bad = {"status": 200}, {"status": 404}
    assert noted(log, *[200] * 10, *[404] * 5, 200) == [good, good, bad, bad]
    now_s[0] += 1
    assert noted(log, 200, 200, 200, 404) == [
        good | {"skipped": 9},
        good,
        bad | {"skipped": 3},
    ]


def test_log_that_is_off_writes_nothing() -> None:
    """As it is by default."""
    log = RequestLog()
    assert noted(log, 200, 404) == []
    assert not log.has_room


def test_busy_lane_skips_lines_and_answers_all(
    database_url: str, start_server: StartServer
) -> None:
    """Most requests of a second find their head remembered, and are not looked at further."""
    server = start_server(database_url, log__requests=3)
    request = post().replace(KEY, server.key.encode())
    with connected(server.port) as client:
        client.send(request * 400)
        assert {client.read().status for _ in range(400)} == {200}
    assert 3 <= len(lines_of(server)) < 200


def test_hangup_reads_the_log_s_settings_anew(database_url: str, tmp_path: Path) -> None:
    """Level and requests, on and off; what can't be read is said, and changes nothing."""
    file = tmp_path / "config.toml"
    file.write_text("[log]\nrequests = 0\n")
    arguments = ("--config", str(file), "--database-url", database_url)

    with running_server(arguments, make_key(database_url)) as server:

        def hang_up(text: str, word: str) -> None:
            file.write_text(text)
            before = server.logs().count(word)
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: server.logs().count(word) > before)

        server.post({"event_name": "a"})
        assert lines_of(server) == []
        hang_up("[log]\nrequests = 100\n", "read anew")
        wait_for(lambda: server.post({"event_name": "b"}).status_code == 200 and lines_of(server))
        hang_up("[log]\nrequests = many\n", "can't be read anew")
        hang_up("[log]\nlevels = 1\n", "can't be read anew")
        before = len(lines_of(server))
        wait_for(
            lambda: (
                server.post({"event_name": "c"}).status_code == 200
                and len(lines_of(server)) > before
            )
        )
        file.write_text('[log]\nlevel = "warning"\nrequests = 100\n')
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: _is_silent(server))
        wait_for(lambda: len(server.workers()) == 1)
        stopped = server.logs().count("stopped")  # of workers that were replaced
        assert server.stop() == 0
        assert server.logs().count("stopped") == stopped


def _is_silent(server: Server) -> bool:
    before = len(lines_of(server))
    assert server.get("/healthz").status_code == 200
    return len(lines_of(server)) == before
