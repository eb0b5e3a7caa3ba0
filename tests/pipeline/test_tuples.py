"""Tuples read back: what was made comes back, and what was damaged is refused and nothing worse."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline import rows, tuples
from ingest.pipeline.ids import moment

ID = UUID("01a20775-3827-7f9a-a84b-77c69c54c242")
PARAMS = b'{"a":123456789012345678901234567890,"b":0.1234567890123456789}'
ROW = rows.row(rows.row_head(7), ID.bytes, "é".encode(), PARAMS, moment(1_768_046_400_123).row)


@st.composite
def made_rows(draw: st.DrawFn) -> bytes:
    """Return a row as the intake may make it."""
    return rows.row(
        rows.row_head(draw(st.integers(1, 2**31 - 1))),
        draw(st.binary(min_size=16, max_size=16)),
        draw(st.binary(max_size=30)),
        draw(st.binary(max_size=60)),
        moment(draw(st.integers(0, 253_402_300_799_999))).row,
    )


@given(made=st.lists(made_rows(), max_size=20))
def test_rows_that_were_joined_come_back_one_by_one(made: list[bytes]) -> None:
    """Byte for byte, in order."""
    assert tuples.split(b"".join(made), len(made)) == made


@given(made=st.lists(made_rows(), max_size=5), count=st.integers(-1, 10))
def test_wrong_count_is_refused(made: list[bytes], count: int) -> None:
    """One too many, one too few, or none at all."""
    if count != len(made):
        with pytest.raises(ValueError, match="were announced"):
            tuples.split(b"".join(made), count)


@given(made=st.lists(made_rows(), min_size=1, max_size=5), data=st.data())
def test_corrupted_blob_is_refused_or_read_as_it_is(made: list[bytes], data: st.DataObject) -> None:
    """Bytes overwritten, inserted or cut off: no other exception, and no byte is invented."""
    blob = b"".join(made)
    start = data.draw(st.integers(0, len(blob)))
    length = data.draw(st.integers(0, 40))
    blob = blob[:start] + data.draw(st.binary(max_size=40)) + blob[start + length :]
    try:
        found = tuples.split(blob, len(made))
    except ValueError:
        return
    assert b"".join(found) == blob
    for row in found:
        try:
            tuples.decode(row)
        except ValueError:
            continue


@given(blob=st.binary(max_size=200), count=st.integers(0, 3))
def test_garbage_is_refused(blob: bytes, count: int) -> None:
    """No tuples ever come out of it."""
    if not blob and not count:
        return
    with pytest.raises(ValueError, match="tuple"):
        tuples.split(blob, count)


@pytest.mark.parametrize("size", [-1, -2, -34, -(2**31), 2**31 - 1])
@pytest.mark.parametrize("at", [30, 36, len(ROW) - 12])
def test_size_that_points_elsewhere_is_refused(at: int, size: int) -> None:
    """Of the name, of the parameters, of the time; before the tuple or far behind it."""
    blob = ROW[:at] + size.to_bytes(4, "big", signed=True) + ROW[at + 4 :]
    with pytest.raises(ValueError, match="byte 0"):
        tuples.split(blob, 1)


def test_tuple_is_decoded_for_a_person() -> None:
    """With every digit of its parameters, and the time in the text that the sender was given."""
    assert tuples.decode(ROW) == {
        "app_id": 7,
        "id": str(ID),
        "event_name": "é",
        "event_params": PARAMS.decode(),
        "created_at": "2026-01-10T12:00:00.123Z",
    }


@given(unix_ms=st.integers(0, 253_402_300_799_999))
def test_decoded_time_is_the_time_of_receipt(unix_ms: int) -> None:
    """The same text as in the answer."""
    received = moment(unix_ms)
    row = rows.row(rows.row_head(1), ID.bytes, b"a", b"{}", received.row)
    assert tuples.decode(row)["created_at"] == received.text.decode()


def test_time_to_the_microsecond_is_decoded() -> None:
    """Not cut to milliseconds."""
    since_2000 = datetime(2026, 1, 10, 12, 0, 0, 123_456, tzinfo=UTC) - datetime(
        2000, 1, 1, tzinfo=UTC
    )
    micros = (since_2000.days * 86_400 + since_2000.seconds) * 10**6 + since_2000.microseconds
    row = ROW[:-8] + micros.to_bytes(8, "big", signed=True)
    assert tuples.decode(row)["created_at"] == "2026-01-10T12:00:00.123456Z"


@pytest.mark.parametrize(
    "row",
    [
        ROW + b"\0",
        ROW[:-1],
        b"",
        ROW[:-8] + b"\x7f" + bytes(7),
        ROW.replace("é".encode(), b"\xff\xff"),
    ],
)
def test_what_is_no_single_tuple_is_not_decoded(row: bytes) -> None:
    """Too long, too short, a time past the year 9999, a name that is no UTF-8."""
    with pytest.raises(ValueError, match=r"."):
        tuples.decode(row)
