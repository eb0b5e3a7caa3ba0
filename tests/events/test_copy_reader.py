"""Tuples read back: what was made comes back, and what was damaged is refused and nothing worse."""

from datetime import UTC, datetime
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.events import copy_format, copy_reader
from ingest.events.ids import moment
from tests.support.rows import tail

ID = UUID("01a20775-3827-7f9a-a84b-77c69c54c242")
PARAMS = b'{"a":123456789012345678901234567890,"b":0.1234567890123456789}'
CREATED_US = 821_361_600_123_000  # 2026-01-10T12:00:00.123Z
KEY = UUID("c5d7a1f0-9b1e-4b52-8f3e-ffffffffffff")
END_YEAR_9999_US = 252_455_615_999_999_999
patient = settings(deadline=None)


def make_row(timestamp_us: int | None, key: bytes | None, created_us: int = CREATED_US) -> bytes:
    """Return a row of app 7."""
    end = tail(created_us, timestamp_us, key)
    return copy_format.row(copy_format.row_head(7), ID.bytes, "é".encode(), PARAMS, end)


ROW = make_row(None, None)
FULL = make_row(CREATED_US - 1, KEY.bytes)


@st.composite
def made_rows(draw: st.DrawFn) -> bytes:
    """Return a row as the intake may make it."""
    micros = st.integers(0, END_YEAR_9999_US)
    sixteen = st.binary(min_size=16, max_size=16)
    return copy_format.row(
        copy_format.row_head(draw(st.integers(1, 2**31 - 1))),
        draw(sixteen),
        draw(st.binary(max_size=30)),
        draw(st.binary(max_size=60)),
        tail(draw(micros), draw(st.none() | micros), draw(st.none() | sixteen)),
    )


def of_five_fields(row: bytes) -> bytes:
    """Return a plain row as the version before made it."""
    assert row.endswith(copy_format.PLAIN)
    return b"\0\5" + row[2 : -len(copy_format.PLAIN)]


def is_plain(row: bytes) -> bool:
    """Return whether a row ends with two NULLs, and not with a time or key that looks like them."""
    _, tail_at, end = copy_reader._measure(row, 0)
    return end - tail_at == len(copy_format.tail(0))


@patient
@given(made=st.lists(made_rows(), max_size=20))
def test_rows_that_were_joined_come_back_one_by_one(made: list[bytes]) -> None:
    """Byte for byte, in order."""
    assert copy_reader.split(b"".join(made), len(made)) == made


@patient
@given(made=st.lists(made_rows(), max_size=20), data=st.data())
def test_rows_of_five_fields_become_plain_ones(made: list[bytes], data: st.DataObject) -> None:
    """Also between rows of today."""
    plain = [row for row in made if is_plain(row)]
    are_old = [row in plain and data.draw(st.booleans()) for row in made]
    left = [of_five_fields(row) if old else row for row, old in zip(made, are_old, strict=True)]
    assert copy_reader.split(b"".join(left), len(made)) == made


@patient
@given(made=st.lists(made_rows(), max_size=5), count=st.integers(-1, 10))
def test_wrong_count_is_refused(made: list[bytes], count: int) -> None:
    """One too many, one too few, or none at all."""
    if count != len(made):
        with pytest.raises(ValueError, match="were announced"):
            copy_reader.split(b"".join(made), count)


@patient
@given(made=st.lists(made_rows(), min_size=1, max_size=5), data=st.data())
def test_corrupted_blob_is_refused_or_read_as_it_is(made: list[bytes], data: st.DataObject) -> None:
    """Bytes overwritten, inserted or cut off: no other exception, and no byte is invented."""
    if data.draw(st.booleans()):
        made = [of_five_fields(row) if is_plain(row) else row for row in made]
    blob = b"".join(made)
    start = data.draw(st.integers(0, len(blob)))
    length = data.draw(st.integers(0, 40))
    blob = blob[:start] + data.draw(st.binary(max_size=40)) + blob[start + length :]
    try:
        found = copy_reader.split(blob, len(made))
    except ValueError:
        return
    assert any(b"".join(way) == blob for way in product(*map(as_it_may_have_been, found)))
    for row in found:
        try:
            copy_reader.decode(row)
        except ValueError:
            continue


def as_it_may_have_been(row: bytes) -> list[bytes]:
    """Return the tuples that `split` makes a row of."""
    return [row, of_five_fields(row)] if row.endswith(copy_format.PLAIN) else [row]


@patient
@given(blob=st.binary(max_size=200), count=st.integers(0, 3))
def test_garbage_is_refused(blob: bytes, count: int) -> None:
    """No tuples ever come out of it."""
    if not blob and not count:
        return
    with pytest.raises(ValueError, match="tuple"):
        copy_reader.split(blob, count)


