"""Exports: each event once, in order, from any place on, in three formats."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import duckdb
import pytest

from ingest.api import formats
from ingest.insights.places import Row
from tests.api.asked import Asked

BASE = "2026-02-0{}T10:00:00Z"


@pytest.fixture(scope="module")
def ids(asked: Asked) -> list[str]:
    """Ids in the order in which they happened: some at one time, sent in another order."""
    days = (3, 1, 2, 2, 2, 4)
    events = [
        {"event_name": f"export {day}", "event_params": {"user_id": "=1+1", "n": n}}
        | {"timestamp": BASE.format(day)}
        for n, day in enumerate(days)
    ]
    sent = asked.send(*events)
    return [event_id for _, event_id in sorted(zip(days, sent, strict=True))]


def lines(asked: Asked, query: str = "") -> list[str]:
    """Return the ids of an export as NDJSON."""
    text = asked.get(f"/v1/export?from=2026-02-01&to=2026-02-05{query}").text
    return [json.loads(line)["id"] for line in text.splitlines()]


def test_export_has_each_event_once_by_time_and_id(asked: Asked, ids: list[str]) -> None:
    """As it was stored."""
    assert lines(asked) == ids
    text = asked.get("/v1/export?event=export%203&from=2026-02-01&to=2026-02-05").text
    assert json.loads(text) | {"created_at": ""} == {
        "id": ids[4],
        "at": "2026-02-03T10:00:00Z",
        "created_at": "",
        "name": "export 3",
        "person": "=1+1",
        "params": {"user_id": "=1+1", "n": 0},
    }


def test_export_goes_on_behind_any_event(asked: Asked, ids: list[str]) -> None:
    """Also between those of one time, and while earlier and later ones come in."""
    for place, event_id in enumerate(ids):
        assert lines(asked, f"&after={event_id}") == ids[place + 1 :]
    assert lines(asked, f"&after={ids[1]}&event=export%202") == ids[2:4]


def test_export_after_an_event_that_is_not_in_it_is_refused(asked: Asked, ids: list[str]) -> None:
    """Another range's, and one that nobody has."""
    for event_id in (ids[0], UUID(int=7)):
        query = f"/v1/export?from=2026-02-02&after={event_id}"
        assert "no event with this id" in asked.refused(query, 400, "invalid_parameter")


def test_export_heeds_its_filter(asked: Asked, ids: list[str]) -> None:
    """In every format."""
    query = "&where=params.n:ge:2&where=params.n:lt:5"
    assert lines(asked, query) == ids[1:4]
    text = asked.get(f"/v1/export?format=csv&from=2026-02-01&to=2026-02-05{query}").text
    assert [row["id"] for row in csv.DictReader(io.StringIO(text))] == ids[1:4]


def test_csv_has_no_cell_that_a_spreadsheet_takes_for_a_formula(
    asked: Asked, ids: list[str]
) -> None:
    """An apostrophe is before it."""
    text = asked.get("/v1/export?format=csv&from=2026-02-01&to=2026-02-05").text
    rows = [*csv.DictReader(io.StringIO(text, newline=""))]
    assert [row["id"] for row in rows] == ids
    assert {row["person"] for row in rows} == {"'=1+1"}
    assert json.loads(rows[0]["params"]) == {"user_id": "=1+1", "n": 1}


@pytest.mark.parametrize("start", [*"=+-@\t\r"])
def test_formula_is_guarded_wherever_a_sender_may_write(start: str) -> None:
    """Names and people; the parameters begin with a brace."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    line = formats.CSV.encode(Row(UUID(int=1), at, at, f"{start}a", f"{start}b", "{}")).decode()
    (cells,) = csv.reader(io.StringIO(line, newline=""))
    assert cells[3:] == [f"'{start}a", f"'{start}b", "{}"]


@pytest.mark.parametrize(("variant", "kind"), [("false", "VARCHAR"), ("true", "VARIANT")])
def test_parquet_has_parameters_as_text_unless_variant_is_asked_for(
    asked: Asked, ids: list[str], tmp_path: Path, variant: str, kind: str
) -> None:
    """Other readers know no VARIANT yet; nothing is left of the file on the server."""
    query = f"/v1/export?format=parquet&from=2026-02-01&to=2026-02-05&variant={variant}"
    answer = asked.get(query)
    assert answer.headers["Content-Type"] == "application/vnd.apache.parquet"
    file = tmp_path / "x.parquet"
    file.write_bytes(answer.content)
    columns = "id::VARCHAR, typeof(params), params::JSON->>'n'"
    found = duckdb.connect().execute(f"SELECT {columns} FROM '{file}'").fetchall()
    assert sorted(row[0] for row in found) == sorted(ids)
    assert {row[1] for row in found} == {kind}
    assert sorted(row[2] for row in found) == [*"012345"]
