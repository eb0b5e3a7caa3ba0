"""Batches of the load client: every row counts, however an answer is cut."""

import asyncio
import json
from pathlib import Path

import pytest

from bench.load import forms, http, ledger, payloads, pool
from bench.load.bulk import count_rows
from bench.load.forms import Form
from bench.load.pool import Job, Run
from bench.servers import Endpoint
from tests.bench.fakes import answering, ok

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
ROWS = [b'{"id":"%036d","event_params":{"user_id": "12345"}}' % number for number in range(1_000)]


def content(rows: list[bytes]) -> bytes:
    """Return an answer's body."""
    return b'{"status":"success","data":[%b]}' % b",".join(rows)


def run(endpoint: Endpoint, form: Form, acknowledged: Path) -> Run:
    """Run a load of half a second."""
    job = Job(
        endpoint,
        "nk_test",
        [payloads.example()],
        connections=2,
        warm_up_s=0.0,
        seconds=0.5,
        acknowledged=acknowledged,
        form=form,
    )
    return pool.run(job, lambda *_: None)


@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        ROWS[:-1],
        [*ROWS, ROWS[0]],
        ROWS * 2,
        [*ROWS[:-1], ROWS[-1].replace(b'"id"', b'"ix"')],
        [*ROWS[:-1], ROWS[-1].replace(b"12345", b"1")],
        ROWS[:1],
        [],
    ],
)
def test_rows_are_counted(rows: list[bytes]) -> None:
    """Also when there are as many bytes as a good answer has, or twice as many rows."""
    found = [row for row in rows if b'"id"' in row]
    assert count_rows(HEAD + content(rows), len(HEAD), len(ROWS)) == len(found)


@pytest.mark.parametrize("cut", [(), (7,), (30, 31), (len(ok(content(ROWS))) - 1,)])
def test_batch_is_taken_however_its_answer_is_cut(cut: tuple[int, ...], tmp_path: Path) -> None:
    """In the head, in a row, before the last byte: one answer, of which two ids are kept."""

    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        whole = ok(content(ROWS))
        for start, end in zip((0, *cut), (*cut, len(whole)), strict=True):
            writer.write(whole[start:end])
            await asyncio.sleep(0.001)

    with answering(answer) as endpoint:
        stats = run(endpoint, forms.BATCH, tmp_path).stats
    assert set(stats.totals) == {200}
    assert (stats.miscounted, stats.lost) == (0, 0)
    kept = b"".join(each.ids for each in ledger.read(tmp_path))
    assert kept == (b"%036d" % 0 + b"%036d" % 999) * stats.successes


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        (forms.BATCH, content(ROWS), content(ROWS[1:])),
        (forms.MINIMAL_BATCH, b'{"count":1000}', b'{"count":999}'),
    ],
)
def test_answer_with_a_row_too_few_is_counted(
    form: Form, good: bytes, bad: bytes, tmp_path: Path
) -> None:
    """Every third answer says that a row less was stored."""

    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(ok(bad if number % 3 == 2 else good))

    with answering(answer) as endpoint:
        stats = run(endpoint, form, tmp_path).stats
    assert stats.totals[200] >= 3
    assert stats.miscounted == stats.totals[200] // 3


@pytest.mark.parametrize("form", [forms.BATCH, forms.NDJSON_BATCH, forms.MINIMAL_BATCH])
def test_request_has_all_events_and_says_what_it_is(form: Form) -> None:
    """A JSON array, or a line for each, to the route for batches."""
    event = payloads.example().body
    whole = http.request("h", "nk", form.document(event), form.path, form.headers)
    head, _, body = whole.decode().partition("\r\n\r\n")
    events = (
        json.loads(body) if form.media_type == forms.JSON else map(json.loads, body.split("\n"))
    )
    assert list(events) == [json.loads(event)] * 1_000
    assert head.startswith("POST /events HTTP/1.1\r\n")
    assert f"\r\nContent-Type: {form.media_type}\r\n" in head
    assert f"\r\nContent-Length: {len(body)}" in head
    assert ("\r\nPrefer: return=minimal" in head) is form.is_minimal