@pytest.mark.parametrize("size", [-1, -2, -34, -(2**31), 2**31 - 1])
@pytest.mark.parametrize("at", [30, 36, len(FULL) - 44, len(FULL) - 32, len(FULL) - 20])
def test_size_that_points_elsewhere_is_refused(at: int, size: int) -> None:
    """Of the name, of the parameters, of a time, of the key; before the tuple or far behind it."""
    blob = FULL[:at] + size.to_bytes(4, "big", signed=True) + FULL[at + 4 :]
    with pytest.raises(ValueError, match="at byte"):
        copy_reader.split(blob, 1)


def test_tuple_is_decoded_for_a_person() -> None:
    """With every digit of its parameters, and the time in the text that the sender was given."""
    assert copy_reader.decode(ROW) == {
        "app_id": 7,
        "id": str(ID),
        "event_name": "é",
        "event_params": PARAMS.decode(),
        "created_at": "2026-01-10T12:00:00.123Z",
        "timestamp": None,
        "idempotency_key": None,
    }
    assert copy_reader.decode(of_five_fields(ROW)) == copy_reader.decode(ROW)


def test_time_and_key_of_the_client_are_decoded() -> None:
    """Each of them alone, and both."""
    sent = {"timestamp": "2026-01-10T12:00:00.122999Z", "idempotency_key": str(KEY)}
    plain = copy_reader.decode(ROW)
    assert copy_reader.decode(FULL) == plain | sent
    for name, row in (
        ("timestamp", make_row(CREATED_US - 1, None)),
        ("idempotency_key", make_row(None, KEY.bytes)),
    ):
        assert copy_reader.decode(row) == plain | {name: sent[name]}


@patient
@given(
    row=made_rows(), app_id=st.integers(1, 2**31 - 1), event_id=st.binary(min_size=16, max_size=16)
)
def test_identity_is_the_app_and_the_id(row: bytes, app_id: int, event_id: bytes) -> None:
    """As the primary key has it."""
    row = copy_format.row_head(app_id) + event_id + row[30:]
    assert copy_reader.identity(row) == app_id.to_bytes(4, "big") + event_id


@pytest.mark.parametrize("created_us", [CREATED_US, 16, (191_238 << 32) + 16, -1])
@pytest.mark.parametrize("timestamp_us", [None, CREATED_US, 16, -1])
@pytest.mark.parametrize("key", [None, KEY.bytes, bytes(16), b"\xff" * 16])
def test_key_and_receipt_are_found_exactly(
    created_us: int, timestamp_us: int | None, key: bytes | None
) -> None:
    """Also where a time looks like the length of a key, or a key ends like a NULL."""
    row = make_row(timestamp_us, key, created_us)
    assert copy_reader.idempotency_key(row) == key
    assert copy_reader.has_idempotency_key(row) == (key is not None)
    assert copy_reader.created_us(row) == created_us


@patient
@given(unix_ms=st.integers(0, 253_402_300_799_999))
def test_decoded_time_is_the_time_of_receipt(unix_ms: int) -> None:
    """The same text as in the answer."""
    received = moment(unix_ms)
    row = copy_format.row(copy_format.row_head(1), ID.bytes, b"a", b"{}", received.row)
    assert copy_reader.decode(row)["created_at"] == received.text.decode()


def test_time_to_the_microsecond_is_decoded() -> None:
    """Not cut to milliseconds."""
    since_2000 = datetime(2026, 1, 10, 12, 0, 0, 123_456, tzinfo=UTC) - datetime(
        2000, 1, 1, tzinfo=UTC
    )
    micros = (since_2000.days * 86_400 + since_2000.seconds) * 10**6 + since_2000.microseconds
    assert (
        copy_reader.decode(make_row(None, None, micros))["created_at"]
        == "2026-01-10T12:00:00.123456Z"
    )


@pytest.mark.parametrize(
    "row",
    [
        ROW + b"\0",
        ROW[:-1],
        b"",
        of_five_fields(ROW)[:-1],
        FULL[:-1],
        ROW + ROW,
        make_row(None, None, 2**63 - 1),
        make_row(-(2**63), None),
        ROW.replace("é".encode(), b"\xff\xff"),
    ],
)
def test_what_is_no_single_tuple_is_not_decoded(row: bytes) -> None:
    """Too long, too short, a time that no calendar has, a name that is no UTF-8."""
    with pytest.raises(ValueError, match=r"."):
        copy_reader.decode(row)


def test_rows_are_counted_by_app() -> None:
    """Whatever else they hold."""
    heads = {app: copy_format.row_head(app) for app in (1, 2, 70_000, 2**31 - 1)}
    rows = [head + bytes(40) for app, head in heads.items() for _ in range(app % 5)]
    assert copy_reader.count_apps(rows) == {app: app % 5 for app in heads if app % 5}
    assert copy_reader.count_apps([]) == {}
