"""Ids: UUIDv7, unique whatever the clock does, in order while it is sane; and times of receipt."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.events import ids
from ingest.events.ids import STEP_BACK_MS_MAX, IdSequence, moment

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
def test_ids_increase_strictly_while_the_clock_steps_back_a_little(steps: list[int]) -> None:
    """It may stand still, jump ahead, or step back, if by no more than STEP_BACK_MS_MAX in all."""
    now_ms = latest_ms = 1_800_000_000_000
    clock = []
    for step in steps:
        now_ms = max(now_ms + step, latest_ms - STEP_BACK_MS_MAX)
        latest_ms = max(latest_ms, now_ms)
        clock.append(now_ms)
    made = [event_id for _, event_id in draw_along(clock)]
    assert made == sorted(set(made))


@given(steps=st.lists(st.sampled_from([0, 1, -1, 5_000, -5_000, 10**10, -(10**10)]), max_size=200))
def test_ids_are_unique_and_of_about_now_whatever_the_clock_does(steps: list[int]) -> None:
    """Ahead and back by months, again and again, through milliseconds that were used before."""
    now_ms = 1_800_000_000_000
    made = draw_along([now_ms := max(0, now_ms + step) for step in steps])
    assert len({event_id for _, event_id in made}) == len(made)
    for then_ms, event_id in made:
        assert 0 <= int.from_bytes(event_id[:6], "big") - then_ms <= STEP_BACK_MS_MAX


@pytest.mark.parametrize("back_to_ms", [0, 1, STEP_BACK_MS_MAX])
def test_clock_that_jumped_ahead_and_came_back_is_followed(
    set_clock: SetClock, back_to_ms: int
) -> None:
    """At once, one by one and many at a time; also into the very millisecond before the jump."""
    sequence, now_ms = IdSequence(), 1_800_000_000_000
    set_clock(now_ms)
    before = {sequence.next()[0] for _ in range(1_000)}
    set_clock(now_ms + 86_400_000)
    sequence.next()
    set_clock(now_ms + back_to_ms)
    stamps = sequence.take(1_000)
    many = {stamps.head + low for low in stamps.lows}
    after = {sequence.next()[0] for _ in range(1_000)} | many
    assert {int.from_bytes(event_id[:6], "big") for event_id in after} == {now_ms + back_to_ms}
    assert len(after) == 2_000
    assert not after & before


def draw_along(clock_ms: list[int]) -> list[tuple[int, bytes]]:
    """Draw three ids at each time; return them with it."""
    sequence = IdSequence()
    made = []
    with pytest.MonkeyPatch.context() as patch:
        for now_ms in clock_ms:
            patch.setattr(time, "time_ns", lambda now=now_ms: now * 1_000_000)
            made += [(now_ms, sequence.next()[0]) for _ in range(3)]
    return made


def test_clock_that_steps_back_a_little_shows_in_the_time_of_receipt_only(
    set_clock: SetClock,
) -> None:
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
