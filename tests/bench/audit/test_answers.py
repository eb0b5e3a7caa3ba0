"""The audit's reading of answers: each event of a request gets what is its own, or none."""

from pathlib import Path
from random import Random

import orjson

from bench.audit.answers import file_answer
from bench.audit.history import read
from bench.audit.recorder import Recorder
from bench.audit.workload import GOOD, SentEvent, Workload
from ingest.errors import Code, Refusal

WORKLOAD = Workload("run", 1)


def test_answer_of_another_request_is_mixed_up(tmp_path: Path) -> None:
    """Only the request's own name and parameters, byte for byte, are its answer."""
    recorder = Recorder(tmp_path / "history")
    one, other = (WORKLOAD.good(1, number, Random(1)) for number in (1, 2))
    recorder.sent(one)
    recorder.sent(other)
    event_id = "01a20775-3827-7f9a-a84b-77c69c54c242"
    start = b'{"status":"success","data":[{"id":"' + event_id.encode()
    end = b'2026-01-10T12:00:00.123Z"}]}'
    assert file_answer(recorder, (one,), 200, start + one.echo + end) == event_id
    assert file_answer(recorder, (other,), 200, start + one.echo + end) is None
    records = read(recorder.path).records
    assert (records[one.token].status, records[one.token].id) == (200, event_id)
    assert records[one.token].created_at == "2026-01-10T12:00:00.123Z"
    assert not records[other.token].is_acked


def test_500_that_leaves_it_open_is_unknown(tmp_path: Path) -> None:
    """And one that says that nothing is stored is a refusal."""
    recorder = Recorder(tmp_path / "history")
    texts = {1: "it may or may not be stored.", 2: "The event was not stored."}
    for number, text in texts.items():
        request = WORKLOAD.good(1, number, Random(1))
        recorder.sent(request)
        body = Refusal(Code.DATABASE_ERROR, text).body()
        file_answer(recorder, (request,), 500, body)
    records = list(read(recorder.path).records.values())
    assert [(each.status, each.code) for each in records] == [
        (0, "500 database_error"),
        (500, "database_error"),
    ]
    assert all(each.expected == GOOD for each in records)


def batch_body(requests: list[SentEvent], ids: list[str], status: str = "success") -> bytes:
    """Return the answer to a batch, without errors."""
    rows = [
        b'{"id":"%b%b2026-01-10T12:00:00.123Z"}' % (event_id.encode(), request.echo)
        for event_id, request in zip(ids, requests, strict=True)
    ]
    return b'{"status":"%b","data":[%b]}' % (status.encode(), b",".join(rows))


def filed(directory: Path, requests: list[SentEvent], status: int, body: bytes) -> list[str]:
    """Return what became of each event of a batch with this answer, shortly."""
    recorder = Recorder(directory / f"history-{len(list(directory.iterdir()))}")
    for request in requests:
        recorder.sent(request)
    file_answer(recorder, tuple(requests), status, body)
    records = read(recorder.path).records
    shown = (records[each.token] for each in requests)
    return [f"{each.status} {each.id[-1:] or each.code}".strip() for each in shown]


def test_each_event_of_a_batch_has_its_own_row_or_its_own_error(tmp_path: Path) -> None:
    """In the order in which they were sent; whatever is not so is mixed up."""
    sent = [WORKLOAD.good(1, number, Random(number)) for number in range(3)]
    ids = [f"01a20775-3827-7f9a-a84b-77c69c54c24{number}" for number in range(3)]
    whole = batch_body(sent, ids)
    assert filed(tmp_path, sent, 200, whole) == ["200 0", "200 1", "200 2"]
    assert filed(tmp_path, sent, 202, whole) == ["202 0", "202 1", "202 2"]
    swapped = batch_body([sent[0], sent[2], sent[1]], ids)
    assert filed(tmp_path, sent, 200, swapped) == ["200 0", "0 mixed up", "0 mixed up"]
    for wrong in (batch_body(sent[:2], ids[:2]), whole + b" ", whole.replace(b"]", b"")):
        assert "0 mixed up" in filed(tmp_path, sent, 200, wrong)
    assert "0 mixed up" in filed(tmp_path, sent[:2], 200, whole)
    assert filed(tmp_path, sent, 200, b"{") == ["0 mixed up"] * 3
    assert filed(tmp_path, sent, 404, b"{") == ["0 mixed up"] * 3


def error(index: int, code: str = "invalid_json", message: str = "no") -> dict[str, str | int]:
    """Return an event's error as an answer has it."""
    return {"index": index, "code": code, "message": message}


def test_errors_of_a_batch_belong_to_their_events(tmp_path: Path) -> None:
    """By index, each once, and not to all of them."""
    sent = [WORKLOAD.good(1, number, Random(number)) for number in range(3)]
    text = batch_body(sent[1:2], ["01a20775-3827-7f9a-a84b-77c69c54c247"], "partial")[:-1]
    unknown = error(2, "database_error", "it may or may not be stored")

    def told(*errors: dict[str, str | int]) -> list[str]:
        return filed(tmp_path, sent, 207, text + b',"errors":%b}' % orjson.dumps(errors))

    assert told(error(0), unknown) == ["400 invalid_json", "202 7", "0 500 database_error"]
    for wrong in ((), (error(0), error(0)), (error(0), error(3)), (error(0, "no such code"),)):
        assert told(*wrong) == ["0 mixed up"] * 3


def test_batch_that_is_refused_is_refused_for_everybody(tmp_path: Path) -> None:
    """With one error for the document, or one for each event."""
    sent = [WORKLOAD.good(1, number, Random(number)) for number in range(3)]
    whole = {"status": "error", "error": {"code": "overloaded", "message": "full"}}

    def told(*errors: dict[str, str | int]) -> list[str]:
        return filed(tmp_path, sent, 400, orjson.dumps(whole | {"errors": errors}))

    assert filed(tmp_path, sent, 503, orjson.dumps(whole)) == ["503 overloaded"] * 3
    assert told(error(0), error(1), error(2)) == ["400 invalid_json"] * 3
    assert told(error(0), error(1)) == ["0 mixed up"] * 3
