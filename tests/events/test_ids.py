"""Ids: UUIDv7, strictly increasing whatever the clock does, and a time of receipt beside them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.events import ids
from ingest.events.ids import IdSequence, moment

SetClock = Callable[[int], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Set the wall clock, in Unix milliseconds."""

    def set_to(now_ms: int) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: now_ms * 1_000_000)

    return set_to


def test_id_is_a_uuid_of_version_7_with_the_present_time() -> None:
    """Bytes, text, version, variant and time say the same."""
    before_ms = time.time_ns() // 1_000_000
    raw, text, _ = IdSequence().next()
    after_ms = time.time_ns() // 1_000_000
    parsed = UUID(bytes=raw)
    assert str(parsed) == text.decode()
    assert (parsed.version, parsed.variant) == (7, "specified in RFC 4122")
    assert before_ms <= parsed.int >> 80 <= after_ms


def test_ids_increase_strictly() -> None:
    """Over many milliseconds, as bytes and as text."""
    sequence = IdSequence()
    made = [sequence.next() for _ in range(200_000)]
    raws, texts = [raw for raw, _, _ in made], [text for _, text, _ in made]
    assert raws == sorted(set(raws))
    assert texts == sorted(set(texts))


@given(steps=st.lists(st.integers(-5_000, 5_000), max_size=200))
def test_ids_increase_strictly_whatever_the_clock_does(steps: list[int]) -> None:
    """The clock may stand still, jump ahead, or step back."""
    sequence = IdSequence()
    made, now_ms = [], 1_800_000_000_000
    with pytest.MonkeyPatch.context() as patch:
        for step in steps:
            now_ms += step
            patch.setattr(time, "time_ns", lambda now=now_ms: now * 1_000_000)
            made += [sequence.next()[0] for _ in range(3)]
    assert made == sorted(set(made))


def test_clock_that_steps_back_shows_in_the_time_of_receipt_only(set_clock: SetClock) -> None:
    """The id keeps its order; created_at says what the clock says."""
    sequence = IdSequence()
    set_clock(1_800_000_005_000)
    first, _, _ = sequence.next()
    set_clock(1_800_000_000_000)
    second, _, received = sequence.next()
    assert second > first
    assert received == moment(1_800_000_000_000)


def test_exhausted_counter_moves_on_to_the_next_millisecond(set_clock: SetClock) -> None:
    """No id is given twice even where a counter runs out."""
    set_clock(1_800_000_000_000)
    sequence = IdSequence()
    first, _, _ = sequence.next()
    sequence._counter = ids._COUNTER_END - 1
    second, text, _ = sequence.next()
    assert second > first
    assert UUID(bytes=second).int >> 80 == 1_800_000_000_001
    assert str(UUID(bytes=second)) == text.decode()


def test_two_sequences_never_give_the_same_id(set_clock: SetClock) -> None:
    """Processes that start in the same millisecond draw different bits."""
    set_clock(1_800_000_000_000)
    made = [sequence.next()[0] for sequence in (IdSequence(), IdSequence()) for _ in range(1000)]
    assert len(set(made)) == len(made)


@given(unix_ms=st.integers(0, 253_402_300_799_999))
def test_both_forms_of_a_moment_are_the_same_time(unix_ms: int) -> None:
    """The row's microseconds since 2000 and the answer's text, to the microsecond."""
    row, text, _ = moment(unix_ms)
    micros = int.from_bytes(row[4:12], "big", signed=True)
    parsed = datetime.fromisoformat(text.decode())
    since_2000 = parsed - datetime(2000, 1, 1, tzinfo=UTC)
    assert row[:4] == b"\0\0\0\x08"
    assert (
        micros == (since_2000.days * 86_400 + since_2000.seconds) * 10**6 + since_2000.microseconds
    )
    assert len(text) == len("2026-01-10T12:00:00.123Z")
