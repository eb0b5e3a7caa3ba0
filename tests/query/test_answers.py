"""`nonito query` prints what the query API answers, whoever is asked, in each form."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
import termios

import pytest

from tests.query.asking import local, remote
from tests.query.conftest import FORMULA, HOSTILE, ODD_PERSONS, Shop
from tests.support.command import TIMEOUT_S, Ended, Nonito, run, succeed
from tests.support.server import COMMAND, ROOT, environment

RANGE = ("--from", "2026-03-01", "--to", "2026-03-04")
ACTS = ("\x1b", "\u202e", "\x9b")
"""What a terminal acts on."""

KINDS = {
    ("trends", *RANGE): "trends?{}",
    ("trends", *RANGE, "--event", "view", "--breakdown", "plan", "--top", "1"): (
        "trends?{}&event=view&breakdown=params.plan&top=1"
    ),
    ("trends", *RANGE, "--measure", "p95:amount", "--where", "plan:eq:pro|amount:lt:0"): (
        "trends?{}&measure=p95:params.amount&where=params.plan:eq:pro|params.amount:lt:0"
    ),
    ("trends", *RANGE, "--interval", "hour", "--timezone", "Europe/Berlin", "--event", "a&b=c"): (
        "trends?{}&interval=hour&timezone=Europe/Berlin&event=a%26b%3Dc"
    ),
    ("funnel", *RANGE, "--step", "view", "--step", "purchase", "--window", "2d"): (
        "funnel?{}&step=view&step=purchase&window=2d"
    ),
    ("retention", *RANGE, "--interval", "day", "--first", "view", "--back", "on_or_after"): (
        "retention?{}&interval=day&first=view&back=on_or_after"
    ),
    ("events", *RANGE, "--limit", "2"): "events?{}&limit=2",
    ("names", "--top", "1"): "names?top=1",
    ("person", "ann"): "people/ann/events",
}


def records(ended: Ended) -> list[dict[str, str]]:
    """Return the rows of a CSV."""
    return list(csv.DictReader(io.StringIO(succeed(ended), newline="")))


def table(ended: Ended) -> list[list[str]]:
    """Return the cells of a table without blanks in them."""
    return [line.split() for line in succeed(ended).splitlines()]


@pytest.mark.parametrize(("arguments", "path"), KINDS.items(), ids=lambda each: str(each)[:40])
def test_answer_is_the_api_s_whoever_is_asked(
    shop: Shop, nonito: Nonito, arguments: tuple[str, ...], path: str
) -> None:
    """In one line of JSON; only `as_of` is another moment."""
    known = shop.asked.get(f"/v1/{path.format('from=2026-03-01&to=2026-03-04')}").json()
    for asked in (local, remote):
        (line,) = succeed(asked(shop, nonito, *arguments, "--json")).splitlines()
        assert json.loads(line) | {"as_of": None} == known | {"as_of": None}


@pytest.mark.parametrize("person", ODD_PERSONS)
def test_person_may_be_called_anything(shop: Shop, nonito: Nonito, person: str) -> None:
    """An address holds the name as one part of its path."""
    for asked in (local, remote):
        (row,) = records(asked(shop, nonito, "person", person, "--csv", app="two"))
        assert row["person"] == person


def test_trends_have_a_column_for_each_series_where_they_fit(shop: Shop, nonito: Nonito) -> None:
    """Else a row; numbers stand at the right, and the last row is the total."""
    asked = ("trends", *RANGE, "--event", "view", "--breakdown", "plan")
    assert table(local(shop, nonito, *asked)) == [
        ["START", "a|b", "free", "pro"],
        ["2026-03-01", "0", "1", "1"],
        ["2026-03-02", "0", "0", "0"],
        ["2026-03-03", "1", "0", "0"],
        ["total", "1", "1", "1"],
    ]
    tall = table(local(shop, nonito, *asked, COLUMNS="24"))
    assert tall[:3] == [
        ["START", "GROUP", "COUNT"],
        ["2026-03-01", "a|b", "0"],
        ["2026-03-01", "free", "1"],
    ]
    assert tall[-1] == ["total", "pro", "1"]


def test_what_has_to_be_known_stands_on_standard_error(shop: Shop, nonito: Nonito) -> None:
    """As of when, whose days, and which bucket is not over."""
    told = local(shop, nonito, "trends", "--timezone", "Asia/Tokyo").stderr
    assert told.startswith("As of 20")
    assert "count by day in Asia/Tokyo" in told
    assert told.endswith("is not over yet\n")
    past = local(shop, nonito, "trends", "--from", "2026-03-01T06:00Z", "--to", "2026-03-02T06:00Z")
    assert "begins within 2026-03-01; the range ends within 2026-03-02" in past.stderr


def test_csv_has_a_row_for_each_figure(shop: Shop, nonito: Nonito) -> None:
    """Numbers are numbers, also negative ones, which no spreadsheet takes for formulas."""
    ended = local(shop, nonito, "trends", *RANGE, "--measure", "min:amount", "--csv")
    assert [(row["start"][:10], row["group"], row["figure"]) for row in records(ended)] == [
        ("2026-03-01", "all", "1.0"),
        ("2026-03-02", "all", "30.5"),
        ("2026-03-03", "all", "-5.0"),
    ]
    assert ended.stdout.count("\r\n") == 4


def test_funnel(shop: Shop, nonito: Nonito) -> None:
    """People, shares of the first and of the previous step, and how long it took."""
    asked = ("funnel", *RANGE, "--step", "view", "--step", "purchase")
    lines = table(local(shop, nonito, *asked))
    assert lines[1:] == [
        ["1", "view", "2", "100.0%", "100.0%", "-"],
        ["2", "purchase", "1", "50.0%", "50.0%", "1", "d"],
    ]
    rows = records(local(shop, nonito, *asked, "--breakdown", "plan", "--csv"))
    found = [(row["value"], row["step"], row["people"], row["of_first"]) for row in rows]
    assert found[2:] == [
        ("free", "1", "1", "1.0"),
        ("free", "2", "0", "0.0"),
        ("pro", "1", "1", "1.0"),
        ("pro", "2", "1", "1.0"),
    ]


def test_retention_is_a_triangle(shop: Shop, nonito: Nonito) -> None:
    """Where it is too wide it goes on in a further table."""
    asked = ("retention", *RANGE, "--interval", "day", "--kind", "recurring")
    whole = [
        ["COHORT", "PEOPLE", "0", "1", "2"],
        ["2026-03-01", "2", "0.0%", "50.0%", "50.0%"],
        ["2026-03-02", "1", "0.0%", "100.0%"],
        ["2026-03-03", "1", "0.0%"],
    ]
    assert table(local(shop, nonito, *asked)) == whole
    parts = table(local(shop, nonito, *asked, COLUMNS="36"))
    assert parts[:4] == [row[:4] for row in whole]
    assert parts[4:] == [["COHORT", "PEOPLE", "2"], ["2026-03-01", "2", "50.0%"]]
    rows = records(local(shop, nonito, *asked, "--csv"))
    assert [(row["period"], row["back"]) for row in rows[:3]] == [
        ("0", "0"),
        ("1", "1"),
        ("2", "1"),
    ]


def test_names_have_their_parameters_below_them(shop: Shop, nonito: Nonito) -> None:
    """With types and values."""
    lines = succeed(local(shop, nonito, "names", COLUMNS="120")).splitlines()
    assert lines[1].split() == [
        *("view", "3", "2026-03-03T12:00:00Z", "params.amount", "number"),
        *("-5", "(1),", "1", "(1),", "10", "(1)"),
    ]
    assert lines[2].split()[0] == "params.plan"
    rows = records(local(shop, nonito, "names", "--csv"))
    assert [row["name"] for row in rows] == ["view"] * 3 + ["purchase"] * 3


def test_events_go_on_where_the_last_page_says(shop: Shop, nonito: Nonito) -> None:
    """The option is there to be copied; CSV is that of an export."""
    ended = local(shop, nonito, "events", "--limit", "3", "--csv")
    before = ended.stderr.split()[-1]
    rest = local(shop, nonito, "events", before, "--csv")
    exported = shop.asked.get("/v1/export?format=csv").content.decode().splitlines()
    listed = [*rest.stdout.splitlines()[:0:-1], *ended.stdout.splitlines()[:0:-1]]
    assert [exported[0], *sorted(listed)] == [exported[0], *sorted(exported[1:])]
    assert ended.stdout.splitlines()[0] == exported[0]


def test_table_is_no_wider_than_the_terminal(shop: Shop, nonito: Nonito) -> None:
    """The last column is cut."""
    for asked in (("events",), ("names",)):
        lines = succeed(local(shop, nonito, *asked)).splitlines()
        assert max(map(len, lines)) <= 80
        assert any(line.endswith("…") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "form"),
    [
        (("trends", *RANGE, "--breakdown", "plan"), ()),
        (("names",), ("--json",)),
        (("events",), ("--csv",)),
        (("person", FORMULA), ("--json",)),
    ],
)
def test_hostile_text_reaches_no_terminal_and_is_no_formula(
    shop: Shop, nonito: Nonito, arguments: tuple[str, ...], form: tuple[str, ...]
) -> None:
    """A table holds it escaped in any case; of CSV and JSON a file gets it as it is."""
    shown = succeed(local(shop, nonito, *arguments, app="two"))
    assert r"\x1b[31m=cmd\u202e\n" in shown
    assert not any(each in shown for each in ACTS)
    rows = records(local(shop, nonito, *arguments, "--csv", app="two"))
    cells = [cell for row in rows for cell in row.values()]
    assert not any(cell.startswith(("=", "+", "@", "-x")) for cell in cells)
    assert any(cell.startswith(f"'{FORMULA}") for cell in cells)
    assert any(HOSTILE in cell for cell in cells)
    seen = on_terminal(shop, *arguments, *form, app="two")
    assert not any(each in seen for each in ACTS)
    assert "cmd" in seen


def on_terminal(shop: Shop, *arguments: str, app: str = "one", columns: int = 70) -> str:
    """Return what a terminal of so many columns gets on standard output."""
    master, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, columns))
    unset = {name: value for name, value in environment(shop.settings).items() if name != "COLUMNS"}
    with subprocess.Popen(
        [*COMMAND, "query", *arguments, "--app", app],
        cwd=ROOT / "tests",
        env=unset | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(terminal)
        seen = _read(master)
        os.close(master)
        assert process.wait(TIMEOUT_S) == 0, process.stderr and process.stderr.read()
    return seen


def _read(master: int) -> str:
    seen = b""
    while True:
        try:
            piece = os.read(master, 65_536)
        except OSError:  # nobody writes any more
            return seen.decode()
        if not piece:
            return seen.decode()
        seen += piece


def test_chart_is_for_a_terminal_alone(shop: Shop, nonito: Nonito) -> None:
    """Of trends, without --json and --csv, within its width."""
    asked = ("trends", *RANGE, "--breakdown", "plan")
    seen = on_terminal(shop, *asked).splitlines()
    assert seen[0].split() == ["START", "pro", "a|b", "free"]
    assert "█" in seen[-4]
    assert max(map(len, seen)) <= 70
    assert "█" not in succeed(local(shop, nonito, *asked))
    indented = on_terminal(shop, *asked, "--json")
    assert json.loads(indented)["data"]["type"] == "trends"
    assert '\n  "question"' in indented.replace("\r", "")


def test_terminal_without_block_characters_gets_the_table_alone(shop: Shop) -> None:
    """And nothing fails."""
    ended = run(
        *("query", "trends", *RANGE, "--breakdown", "plan", "--app", "two"),
        settings=shop.settings,
        variables={"PYTHONIOENCODING": "ascii"},
    )
    assert succeed(ended).splitlines()[-1].split()[0] == "total"


IMPORTED = """
import atexit, sys
atexit.register(lambda: print("imported:", *sys.modules))
from ingest.cli import main
main()
"""


def test_command_that_asks_nothing_imports_no_duckdb_and_no_server() -> None:
    """DuckDB is an extra; aiohttp is for those who ask a server."""
    shown = run("query", "trends", "--help", command=(sys.executable, "-c", IMPORTED)).stdout
    modules = set(shown.rpartition("imported:")[2].split())
    assert "ingest.cli.query.local" in modules
    assert modules & {"duckdb", "adbc_driver_manager", "aiohttp", "uvloop"} == set()
