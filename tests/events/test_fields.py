"""The table of fields: a new one is one line, and what earlier versions spooled is still read."""

import json
import subprocess
import sys
from uuid import UUID

import pytest

from ingest.delivery.events_table import EVENTS
from ingest.events import copy_format, copy_reader
from ingest.events.fields import FIELDS, LAYOUTS, OPTIONAL
from tests.support.rows import tail
from tests.support.server import ROOT

# A server of the next version, which has one more line in its table.
NEXT_VERSION = """
import json, sys
from importlib.util import find_spec, module_from_spec

spec = find_spec("ingest.events.fields")
line = "Field({name!r}, Kind.{kind}, since=3, is_optional=True),"
last = 'Field("idempotency_key"'
source = spec.loader.get_source(spec.name)
assert source.count(last) == 1
fields = sys.modules[spec.name] = module_from_spec(spec)
exec(source.replace(last, line + last), fields.__dict__)

from ingest.delivery.events_table import EVENTS
from ingest.events import copy_format, copy_reader, row_json
from ingest.events.ids import moment

HEAD = copy_format.row_head(7)


def make(said):
    values = [said.get(field.name) for field in fields.OPTIONAL]
    times = copy_format.tail(5_000_000, values)
    return copy_format.row(HEAD, b"\\1" * 16, b"n", b"{{}}", times)


full = {{"timestamp": copy_format.time(0), {name!r}: {value!r}, "idempotency_key": b"k" * 16}}
made = [make(full), make({{}}), make({{"idempotency_key": b"k" * 16}})]
plain = copy_format.row(HEAD, b"\\1" * 16, b"n", b"{{}}", moment(946_684_805_000).row)
assert plain == made[1]
left = [bytes.fromhex(line) for line in sys.stdin.read().split()]
rows = copy_reader.split(b"".join([*made, *left]), len(made) + len(left))
assert rows[:3] == made
print(json.dumps({{
    "columns": [column.name for column in EVENTS.columns],
    "decoded": [copy_reader.decode(row) for row in rows],
    "told": [row_json.of_tuple(row).decode() for row in rows],
    "keys": [(copy_reader.idempotency_key(row) or b"").decode() for row in rows],
}}))
"""


def make_row(timestamp_us: int | None = None, key: bytes | None = None) -> bytes:
    """Return a row of today."""
    times = tail(5_000_000, timestamp_us, key)
    return copy_format.row(copy_format.row_head(7), b"\1" * 16, b"n", b"{}", times)


def of_version_1(row: bytes) -> bytes:
    """Return a plain row as the first version has it: without the two last fields."""
    assert row.endswith(copy_format.PLAIN)
    return b"\0\5" + row[2 : -len(copy_format.PLAIN)]


def test_versions_are_told_apart_by_their_counts_of_fields() -> None:
    """Or a tuple of an earlier one could be read as one of another."""
    versions = {field.since for field in FIELDS}
    assert versions == set(range(1, len(versions) + 1))
    assert len(LAYOUTS) == len(versions)
    assert LAYOUTS[len(FIELDS)] == FIELDS


def test_optional_fields_are_the_last_and_the_key_is_the_very_last() -> None:
    """Rows are read from both their ends."""
    assert FIELDS[-len(OPTIONAL) :] == OPTIONAL
    assert OPTIONAL[-1].name == "idempotency_key"
    assert all(field.is_optional for field in FIELDS if field.since > 1)


def test_columns_are_the_fields() -> None:
    """By name and in order, as a COPY sends them."""
    assert tuple(column.name for column in EVENTS.columns) == copy_format.COLUMNS
    assert set(EVENTS.primary_key) < {field.name for field in FIELDS}


def test_tuples_of_an_earlier_version_are_completed_with_null() -> None:
    """Between rows of today, and one of them alone."""
    plain, full = make_row(), make_row(1, b"k" * 16)
    old = of_version_1(plain)
    assert copy_reader.split(b"".join([old, full, old, plain]), 4) == [plain, full, plain, plain]
    assert copy_reader.at(full + old + full, len(full)) == plain


@pytest.mark.parametrize(
    ("kind", "value", "shown", "told"),
    [
        ("TEXT", "né".encode(), "né", '"né"'),
        ("TEXT", b"", "", '""'),
        ("INT", (-5).to_bytes(4, "big", signed=True), -5, "-5"),
        ("UUID", bytes(16), str(UUID(int=0)), f'"{UUID(int=0)}"'),
        ("JSON", b'{"a": 1.50}', '{"a": 1.50}', '{"a": 1.50}'),
        ("TIME", bytes(8), "2000-01-01T00:00:00.000Z", '"2000-01-01T00:00:00.000Z"'),
    ],
)
def test_field_that_the_next_version_adds_is_one_line(
    kind: str, value: bytes, shown: object, told: str
) -> None:
    """Its rows are made, read and told, and those that both earlier versions left are completed."""
    left = [of_version_1(make_row()), make_row(), make_row(1, b"o" * 16)]
    ended = subprocess.run(
        [sys.executable, "-c", NEXT_VERSION.format(name="user_id", kind=kind, value=value)],
        input="\n".join(row.hex() for row in left),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["columns"][-3:] == ["timestamp", "user_id", "idempotency_key"]
    assert [event["user_id"] for event in found["decoded"]] == [shown, *[None] * 5]
    assert found["keys"] == ["k" * 16, "", "k" * 16, "", "", "o" * 16]
    assert [event["timestamp"] is not None for event in found["decoded"]] == [
        *(True, False, False),
        *(False, False, True),
    ]
    assert f'"timestamp":"2000-01-01T00:00:00.000Z","user_id":{told}}}' in found["told"][0]
    assert found["told"][1] == found["told"][3] == found["told"][4]
    assert "user_id" not in found["told"][1]
