"""Turns: one process has one at a time, and when it dies the next one has it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from ingest.share.turn import PLACES_MAX, Turn
from tests.share.others import NUMBER, Other, running_other
from tests.support.server import wait_for


class StartOther(Protocol):
    """Starts another process."""

    def __call__(self, places: int = 1) -> Other:
        """Start it; it has no turn yet."""


@pytest.fixture
def start(descriptor: int) -> Iterator[StartOther]:
    """Start other processes that end with the test."""
    with ExitStack() as stack:
        yield lambda places=1: stack.enter_context(running_other(descriptor, places))


async def taken(turn: Turn, timeout_s: float = 10.0) -> None:
    """Take a turn, in a time that suffices in any case."""
    await turn.take(timeout_s)


async def test_turn_of_a_process_that_is_killed_is_the_next_ones(
    start: StartOther, descriptor: int
) -> None:
    """Nothing has to be tidied up behind it."""
    other, turn = start(), Turn(NUMBER, descriptor)
    other.take()
    with pytest.raises(TimeoutError):
        await turn.take(0.2)
    other.process.kill()
    await taken(turn)
    turn.pass_on()


async def test_turns_with_other_numbers_are_others(start: StartOther, descriptor: int) -> None:
    """Next to it as well."""
    start().take()
    for number in (NUMBER - 1, NUMBER + 1):
        await taken(Turn(number, descriptor))


async def test_holder_knows_whether_another_process_waits(
    start: StartOther, descriptor: int
) -> None:
    """And no longer once that has gone, or has had it."""
    turn, others = Turn(NUMBER, descriptor), [start(), start()]
    await taken(turn)
    assert not turn.is_wanted
    for other in others:
        other.say("take")
        assert other.hear() == "asking"
    await asyncio.to_thread(wait_for, lambda: turn.is_wanted)
    others[0].process.kill()
    others[0].process.wait()
    await asyncio.to_thread(wait_for, lambda: turn.is_wanted)
    turn.pass_on()
    assert await asyncio.to_thread(others[1].hear) == "taken"
    assert not turn.is_wanted


async def test_who_passes_it_on_does_not_have_it_again_before_those_who_wait(
    start: StartOther, descriptor: int
) -> None:
    """Though it asks at once."""
    turn, other = Turn(NUMBER, descriptor), start()
    for _ in range(5):
        await taken(turn)
        other.say("take")
        assert other.hear() == "asking"
        await asyncio.to_thread(wait_for, lambda: turn.is_wanted)
        turn.pass_on()
        with pytest.raises(TimeoutError):
            await turn.take(0.3)
        assert other.hear() == "taken"
        other.say("pass")
        assert other.hear() == "passed"


async def test_rest_is_for_those_who_wait_only(start: StartOther, descriptor: int) -> None:
    """Alone, a process has it again at once."""
    turn, other = Turn(NUMBER, descriptor), start()
    await taken(turn)
    turn.pass_on(rest_s=60)
    await taken(turn)
    other.say("take")
    assert other.hear() == "asking"
    await asyncio.to_thread(wait_for, lambda: turn.is_wanted)
    turn.pass_on(rest_s=60)
    assert await asyncio.to_thread(other.hear) == "taken"
    other.process.kill()
    with pytest.raises(TimeoutError):
        await turn.take(0.3)


async def test_as_many_have_it_as_there_are_places(start: StartOther, descriptor: int) -> None:
    """And one more when one of them passes it on."""
    first, second, turn = start(2), start(2), Turn(NUMBER, descriptor, places=2)
    first.take()
    await taken(turn)
    second.say("take")
    assert second.hear() == "asking"
    with pytest.raises(TimeoutError):
        await turn.take(0.2)
    first.say("pass")
    assert first.hear() == "passed"
    assert await asyncio.to_thread(second.hear) == "taken"
    turn.pass_on()


async def test_who_gives_up_waiting_is_not_in_the_way(start: StartOther, descriptor: int) -> None:
    """By a time-out, or cancelled: the holder is no longer asked for it."""
    turn, other = Turn(NUMBER, descriptor), start()
    other.take()
    with pytest.raises(TimeoutError):
        await turn.take(0.1)
    waiting = asyncio.create_task(turn.take())
    await asyncio.sleep(0.1)
    other.say("wanted")
    assert await asyncio.to_thread(other.hear) == "True"
    waiting.cancel()
    await asyncio.wait([waiting])
    other.say("wanted")
    assert await asyncio.to_thread(other.hear) == "False"
    other.say("pass")
    assert await asyncio.to_thread(other.hear) == "passed"
    await taken(turn)


@pytest.mark.parametrize("is_shared", [False, True])
async def test_tasks_of_one_process_have_it_one_after_the_other(
    descriptor: int, *, is_shared: bool
) -> None:
    """Of which the file's locks know nothing."""
    turn = Turn(NUMBER, descriptor if is_shared else None)
    assert turn.is_shared is is_shared
    inside: list[int] = []

    async def work(number: int) -> None:
        async with turn.held():
            assert not inside
            inside.append(number)
            await asyncio.sleep(0.01)
            inside.pop()

    await asyncio.gather(*(work(number) for number in range(5)))
    assert not turn.is_wanted


async def test_turn_passed_on_alone_costs_no_wait() -> None:
    """A process without others never rests."""
    turn = Turn()
    began_s = time.monotonic()
    for _ in range(1000):
        async with turn.held():
            pass
    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize("places", [0, PLACES_MAX + 1])
def test_places_are_bounded(places: int) -> None:
    """So that the places of one turn are not another's."""
    with pytest.raises(ValueError, match="places"):
        Turn(places=places)
