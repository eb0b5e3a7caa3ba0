"""What a client says of its event: taken when it can be true, refused in words when not."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.errors import Code, Refusal
from ingest.events import client_fields
from ingest.events.client_fields import ClientFields, Span
from ingest.events.event import Event
from ingest.events.fields import Kind
from ingest.events.ids import moved

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)
NOW_MS = (NOW - EPOCH) // MS
SPAN = Span(past_ms=1826 * 86_400_000, future_ms=86_400_000)
EARLIEST = NOW - timedelta(days=1826)
LATEST = NOW + timedelta(days=1)


def read(
    timestamp: str | None = None, event_id: str | None = None, span: Span = SPAN
) -> ClientFields:
    """Read the claims of an event."""
    return client_fields.read(Event("a", id=event_id, timestamp=timestamp), span, NOW_MS)


def told(timestamp: str) -> str:
    """Return a time as it is answered."""
    return str(Kind.TIME.value.read(read(timestamp).values["timestamp"]))


def refused(timestamp: str | None = None, event_id: str | None = None, span: Span = SPAN) -> Code:
    """Return the code of the refusal."""
    with pytest.raises(Refusal) as caught:
        read(timestamp, event_id, span)
    return caught.value.code


def make_id(unix_ms: int, rest: int = 0x7_ABC << 64 | 0xB123_4567_89AB_CDEF) -> str:
    """Return a UUIDv7 of a time."""
    return str(UUID(int=unix_ms << 80 | rest))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2026-01-10T12:00:00Z", "2026-01-10T12:00:00.000Z"),
        ("2026-01-10T12:00:00.1Z", "2026-01-10T12:00:00.100Z"),
        ("2026-01-10T12:00:00.123Z", "2026-01-10T12:00:00.123Z"),
        ("2026-01-10T12:00:00.123000Z", "2026-01-10T12:00:00.123Z"),
        ("2026-01-10T12:00:00.1234Z", "2026-01-10T12:00:00.123400Z"),
        ("2026-01-10T12:00:00.000001Z", "2026-01-10T12:00:00.000001Z"),
        ("2026-01-10T12:00:00.123456789Z", "2026-01-10T12:00:00.123456Z"),
        ("2026-01-10t12:00:00z", "2026-01-10T12:00:00.000Z"),
        ("2026-01-10 12:00:00Z", "2026-01-10T12:00:00.000Z"),
        ("2026-01-10T12:00:00+00:00", "2026-01-10T12:00:00.000Z"),
        ("2026-01-10T12:00:00-00:00", "2026-01-10T12:00:00.000Z"),
        ("2026-01-10T12:00:00+01:00", "2026-01-10T11:00:00.000Z"),
        ("2026-01-10T23:45:00-05:30", "2026-01-11T05:15:00.000Z"),
        ("2026-01-10T12:00:00+23:59", "2026-01-09T12:01:00.000Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"),
        ("2025-12-31T23:59:60Z", "2026-01-01T00:00:00.000Z"),
        ("2025-12-31T23:59:60.25Z", "2026-01-01T00:00:00.250Z"),
        ("2025-06-30T23:59:60Z", "2025-07-01T00:00:00.000Z"),
        ("2024-02-29T23:59:60Z", "2024-03-01T00:00:00.000Z"),
        ("2026-01-01T05:29:60+05:30", "2026-01-01T00:00:00.000Z"),
        ("2025-12-31T15:59:60.5-08:00", "2026-01-01T00:00:00.500Z"),
        ("2026-01-10T12:00:00.1234567890Z", "2026-01-10T12:00:00.123456Z"),
        ("2026-01-10T12:00:00.9999999999999999Z", "2026-01-10T12:00:00.999999Z"),
        (f"2026-01-10T12:00:00.5{'0' * 100_000}Z", "2026-01-10T12:00:00.500Z"),
    ],
    ids=lambda text: text[:40],
)
def test_time_is_told_in_utc_as_precisely_as_it_was_sent(sent: str, expected: str) -> None:
    """Up to microseconds; a leap second, at the end of a month in UTC, is the one behind it."""
    assert told(sent) == expected


FORMS_REFUSED = [
    "",
    " ",
    "now",
    "1768046400",
    "2026-01-10",
    "2026-01-10T12:00:00",
    "2026-01-10T12:00Z",
    "2026-01-10T12Z",
    "20260110T120000Z",
    "2026-W02-6T12:00:00Z",
    "2026-010T12:00:00Z",
    "2026-1-10T12:00:00Z",
    "26-01-10T12:00:00Z",
    "+2026-01-10T12:00:00Z",
    "12026-01-10T12:00:00Z",
    "2026-01-10T12:00:00.Z",
    "2026-01-10T12:00:00,5Z",
    "2026-01-10T12:00:00.1234567890a",
    "2026-01-10T12:00:00." + "1" * 100_000,
    "2026-01-10T12:00:60Z",
    "2025-12-31T23:58:60Z",
    "2025-12-31T22:59:60Z",
    "2025-12-30T23:59:60Z",
    "2026-02-28T23:58:60Z",
    "2024-02-28T23:59:60Z",
    "2025-12-31T23:59:60+01:00",
    "2025-12-31T23:59:60-08:00",
    "2025-12-31T23:59:61Z",
    "2026-01-10T12:00:00 Z",
    " 2026-01-10T12:00:00Z",
    "2026-01-10T12:00:00Z ",
    "2026-01-10T12:00:00Z\n",
    "2026-01-10_12:00:00Z",
    "2026-01-10T12:00:00ZZ",
    "2026-01-10T12:00:00+0100",
    "2026-01-10T12:00:00+01",
    "2026-01-10T12:00:00+1:00",
    "2026-01-10T12:00:00+01:00:00",
    "2026-01-10T12:00:00+24:00",
    "2026-01-10T12:00:00+01:60",
    "2026-01-10T12:00:00+01:99",
    "2026-01-10T12:00:00-00:75",
    "2026-01-10T12:00:00\u221201:00",
    "2026-01-10T12:00:00Z[Europe/Berlin]",
    "2026-01-10T24:00:00Z",
    "2026-01-10T25:00:00Z",
    "2026-01-10T12:60:00Z",
    "2026-01-10T12:00:61Z",
    "2026-02-29T12:00:00Z",
    "2026-13-01T12:00:00Z",
    "2026-00-10T12:00:00Z",
    "2026-01-00T12:00:00Z",
    "0000-01-01T00:00:00Z",
    "\u0662\u0660\u0662\u0666-01-10T12:00:00Z",
    "\uff12026-01-10T12:00:00Z",
    "2026-01-10T12:00:00Z" * 10_000,
]


@pytest.mark.parametrize("sent", FORMS_REFUSED, ids=lambda sent: sent[:32])
def test_what_is_no_rfc_3339_time_is_refused(sent: str) -> None:
    """ISO 8601 has many more, and some of them mean two things."""
    assert refused(sent) is Code.INVALID_TIMESTAMP


@pytest.mark.parametrize("sent", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:60-23:59"])
def test_ends_of_the_calendar_are_out_of_every_window(sent: str) -> None:
    """Refused, not failed over."""
    assert refused(sent) is Code.INVALID_TIMESTAMP


@given(
    moment=st.datetimes(
        EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None), timezones=st.just(UTC)
    ),
    offset_min=st.integers(-23 * 60 - 59, 23 * 60 + 59),
    digits=st.integers(0, 9),
    more=st.integers(0, 999),
    separator=st.sampled_from("Tt "),
    zulu=st.sampled_from(["Z", "z", ""]),
)
@example(EARLIEST, 0, 0, 0, "T", "Z")
@example(LATEST, 0, 0, 0, "T", "Z")
def test_any_time_in_the_window_comes_back_as_the_same_instant(
    moment: datetime, offset_min: int, digits: int, more: int, separator: str, zulu: str
) -> None:
    """In any spelling that RFC 3339 has for it, cut to the digits that were sent."""
    zone = UTC if zulu else timezone(timedelta(minutes=offset_min))
    kept = (moment - EPOCH) // timedelta(microseconds=1)
    kept -= kept % 10 ** max(0, 6 - digits)
    local = moment.astimezone(zone)
    fraction = f"{local.microsecond:06d}{more:03d}"[:digits]
    sent = f"{local:%Y-%m-%d}{separator}{local:%H:%M:%S}{'.' * bool(digits)}{fraction}"
    sent += (
        zulu
        or f"{'-' if offset_min < 0 else '+'}{abs(offset_min) // 60:02d}:{abs(offset_min) % 60:02d}"
    )
    expected = EPOCH + timedelta(microseconds=kept)
    if expected < EARLIEST:
        assert refused(sent) is Code.INVALID_TIMESTAMP
        return
    text = told(sent)
    assert datetime.fromisoformat(text) == expected
    assert text.endswith("Z")
    assert len(text) == (27 if kept % 1000 else 24)


@pytest.mark.parametrize("of", ["timestamp", "id"])
@pytest.mark.parametrize(
    ("moment", "is_in"),
    [
        (EARLIEST, True),
        (EARLIEST - MS, False),
        (LATEST, True),
        (LATEST + MS, False),
        (datetime(1970, 1, 1, tzinfo=UTC), False),
        (datetime(9999, 1, 1, tzinfo=UTC), False),
    ],
)
def test_window_holds_for_times_and_ids(of: str, moment: datetime, is_in: bool) -> None:  # noqa: FBT001
    """To the millisecond."""
    unix_ms = (moment - EPOCH) // MS
    event_id, timestamp = make_id(unix_ms), moment.isoformat()
    sent = (timestamp, None) if of == "timestamp" else (None, event_id)
    if is_in:
        found = read(*sent)
        assert (found.happened_ms, found.id) == (
            (unix_ms, None) if of == "timestamp" else (None, UUID(event_id).bytes)
        )
    else:
        assert refused(*sent).value == f"invalid_{of}"


def test_refusal_says_what_the_window_is() -> None:
    """In days and seconds, as the configuration has it."""
    with pytest.raises(Refusal, match=r"1826 days ago.*86400 seconds ahead"):
        read("2000-01-01T00:00:00Z")
    with pytest.raises(Refusal, match=r"1826 days ago.*86400 seconds ahead"):
        read(event_id=make_id(0))


def test_time_that_no_id_can_carry_is_refused_whatever_the_window() -> None:
    """The largest that can be configured begins before 1970; a UUIDv7 does not."""
    century = Span(past_ms=36_525 * 86_400_000, future_ms=0)
    for sent in ("1969-12-31T23:59:59.999Z", "1930-01-01T00:00:00Z"):
        assert refused(sent, span=century) is Code.INVALID_TIMESTAMP
    first = read("1970-01-01T00:00:00Z", span=century)
    assert first.happened_ms == 0
    assert moved(bytes(16), first.happened_ms) == bytes(16)


def test_window_may_be_nothing_but_now() -> None:
    """Both its sides can be configured to 0."""
    now = Span(past_ms=0, future_ms=0)
    assert read(NOW.isoformat(), span=now).happened_ms == NOW_MS
    for beside in (NOW - MS, NOW + MS):
        assert refused(beside.isoformat(), span=now) is Code.INVALID_TIMESTAMP


@pytest.mark.parametrize(
    "event_id",
    [
        make_id(NOW_MS).replace("-", ""),
        f"urn:uuid:{make_id(NOW_MS)}",
        make_id(NOW_MS) + "0",
        make_id(NOW_MS) + "\n",
        " " + make_id(NOW_MS),
        make_id(NOW_MS)[:-1] + "g",
        make_id(NOW_MS).replace("-", "\u2010"),
        make_id(NOW_MS)[:-1] + "\uff11",
        make_id(NOW_MS, 0x4_ABC << 64 | 0xB123_4567_89AB_CDEF),
        make_id(NOW_MS, 0x8_ABC << 64 | 0xB123_4567_89AB_CDEF),
        make_id(NOW_MS, 0x7_ABC << 64 | 0x7123_4567_89AB_CDEF),
        make_id(NOW_MS, 0x7_ABC << 64 | 0xC123_4567_89AB_CDEF),
        str(UUID(int=(1 << 128) - 1)),
        str(UUID(int=0)),
    ],
)
def test_what_is_no_uuid_7_in_36_characters_is_refused(event_id: str) -> None:
    """Other versions carry no time, or another one."""
    assert refused(event_id=event_id) is Code.INVALID_ID


@pytest.mark.parametrize("variant", "89abAB")
def test_id_is_read_in_any_case_with_every_variant(variant: str) -> None:
    """RFC 9562 leaves two bits of the variant's digit free."""
    text = make_id(NOW_MS).upper()
    text = text[:19] + variant + text[20:]
    assert read(event_id=text).id == UUID(text).bytes
