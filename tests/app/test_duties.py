"""Duties: one process does them, all of them, and the next one when it ends."""

import asyncio

import pytest

from ingest.app.duties import Duties
from ingest.share.turn import Turn


class Work:
    """Something that does not end."""

    def __init__(self) -> None:
        self.is_running = False

    async def run(self) -> None:
        """Run until cancelled."""
        self.is_running = True
        try:
            await asyncio.sleep(3600)
        finally:
            self.is_running = False


async def test_duties_are_one_process_s_until_it_ends() -> None:
    """All of them; then they are the next one's."""
    turn, works = Turn(), [[Work(), Work()] for _ in range(2)]
    sides = [Duties(turn, {"a": one.run, "b": two.run}) for one, two in works]
    tasks = [asyncio.create_task(each.run()) for each in sides]
    await asyncio.sleep(0.05)
    assert [each.are_ours for each in sides] == [True, False]
    assert [work.is_running for side in works for work in side] == [True, True, False, False]
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    await asyncio.sleep(0.05)
    assert [work.is_running for side in works for work in side] == [False, False, True, True]
    assert sides[1].are_ours
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])


async def test_duty_that_fails_ends_the_others_and_says_so() -> None:
    """Whoever owns the task stops the process; another one has the turn then."""
    turn, other = Turn(), Work()

    async def fail() -> None:
        raise RuntimeError("no")

    duties = Duties(turn, {"a": other.run, "b": fail})
    with pytest.raises(ExceptionGroup) as failed:
        await duties.run()
    assert isinstance(failed.value.exceptions[0], RuntimeError)
    assert not other.is_running
    await turn.take(1)
